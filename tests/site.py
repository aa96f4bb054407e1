"""The platform behind a real socket, and clients that reach its hosts by name without DNS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
import uvicorn
from aiohttp.abc import AbstractResolver
from yarl import URL

from launch.refusal import RefusingProtocol
from tests.direct import Direct


class Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None: ...


class Server(uvicorn.Server):
    """Stops at once when it is told to and nothing is open: uvicorn sleeps a tenth of a second, twice."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told = asyncio.Event()

    @property
    def busy(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the headers that every answer has
        while not self.should_exit:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.told.wait(), 0.1)
                return

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.busy:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
            await server.wait_closed()
        for one in sockets or []:
            one.close()
        await self.lifespan.shutdown()


def session_cookies(slug: str, email: str) -> dict[str, str]:
    """The cookies of somebody who has just signed in on a tenant's host, or the platform's."""
    from django.conf import settings
    from django.db import connections
    from django.http import HttpRequest

    from accounts.models import User
    from accounts.sessions import SessionStore
    from accounts.sign_in import session_begin
    from tenants import scope
    from tenants.models import Tenant

    try:
        with scope.platform():
            user = User.objects.get(email=email)
            tenant = Tenant.objects.get(slug=slug).ref() if slug else None
        with scope.bind(tenant) if tenant else scope.platform():
            request = HttpRequest()
            request.session = SessionStore()
            session_begin(request, user, method="password")
            request.session.save()
        return {
            settings.SESSION_COOKIE_NAME: str(request.session.session_key),
            settings.CSRF_COOKIE_NAME: request.META["CSRF_COOKIE"],
        }
    finally:
        connections.close_all()


def _settled() -> None:
    """In the place of `paas.asgi.settle_memory`, which takes 10 ms a time: tests/conftest.py has done it, once."""


class Site:
    """`async with Site() as site:` then `site.client("acme")`, an aiohttp session based at acme's host."""

    def __init__(self) -> None:
        from paas import asgi

        asgi.settle_memory = _settled
        RefusingProtocol.door = asgi.turned_away
        self._server = Server(
            uvicorn.Config(
                asgi.application,
                log_level="warning",
                log_config=None,
                lifespan="on",
                http="launch.refusal:RefusingProtocol",
                ws="websockets-sansio",
                ws_per_message_deflate=False,
                proxy_headers=False,  # as launch.web serves it
                timeout_graceful_shutdown=1,
            )
        )
        # The protocol is named because asyncio switches Nagle's delay off only where it is.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._stack = AsyncExitStack()

    def url(self, slug: str = "") -> str:
        """The address of a tenant's host, or of the platform's."""
        return f"http://{f'{slug}.' if slug else ''}localhost:{self.port}"

    def client(self, slug: str = "", *, token: str = "", **options: Any) -> aiohttp.ClientSession:
        """A client of one host, closed with the site; cookies are kept as browsers keep them."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        session = aiohttp.ClientSession(
            self.url(slug), connector=aiohttp.TCPConnector(resolver=Loopback()), headers=headers, **options
        )
        self._stack.push_async_callback(session.close)
        return session

    def direct(self, slug: str = "", *, cookies: Mapping[str, str] | None = None, **headers: str) -> Direct:
        """The same without a socket and a jar, for those who ask a thousand times; see tests/direct.py."""
        given = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
        return Direct(self.url(slug), headers | given)

    async def signed_in(self, name: str, slug: str = "acme") -> aiohttp.ClientSession:
        """A client with a session of one of the cast."""
        return await self._with_session(slug, f"{name}@{slug}.test")

    async def signed_in_on_platform(self, email: str) -> aiohttp.ClientSession:
        """A client of the platform host with a session of a person."""
        return await self._with_session("", email)

    async def signed_in_by_form(self, name: str, slug: str = "acme") -> aiohttp.ClientSession:
        """The same by way of the sign-in page."""
        from tests.conftest import PASSWORD

        client = self.client(slug)
        async with client.get("/login/") as page:
            assert page.status == 200
        form = {"email": f"{name}@{slug}.test", "password": PASSWORD, "csrfmiddlewaretoken": self.csrf(client, slug)}
        async with client.post("/login/", data=form, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
        client.headers["Origin"] = self.url(slug)
        return client

    async def _with_session(self, slug: str, email: str) -> aiohttp.ClientSession:
        """As the sign-in page makes it, without the page and the check of the password, which tests have of their own
        (tests/accounts/test_password_sign_in.py): hundreds of tests begin here."""
        client = self.client(slug)
        cookies = await asyncio.to_thread(session_cookies, slug, email)
        client.cookie_jar.update_cookies(cookies, URL(self.url(slug)))
        client.headers["Origin"] = self.url(slug)
        return client

    def csrf(self, client: aiohttp.ClientSession, slug: str = "") -> str:
        """The CSRF token that a client of this host was given."""
        return client.cookie_jar.filter_cookies(URL(self.url(slug)))["csrftoken"].value

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        for _ in range(50):  # what the clients closed is on its way
            if not self._server.busy:
                break
            await asyncio.sleep(0.001)
        self._server.told.set()
        await self._task
