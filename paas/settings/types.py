"""Settings for tools that read the models but start nothing: type checks, migrations check, system checks."""

import os

for name in ("SECRET_KEY", "API_KEY_PEPPER"):
    os.environ.setdefault(name, "x" * 50)
os.environ.setdefault("FIELD_KEYS", "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=")
for name in ("DATABASE_URL", "DATABASE_OWNER_URL"):
    os.environ.setdefault(name, "postgresql://nobody@127.0.0.1:1/none")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")

from paas.settings.base import *  # noqa: E402, F403
