"""The real PostgreSQL and Redis under the tests: started once a worker, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from launch.services import PostgresService, RedisService, start_postgres, start_redis

FIELD_KEY = "dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="


class Services:
    """Starts both and sets the environment that the settings read."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="paas-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.postgres: PostgresService = start_postgres(self.folder / "pg")
        self.redis: RedisService = start_redis(self.folder / "redis")
        password = secrets.token_hex(8)
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
            "VAR_DIR": str(self.folder / "var"),
            "LOCAL_MODEL_URL": "",
            "PORT": "8000",
        }
        os.environ.update(self.environment)

    def stop(self) -> None:
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
