"""A database and a Redis of one's own, in a folder that goes away: for measurements inside one process."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from launch.services import PostgresService, RedisService, start_postgres, start_redis


@dataclass
class OwnServices:
    """Both servers, and the folder that everything of them is in. Who restarts one puts the new one in its place."""

    folder: Path
    postgres: PostgresService
    redis: RedisService

    def stop(self) -> None:
        """Stop those that are there now."""
        self.redis.stop()
        self.postgres.stop()


@contextmanager
def own_services(*, durable: bool = False) -> Iterator[Path]:
    """The folder of both, while they run; see `running_services`. Who asks much at once is answered all the same."""
    os.environ["REQUEST_PATIENCE_MS"] = "60000"
    with running_services(durable=durable) as services:
        yield services.folder


@contextmanager
def running_services(*, durable: bool = False) -> Iterator[OwnServices]:
    """Both, while they run; the environment names them to whoever reads settings after this.

    durable: they write as they do for real, with fsync, so that what waits for the disk does so here too.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="paas-bench-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        postgres = stack.enter_context(start_postgres(folder / "pg", durable=durable))
        cache = stack.enter_context(start_redis(folder / "redis", durable=durable))
        services = OwnServices(folder, postgres, cache)
        stack.callback(services.stop)
        password = secrets.token_hex(8)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "paas.settings.dev",
            "DATABASE_ADMIN_URL": postgres.admin_url,
            "DATABASE_URL": postgres.url_for("paas", "paas_app", password),
            "DATABASE_OWNER_URL": postgres.url_for("paas", "paas_owner", password),
            "REDIS_URL": cache.url,
            "SECRET_KEY": secrets.token_hex(32),
            "API_KEY_PEPPER": secrets.token_hex(32),
            "FIELD_KEYS": Fernet.generate_key().decode(),
            "VAR_DIR": str(folder / "var"),
            "LOCAL_MODEL_URL": "",
            "LOG_LEVEL": "ERROR",
            "DATABASE_POOL_SIZE": "24",
            "RATE_LIMITS": ", ".join(f"{kind}=1000000" for kind in ("turn", "stream", "read", "write", "anonymous")),
        }
        yield services
