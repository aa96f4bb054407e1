"""The official MCP SDK's authorization server and MCP server, to which we are the client."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import uvicorn
from django.conf import settings

from agents.mcp import connections, tokens, wire
from agents.mcp.dialling import servers_that, using
from agents.models import McpConnection, McpServer
from core.errors import PaasError
from tenants import scope
from tests.chat.ledger import eventually
from tests.lazy import Lazy
from tests.site import Server

provider = Lazy("mcp.server.auth.provider")
shared = Lazy("mcp.shared.auth")


class People:
    """What the SDK leaves to whoever runs an authorization server: it keeps clients and tokens, and everybody agrees."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}

    async def get_client(self, client_id: str) -> Any:
        return self.clients.get(client_id)

    async def register_client(self, client_info: Any) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: Any, params: Any) -> str:
        told = params.model_dump(
            include={"code_challenge", "redirect_uri", "redirect_uri_provided_explicitly", "resource"}
        )
        code = provider.AuthorizationCode(
            code=secrets.token_urlsafe(24), scopes=params.scopes or [], expires_at=time.time() + 300,
            client_id=client.client_id, **told,
        )  # fmt: skip
        self.kept[code.code] = code
        return str(provider.construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state))

    async def load_authorization_code(self, client: Any, authorization_code: str) -> Any:
        return self.kept.get(authorization_code)

    async def exchange_authorization_code(self, client: Any, authorization_code: Any) -> Any:
        del self.kept[authorization_code.code]
        return self._pair(client, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client: Any, refresh_token: str) -> Any:
        return self.kept.get(refresh_token)

    async def exchange_refresh_token(self, client: Any, refresh_token: Any, scopes: list[str]) -> Any:
        del self.kept[refresh_token.token]
        return self._pair(client, scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> Any:
        return self.kept.get(token)

    async def revoke_token(self, token: Any) -> None:
        self.kept.clear()

    def _pair(self, client: Any, scopes: list[str], resource: str | None) -> Any:
        told = {"client_id": client.client_id, "scopes": scopes, "resource": resource}
        access = provider.AccessToken(token=secrets.token_urlsafe(24), expires_at=int(time.time()) + 3600, **told)
        refresh = provider.RefreshToken(token=secrets.token_urlsafe(24), **told)
        self.kept |= {access.token: access, refresh.token: refresh}
        return shared.OAuthToken(
            access_token=access.token, refresh_token=refresh.token, expires_in=3600, scope=" ".join(scopes)
        )


@asynccontextmanager
async def served(people: People) -> AsyncIterator[str]:
    """The SDK's servers on one port; the address of the MCP server."""
    auth = Lazy("mcp.server.auth.settings")
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    asked = auth.AuthSettings(
        issuer_url=url, resource_server_url=f"{url}/mcp", required_scopes=["read"], validate_token_resource=True,
        client_registration_options=auth.ClientRegistrationOptions(enabled=True, valid_scopes=["read"]),
        revocation_options=auth.RevocationOptions(enabled=True),
    )  # fmt: skip
    made = Lazy("mcp.server.mcpserver").MCPServer("guarded", auth=asked, auth_server_provider=people)

    @made.tool()
    async def double(number: int) -> str:
        """Doubles a number."""
        return str(2 * number)

    server = Server(uvicorn.Config(made.streamable_http_app(), log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started)
    try:
        yield f"{url}/mcp"
    finally:
        server.told.set()
        server.should_exit = True
        await serving


@pytest.mark.exhaustive
async def test_a_server_made_with_the_sdk_is_connected(db: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "EGRESS_ALLOW", ["127.0.0.1"])
    people, admin = People(), actor("admin")
    async with served(people) as url:

        def begin() -> tuple[McpServer, str]:
            server = McpServer.objects.create(name="guarded", url=url)
            wish = connections.Wish()
            return server, connections.connection_begin(server=server, actor=admin, browser="b", wish=wish)

        server, address = await scope.run_in_tenant(db.acme, begin)
        async with aiohttp.ClientSession() as browser, browser.get(address, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            back = urlsplit(answer.headers["Location"])
        assert back.path == connections.CALLBACK
        answer_of = dict(part.split("=", 1) for part in back.query.split("&"))

        def finish() -> Any:
            connections.connection_finish(actor=admin, browser="b", answer=answer_of)
            ((_, found),) = servers_that(pk=server.pk)
            return found

        found = await scope.run_in_tenant(db.acme, finish)
        assert [one["name"] for one in await using(db.acme, found, wire.McpSession.tools)] == ["double"]
        first = await tokens.token_for(db.acme, server.pk, url)
        del people.kept[first]
        assert [one["name"] for one in await using(db.acme, found, wire.McpSession.tools)] == ["double"], "renewed"
        assert await scope.run_in_tenant(db.acme, lambda: connections.connection_end(server=server, actor=admin.label))
        assert people.kept == {}
        assert not await scope.run_in_tenant(db.acme, McpConnection.objects.exists)
        with pytest.raises(PaasError, match="connect the MCP server again"):
            await using(db.acme, found, wire.McpSession.tools)
