"""A stand-in for the platform: the smallest manage.py and paas.asgi that the supervisor can start.

It uses the database and Redis that it is given, so a start that works proves the services and their logins.
"""

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

MANAGE = """
import os, sys
if os.environ.get("BREAK") == sys.argv[1]:
    print("a reason of its own", flush=True)
    sys.exit(3)

import signal, socket, time
import psycopg
from urllib.parse import urlsplit, unquote

def ping():
    with socket.socket(socket.AF_UNIX) as redis:
        redis.connect(unquote(urlsplit(os.environ["REDIS_URL"]).path))
        redis.sendall(b"PING\\r\\n")
        assert redis.recv(16) == b"+PONG\\r\\n"

def prepare():
    ping()
    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"], autocommit=True) as admin:
        admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for name in ("DATABASE_OWNER_URL", "DATABASE_URL"):
            parts = urlsplit(os.environ[name])
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [parts.username]).fetchone():
                admin.execute(f"CREATE ROLE {parts.username} LOGIN PASSWORD '{unquote(parts.password)}'")
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = 'paas'").fetchone():
            admin.execute("CREATE DATABASE paas OWNER paas_owner")
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        owner.execute("GRANT SELECT ON starts TO paas_app")
        owner.execute("INSERT INTO starts DEFAULT VALUES")
    print("prepared", flush=True)

def work():
    def leave(*_):
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]):
            ping()
            print("worker leaves, the services are still there", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    print("worker works as", urlsplit(os.environ["DATABASE_OWNER_URL"]).username, flush=True)
    while True:
        time.sleep(60)

{"prepare": prepare, "work": work}[sys.argv[1]]()
"""

ASGI = """
import asyncio, json, os
import psycopg

if os.environ.get("BREAK") == "web":
    raise SystemExit("a reason of its own")

turned_away = None  # nobody is refused here

def announce_stop():
    print("web says that it stops", flush=True)

async def drain(seconds, hurry):
    print(f"web may drain for {seconds} s", flush=True)

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]):
                    print("web leaves, the database is still there", flush=True)
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})
    status, answer = 200, {"status": "ready", "checks": {}}
    if scope["path"] == "/readyz":
        try:
            async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as connection:
                await (await connection.execute("SELECT count(*) FROM starts")).fetchone()
        except psycopg.Error as error:
            status, answer = 503, {"status": "unready", "checks": {"postgresql": type(error).__name__}}
    if scope["path"] == "/environment":
        answer = dict(os.environ)
    if scope["path"] == "/pid":
        answer = os.getpid()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if scope["path"] == "/slow":
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"token ", "more_body": True})
            await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"""


def make(directory: Path) -> Path:
    """A project in `directory`: this repository's launch/ with the stand-in; returns the directory."""
    shutil.copytree(REPOSITORY / "launch", directory / "launch", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "manage.py").write_text(MANAGE)
    (directory / "paas").mkdir()
    (directory / "paas" / "__init__.py").touch()
    (directory / "paas" / "asgi.py").write_text(ASGI)
    return directory
