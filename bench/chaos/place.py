"""An installation whose every part can be killed, stopped and restarted, and every line of it cut.

The parts are the processes that `make run` starts, by the same commands; between them are proxies (proxy.py). Who
dies is started again at once, as the supervisor does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiohttp
import psycopg

from bench.chaos.proxy import Proxy, Streams, tcp
from bench.processes import Process
from bench.vendor import Vendor
from launch.services import PostgresService, RedisService, start_postgres, start_redis

READY_SECONDS = 60.0
REVIVED_SECONDS = 0.5
STOPPED_FOR = 30.0  # s that a part may take to end in order
LINKS = ("postgres", "redis", "vendor", "client")


class Servers(Protocol):
    """PostgreSQL and Redis in a folder; `bench.leaks.services.OwnServices` is one."""

    folder: Path
    postgres: PostgresService
    redis: RedisService


class Part:
    """One process of the installation, with the command that starts it again. `port` 0 is none of a web process."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.port = 0
        self._argv, self._environment, self._log = list(argv), environment, log
        self._listener: socket.socket | None = None
        self._process: Process | None = None
        self._leaving = False  # it was told to, and is started again by whoever told it
        self.blind: list[tuple[float, float]] = []  # when it was stopped: (from, to), time.monotonic()

    def listen(self) -> None:
        """Give it a socket that outlives it, as the supervisor does."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._argv += ["--fd", str(self._listener.fileno())]

    def start(self) -> None:
        """Start it; it need not be ready yet."""
        descriptors = [self._listener.fileno()] if self._listener else []
        self._process = Process(self._argv, self._environment, self._log, pass_fds=descriptors)

    @property
    def process(self) -> Process:
        """The process that is there now."""
        assert self._process is not None
        return self._process

    async def ready(self) -> None:
        """Wait until a web process serves; a worker says nothing that could be waited for."""
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as client:
            while self.port:
                try:
                    async with client.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} is not ready:\n{self.process.tail()}")
                await asyncio.sleep(0.05)

    def revive(self) -> None:
        """A new one where it has ended by itself, as a worker does when its database goes away."""
        if not self._leaving and self._process is not None and not self._process.runs:
            self.start()

    def kill(self) -> None:
        """SIGKILL, and a new one at once."""
        self.process.kill()
        self.start()

    async def restart(self) -> None:
        """SIGTERM, as a deployment does, and a new one when the old has gone."""
        self._leaving = True
        await asyncio.to_thread(self.process.stop, STOPPED_FOR)
        self.start()
        self._leaving = False

    async def stop_for(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        began = time.monotonic()
        self.process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.process.signal(signal.SIGCONT)
            self.blind.append((began, time.monotonic()))

    def end(self) -> None:
        """For good."""
        self._leaving = True
        if self._process is not None:
            self._process.signal(signal.SIGCONT)
            self._process.kill()
        if self._listener is not None:
            self._listener.close()


@dataclass
class Place:
    """The whole. `proxies`: "postgres", "redis", "vendor", and "client1", "client2" in front of the web processes."""

    servers: Servers
    vendor: Vendor
    host: str
    durable: bool
    proxies: dict[str, Proxy]
    webs: list[Part] = field(default_factory=list)
    workers: list[Part] = field(default_factory=list)

    @property
    def doors(self) -> list[int]:
        """The ports that clients dial."""
        return [self.proxies[name].port for name in self.proxies if name.startswith("client")]

    def line(self, link: str) -> list[Proxy]:
        """The proxies of a link."""
        return [proxy for name, proxy in self.proxies.items() if name.rstrip("0123456789") == link]

    @property
    def blind(self) -> list[tuple[float, float]]:
        """When some web process could not hear the vendor, while the vendor went on."""
        return [span for web in self.webs for span in web.blind]

    def crash_postgres(self) -> None:
        """An immediate shutdown, which loses what was not written, and a start. Blocks for about a second."""
        os.kill(self.servers.postgres.pid, signal.SIGQUIT)
        self.servers.postgres.stop()
        self.servers.postgres = start_postgres(self.servers.folder / "pg", durable=self.durable)

    def kill_redis(self) -> None:
        """kill -9 and a new one."""
        os.kill(self.servers.redis.pid, signal.SIGKILL)
        self.servers.redis.stop()
        self.servers.redis = start_redis(self.servers.folder / "redis", durable=self.durable)

    def database(self) -> psycopg.Connection[dict[str, object]]:
        """A superuser's connection, past the proxies."""
        from psycopg.rows import dict_row

        url = self.servers.postgres.admin_url
        return psycopg.connect(url, dbname="paas", autocommit=True, row_factory=dict_row)

    async def ready(self) -> None:
        """Wait for all web processes."""
        await asyncio.gather(*(web.ready() for web in self.webs))


@asynccontextmanager
async def installed(
    servers: Servers,
    vendor: Vendor,
    *,
    slug: str,
    webs: int = 2,
    workers: int = 2,
    prelude: str = "",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Place]:
    """The installation, on databases that are made already, while the block runs.

    `vendor` runs on this event loop. `prelude` is Python that the web processes run before they serve.
    """
    async with AsyncExitStack() as stack:

        async def postgres() -> Streams:
            return await asyncio.open_unix_connection(str(servers.postgres.cluster.socket))

        async def redis() -> Streams:
            return await asyncio.open_unix_connection(str(servers.redis.server.socket))

        dials = {"postgres": postgres, "redis": redis, "vendor": tcp(vendor.port)}
        proxies = {name: await stack.enter_async_context(Proxy(dial)) for name, dial in dials.items()}
        place = Place(servers, vendor, f"{slug}.localhost", _durable(servers), proxies)
        shared = os.environ | lines(proxies) | dict(environment or {})
        for number in range(1, webs + 1):
            place.webs.append(_part(stack, servers.folder, f"web{number}", _web_command(prelude), shared))
        for number in range(1, workers + 1):
            command = [sys.executable, "manage.py", "work"]
            place.workers.append(_part(stack, servers.folder, f"worker{number}", command, shared))
        for number, web in enumerate(place.webs, 1):
            web.listen()
            proxies[f"client{number}"] = await stack.enter_async_context(Proxy(tcp(web.port)))
        for part in (*place.webs, *place.workers):
            part.start()
        await place.ready()
        supervisor = asyncio.create_task(_supervise(place))
        try:
            yield place
        finally:
            supervisor.cancel()


async def _supervise(place: Place) -> None:
    """What the supervisor of `make run`, and containers, do."""
    while True:
        for part in (*place.webs, *place.workers):
            part.revive()
        await asyncio.sleep(REVIVED_SECONDS)


def lines(proxies: Mapping[str, Proxy]) -> dict[str, str]:
    """The environment that leads through the proxies."""
    found = {"REDIS_URL": f"redis://127.0.0.1:{proxies['redis'].port}/0"}
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL"):
        parts = urlsplit(os.environ[name])
        login = parts.netloc.rpartition("@")[0]
        port = proxies["postgres"].port
        found[name] = f"postgresql://{login}@127.0.0.1:{port}/{unquote(parts.path[1:])}?sslmode=disable"
    return found


def straight() -> dict[str, str]:
    """The environment that leads past the proxies, whose work is done on this loop and would be measured too."""
    return {name: os.environ[name] for name in ("REDIS_URL", "DATABASE_URL", "DATABASE_OWNER_URL")}


def _durable(servers: Servers) -> bool:
    return servers.postgres.cluster.durable


def _web_command(prelude: str) -> list[str]:
    return [
        sys.executable,
        *(("-c", f"{prelude}\nfrom launch.web import main\nmain()") if prelude else ("-m", "launch.web")),
    ]


def _part(stack: AsyncExitStack, folder: Path, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Part:
    login = "app" if name.startswith("web") else "owner"
    part = Part(name, argv, {**environment, "DATABASE_LOGIN": login}, folder / "log" / f"{name}.log")
    stack.callback(part.end)
    return part
