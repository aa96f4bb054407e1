"""The real PostgreSQL and Redis under the tests: started once a worker, in a folder of its own."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from launch.services import PostgresService, RedisService, start_postgres, start_redis

MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 * 1024**3
FIELD_KEY = "dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="


class Services:
    """Starts both and sets the environment that the settings read.

    shared: a folder that all workers of one run have, with the password of their databases (`share`).
    """

    def __init__(self, shared: Path | None = None) -> None:
        self.shared = shared
        self.folder = Path(tempfile.mkdtemp(prefix="paas-test-", dir=place()))
        self.folder.chmod(0o755)
        self.files = self.folder / "var" / "files"
        password = secrets.token_hex(8)
        if shared is not None:
            password = (shared / "password").read_text()
            (self.folder / "pg").mkdir()
            (self.folder / "pg" / "superuser").touch(mode=0o600)
            (self.folder / "pg" / "superuser").write_text(password)
        self.postgres: PostgresService = start_postgres(self.folder / "pg")
        self.redis: RedisService = start_redis(self.folder / "redis")
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "paas.settings.test",
            "DATABASE_ADMIN_URL": self.postgres.admin_url,
            "DATABASE_URL": self.postgres.url_for("paas", "paas_app", password),
            "DATABASE_OWNER_URL": self.postgres.url_for("paas", "paas_owner", password),
            "DATABASE_LOGIN": "owner",
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": "test" * 12,
            "API_KEY_PEPPER": "pepper" * 6,
            "FIELD_KEYS": FIELD_KEY,
            "VAR_DIR": str(self.files.parent),
            "LOCAL_MODEL_URL": "",
            "PORT": "8000",
        }
        os.environ.update(self.environment)

    def fill(self, build: Callable[[], None], disconnect: Callable[[], None]) -> None:
        """The database as `build` makes it: by the first worker that asks, of which the others get a copy.

        disconnect: closes this process's connections, for PostgreSQL is stopped in between.
        """
        if self.shared is None:
            build()
            return
        data, copy = self.postgres.cluster.data, self.shared / "data"
        with (self.shared / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            built = copy.exists()
            if not built:
                build()
            disconnect()
            self.postgres.stop()
            if not built:
                unfinished = self.shared / "unfinished"
                _copy(data, unfinished)
                unfinished.rename(copy)
        if built:
            shutil.rmtree(data)
            _copy(copy, data)
        self.postgres = start_postgres(self.folder / "pg")

    def stop(self) -> None:
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def place() -> Path:
    """Where test data stand: in memory where there is room, since nothing is kept."""
    usable = os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if usable else Path("/tmp")


def shared_folder() -> Path:
    """A folder for `Services(shared)` of several processes."""
    folder = Path(tempfile.mkdtemp(prefix="paas-tests-", dir=place()))
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text(secrets.token_hex(16))
    return folder


def _copy(folder: Path, to: Path) -> None:
    """With owners and rights: the server may be another user's."""
    subprocess.run(["cp", "-Rp", str(folder), str(to)], check=True)
