"""A stand-in for an MCP server with its authorization server, which behaves as it is told."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOOL = {"name": "look", "description": "Looks.", "inputSchema": {"type": "object", "properties": {}}}


class Authority:
    """`async with Authority() as authority:`. told: changes of its documents, by path. instead: answers by path in the
    place of the right ones. asked: requests by path. Refresh tokens are good once, and reuse is remembered."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.instead: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.clients: dict[str, str] = {"by-hand": "hand/secret:ü"}
        self.codes: dict[str, dict[str, str]] = {}
        self.access: set[str] = set()
        self.refresh: set[str] = set()
        self.seconds: Any = 3600
        self.reused = 0
        self.revoked: list[str] = []
        self.calls: list[str] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.resource = f"{self.url}/mcp"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.instead:
            return await self.instead[request.path](request)
        documents = {
            "/.well-known/oauth-protected-resource/mcp": {
                "resource": self.resource, "authorization_servers": [self.url], "scopes_supported": ["read", "write"],
            },
            "/.well-known/oauth-authorization-server": {
                "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize?tenant=1",
                "token_endpoint": f"{self.url}/token", "registration_endpoint": f"{self.url}/register",
                "revocation_endpoint": f"{self.url}/revoke", "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            },
        }  # fmt: skip
        if request.path in documents:
            found = documents[request.path] | self.told.get(request.path, {})
            return web.json_response({name: value for name, value in found.items() if value is not None})
        answers = {"/mcp": self._mcp, "/register": self._register, "/token": self._token, "/revoke": self._revoke}
        return await answers[request.path](request) if request.path in answers else web.Response(status=404)

    async def _mcp(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.calls.append(token)
        if token not in self.access:
            told = f'Bearer realm="x", resource_metadata="{self.url}/.well-known/oauth-protected-resource/mcp"'
            return web.Response(status=401, headers={"WWW-Authenticate": told})
        message = await request.json()
        if "id" not in message:
            return web.Response(status=202)
        said = {"content": [{"type": "text", "text": f"seen {token}"}]}
        results = {"initialize": {"protocolVersion": "2025-11-25"}, "tools/list": {"tools": [TOOL]}}
        return web.json_response(
            {"jsonrpc": "2.0", "id": message["id"], "result": results.get(message["method"], said)}
        )

    async def _register(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        client = f"client-{secrets.token_hex(4)}"
        self.clients[client] = secrets.token_hex(16)
        return web.json_response({**wanted, "client_id": client, "client_secret": self.clients[client]}, status=201)

    def approve(self, address: str, **changed: str) -> str:
        """The person agrees: where their browser is sent back to, with this query."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["code_challenge_method"] == "S256"
        assert asked["tenant"] == "1", "what the address had stays"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.url} | changed
        return f"{asked['redirect_uri']}?{urlencode({name: value for name, value in answer.items() if value})}"

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        login = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().split(":")
        if self.clients.get(unquote(login[0])) != unquote(login[1]):
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["resource"] != self.resource:
            return web.json_response({"error": "invalid_target"}, status=400)
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(str(form["code"]), {})
            digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
            proved = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked.get("code_challenge")
            if not proved or asked["redirect_uri"] != form["redirect_uri"]:
                return web.json_response({"error": "invalid_grant"}, status=400)
        elif form["refresh_token"] not in self.refresh:
            self.reused += 1
            return web.json_response({"error": "invalid_grant"}, status=400)
        else:
            self.refresh.discard(str(form["refresh_token"]))
        access, refresh = f"access-{secrets.token_hex(8)}", f"refresh-{secrets.token_hex(8)}"
        self.access.add(access)
        self.refresh.add(refresh)
        told = {"access_token": access, "token_type": "bearer", "expires_in": self.seconds, "refresh_token": refresh}
        return web.json_response(told)

    async def _revoke(self, request: web.Request) -> web.Response:
        self.revoked.append(str((await request.post())["token"]))
        return web.Response()
