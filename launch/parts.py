"""The parts of one installation: what each is called, how it is started and stopped, and when it is ready."""

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from launch import model_server
from launch.child import Part
from launch.errors import LaunchError
from launch.keys import Keys
from launch.layout import Layout
from launch.ports import free_port
from launch.postgres import SOCKET_NAME, Cluster
from launch.redis_server import RedisServer
from launch.settings import CLOSE_SECONDS, DEMO, ROOT, Settings
from launch.spawn import Command

DATABASE = "paas"
_OWNER, _APP = "paas_owner", "paas_app"
_WORKER_JOBS_SECONDS = 20  # for its jobs, before its runs may end


@dataclass(frozen=True)
class Addresses:
    """Where the services are. `admin_url`, a login that may create roles, is None when nothing is created."""

    admin_url: str | None
    app_url: str
    owner_url: str
    redis_url: str
    model_url: str


class Parts:
    """Builds the parts for one start. Embedded services are None where a URL was given instead."""

    def __init__(self, settings: Settings, layout: Layout, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._keys = Keys(layout.secrets, environment)
        self.layout = layout
        self.shares_sockets = True  # the web processes serve on sockets that the supervisor opens
        self.prepared = False  # whether the logins and the database exist, see _postgres_shows
        self.cluster: Cluster | None = None
        self.redis_server: RedisServer | None = None
        self._model_port: int | None = None
        if settings.database_url is None:
            self._keys.check(layout.var / "postgres" / "data")
            sockets = layout.socket_directory("postgres", SOCKET_NAME)
            password = self._keys.password("POSTGRES_SUPERUSER_PASSWORD")
            self.cluster = Cluster(layout.var / "postgres", sockets, password, fresh=layout.fresh_directory)
        if settings.redis_url is None:
            self.redis_server = RedisServer(layout.var / "redis", layout.socket_directory("redis", "redis.sock"))
        if settings.local_model_url is None:
            self._model_port = free_port()
        self.addresses = self._addresses()

    def postgres(self) -> Part | None:
        """The embedded PostgreSQL; its cluster is made when there is none."""
        cluster = self.cluster
        if cluster is None:
            return None

        def command() -> Command:
            cluster.prepare()
            return cluster.command()

        return Part(
            "postgres",
            "PostgreSQL",
            command,
            ready=_in_thread(cluster.ready),
            stop_signal=signal.SIGINT,
            stop_seconds=60,
            ready_seconds=600,  # recovery after a crash takes as long as it takes
            shows=self._postgres_shows,
        )

    def redis(self) -> Part | None:
        """The embedded Redis."""
        server = self.redis_server
        if server is None:
            return None
        return Part(
            "redis",
            "Redis",
            server.command,
            ready=_in_thread(server.ready),
            shows=_redis_shows,
            advice=f"It holds nothing that PostgreSQL does not: move {server.home} away for a fresh start.",
        )

    def model(self) -> Part | None:
        """The local model. The platform works without it, with other providers."""
        port = self._model_port
        if port is None:
            return None
        return Part(
            "model",
            "The local model",
            lambda: model_server.command(port, self._settings.model_threads),
            ready=lambda: answers(port, "/health"),
            ready_seconds=120,
            essential=False,
            advice="Everything else runs; agents that use the local model answer with an error.",
        )

    def prepare(self) -> Part:
        """Roles, extension, migrations and the demo: ends by itself."""
        arguments = ["prepare", *(["--demo", str(DEMO)] if self._settings.demo else [])]
        more = {"DATABASE_ADMIN_URL": self.addresses.admin_url} if self.addresses.admin_url else {}
        return Part("prepare", "Preparing the database", lambda: self._manage(arguments, more))

    def web(self, sockets: list[socket.socket]) -> list[Part]:
        """The web processes, on sockets that they share."""
        return [self._web(sockets, name) for name in self._settings.web_names]

    def workers(self) -> list[Part]:
        """Background jobs."""
        return [self._worker(name) for name in self._settings.worker_names]

    def proxy(self) -> Part | None:
        """What stands in front of the web processes; here they are asked directly."""
        return None

    @property
    def ready_port(self) -> int:
        """Where /readyz is asked, of a web process."""
        return self._settings.port

    def _worker(self, name: str) -> Part:
        return Part(
            name,
            "The worker" if name == "worker" else f"Worker {name[6:]}",
            lambda: self._manage(["work"], self._metrics(name)),
            settle_seconds=2.0,  # it says nothing of itself, so staying alive has to do
            stop_seconds=_WORKER_JOBS_SECONDS + self._settings.drain_seconds + CLOSE_SECONDS,
            essential=False,
            advice="Chats go on, but background work stands still until the next `make run`.",
        )

    def services(self) -> dict[str, str]:
        """What a `manage.py` in another shell needs, by the names of the environment variables."""
        addresses = self.addresses
        return {
            "DATABASE_URL": addresses.app_url,
            "DATABASE_OWNER_URL": addresses.owner_url,
            "REDIS_URL": addresses.redis_url,
            "LOCAL_MODEL_URL": addresses.model_url,
            "LOCAL_MODEL_NAME": self._settings.local_model_name or self._embedded_model_name(),
            "VAR_DIR": str(self.layout.var),
            "PORT": str(self._settings.port),
            "BASE_DOMAIN": self._settings.base_domain,
            **self._keys.platform(),
        }

    def _embedded_model_name(self) -> str:
        return model_server.MODEL_NAME if self._settings.local_model_url is None else ""

    def _postgres_shows(self, line: str) -> bool:
        """Errors of statements are told by whoever sent the statement; ends of connections are no news."""
        # The web process starts beside the preparation, and may knock before there is a login to use.
        too_early = not self.prepared and any(word in line for word in _TOO_EARLY)
        grave = any(word in line for word in (" WARNING: ", " FATAL: ", " PANIC: "))
        return grave and not too_early and not any(word in line for word in _ENDS_OF_CONNECTIONS)

    def _web(self, sockets: list[socket.socket], name: str) -> Part:
        descriptors = [listener.fileno() for listener in sockets]
        options = [text for descriptor in descriptors for text in ("--fd", str(descriptor))]
        return self._web_part(name, options, self._settings.port, descriptors)

    def _web_part(self, name: str, options: list[str], port: int, descriptors: Sequence[int] = ()) -> Part:
        # Empty, not absent: absent would be looked up in services.env. Web processes must not be owners.
        environment = self._platform_environment() | {"DATABASE_OWNER_URL": ""} | self._metrics(name)
        environment["STOP_NOTICE_SECONDS"] = str(self._settings.notice_seconds)
        environment.pop("DATABASE_OWNER_URL_FILE", None)
        return Part(
            name,
            "The web process" if name == "web" else f"Web process {name[3:]}",
            lambda: Command([sys.executable, "-m", "launch.web", *options], ROOT, environment, pass_fds=descriptors),
            ready=_slowly(lambda: answers(port, "/healthz")),
            stop_seconds=self._settings.notice_seconds + self._settings.drain_seconds + CLOSE_SECONDS + 5,
        )

    def _metrics(self, name: str) -> dict[str, str]:
        return {"METRICS_PORT": str(self._settings.metrics_ports.get(name, 0))}

    def _manage(self, arguments: list[str], more: Mapping[str, str] | None = None) -> Command:
        argv = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return Command(argv, ROOT, self._platform_environment() | dict(more or {}))

    def _platform_environment(self) -> dict[str, str]:
        """The person's own variables (proxies, provider keys, ...) and ours."""
        theirs = {name: value for name, value in self._environment.items() if name != "DATABASE_ADMIN_URL"}
        return theirs | self.services() | {"PYTHONUNBUFFERED": "1"}

    def _addresses(self) -> Addresses:
        settings = self._settings
        redis_url = settings.redis_url or (self.redis_server.url() if self.redis_server else "")
        model_url = settings.local_model_url or f"http://127.0.0.1:{self._model_port}/v1"
        if settings.database_url and settings.database_owner_url:
            admin = self._environment.get("DATABASE_ADMIN_URL")
            return Addresses(admin, settings.database_url, settings.database_owner_url, redis_url, model_url)
        admin = self.cluster.url() if self.cluster else settings.database_url or ""
        owner = with_login(admin, _OWNER, self._keys.password("PAAS_OWNER_PASSWORD"))
        app = with_login(admin, _APP, self._keys.password("PAAS_APP_PASSWORD"))
        return Addresses(admin, app, owner, redis_url, model_url)


def with_login(url: str, user: str, password: str) -> str:
    """A PostgreSQL URL with another login, and our database where it names only the maintenance one."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise LaunchError(f"DATABASE_URL is not a URL: {error}.") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise LaunchError(
            "DATABASE_URL must begin with postgresql://, for example postgresql://user:password@host/paas."
        )
    host = parts.netloc.rpartition("@")[2]
    name = unquote(parts.path.lstrip("/"))
    database = DATABASE if name in ("", "postgres") else name
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(("postgresql", f"{login}@{host}", f"/{quote(database, safe='')}", parts.query, ""))


async def answers(port: int, path: str) -> bool:
    """Whether a server on 127.0.0.1 answers GET `path` with 200, within a second."""
    try:
        status, _ = await asyncio.wait_for(get(port, path), 1)
    except (OSError, TimeoutError, EOFError, ValueError):
        return False
    return status == 200


async def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of GET `path` on 127.0.0.1; the body up to 64 KiB."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        head, _, body = (await reader.read(65536)).partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        while chunk := await reader.read(65536):
            body += chunk
        return status, body
    finally:
        writer.close()


def _in_thread(check: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    return lambda: asyncio.to_thread(check)


def _slowly(check: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """At most some eight times a second: while the socket is open but nobody accepts, each question waits."""

    async def ask() -> bool:
        await asyncio.sleep(0.1)
        return await check()

    return ask


_TOO_EARLY = ("authentication failed", "does not exist")
_ENDS_OF_CONNECTIONS = (
    "terminating connection",
    "connection to client lost",
    "is starting up",
    "is shutting down",
)


def _redis_shows(line: str) -> bool:
    # Redis marks warnings with # and prints the machine's settings that way too.
    return "FATAL" in line or "Can't" in line or "Error" in line or "Bad file format" in line
