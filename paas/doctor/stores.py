"""Redis, the disk, and whether files and rows know of each other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from redis import Redis
from redis.exceptions import RedisError

from chat.models import ConversationFile
from knowledge.models import Document
from paas.doctor.finding import ERROR, NOTE, WARNING, Finding
from tenants import scope
from tenants.models import Tenant

OLDEST_REDIS = (6, 2)
FREE_BYTES = 1_000_000_000
FREE_PART = 0.1


def redis() -> Iterator[Finding]:
    """Version, what it does when it is full, and whether it can write what it was told to keep."""
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
            info: dict[str, Any] = client.info()
    except (RedisError, OSError) as error:
        yield Finding(ERROR, "redis.reachable", f"Redis does not answer: {error}", "Start Redis, or correct REDIS_URL.")
        return
    yield from redis_says(info)


def redis_says(info: dict[str, Any]) -> Iterator[Finding]:
    """What is to be said to an answer of INFO."""
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        yield Finding(ERROR, "redis.version", f"Redis is {version}.", "Install 6.2 or newer.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            ERROR, "redis.eviction", f"maxmemory-policy is {policy}: streams would vanish under their readers.",
            "redis-cli CONFIG SET maxmemory-policy noeviction; and in redis.conf",
        )  # fmt: skip
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if most and used > most * 0.9:
        yield Finding(
            WARNING,
            "redis.memory",
            f"{used:,} of {most:,} bytes are used.",
            "Raise maxmemory: full is as bad as absent.",
        )
    if "err" in (info.get("aof_last_write_status", "ok"), info.get("rdb_last_bgsave_status", "ok")):
        yield Finding(
            WARNING, "redis.persistence", "Redis cannot write its file, and refuses to be written to because of it.",
            "Make room on its disk; nothing in it must last, so `save \"\"` and `appendonly no` will do too.",
        )  # fmt: skip


def disk() -> Iterator[Finding]:
    """Room where files, logs and the embedded database lie."""
    usage = shutil.disk_usage(settings.VAR_DIR if settings.VAR_DIR.exists() else Path("/"))
    if usage.free < max(FREE_BYTES, 0) or usage.free < usage.total * FREE_PART:
        level = ERROR if usage.free < FREE_BYTES // 5 else WARNING
        yield Finding(level, "disk.room", f"{usage.free:,} bytes are free at {settings.VAR_DIR}.", "Make room.")


def writable() -> Iterator[Finding]:
    """Whether an upload could be stored."""
    storage: Any = default_storage
    folder = Path(storage.location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        yield Finding(
            ERROR, "storage.writable", f"{folder} cannot be written: {error.strerror}",
            f"chown the platform's user to {folder}, or make room.",
        )  # fmt: skip


def files() -> Iterator[Finding]:
    """Rows whose file is gone, and files of no row."""
    with scope.platform():
        logos = dict(Tenant.objects.exclude(logo="").values_list("id", "logo"))
    storage: Any = default_storage
    for tenant in scope.each_tenant():
        known = {logos[tenant.id]} if tenant.id in logos else set[str]()
        known |= set(ConversationFile.objects.values_list("key", flat=True))
        known |= set(Document.objects.exclude(key="").values_list("key", flat=True))
        base = Path(storage.location)
        there = {path.relative_to(base).as_posix() for path in (base / str(tenant.id)).rglob("*") if path.is_file()}
        if lost := known - there:
            yield Finding(
                ERROR, "storage.lost", f"{tenant.slug}: {len(lost)} files of rows are gone, such as {min(lost)}",
                "Copy them from a backup: `unzip -l` shows files/; manage.py restore says more.",
            )  # fmt: skip
        if unknown := there - known:
            yield Finding(
                NOTE, "storage.unknown", f"{tenant.slug}: {len(unknown)} files of no row, such as {min(unknown)}",
                "Left over from an upload or an erasing that was killed; look, and delete them.",
            )  # fmt: skip
