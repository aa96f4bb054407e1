"""Settings, secrets, and what the platform needs of the world: mail, names, its own metrics."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

from django.conf import settings
from django.core import checks
from django.core.mail import get_connection

from paas import backup
from paas.doctor.finding import ERROR, NOTE, WARNING, Finding
from tenants import scope
from tenants.backup.archive import BackupError

SECONDS = 5
# What Django's checks want that is the proxy's or a choice (docs/operations.md).
CHOICES = frozenset({"security.W005", "security.W008", "security.W021"})


def configured() -> Iterator[Finding]:
    """Django's checks and our own, as `manage.py check --deploy` has them."""
    served = not is_local()
    with scope.platform():
        messages = checks.run_checks(include_deployment_checks=served)
    for message in messages:
        if message.id in CHOICES or message.is_silenced():
            continue
        level = ERROR if message.level >= checks.ERROR else WARNING
        yield Finding(
            level, f"settings.{message.id}", str(message.msg), str(message.hint or "README.md, Configuration")
        )
    if served and "prod" not in str(settings.SETTINGS_MODULE):
        yield Finding(
            WARNING, "settings.module", f"{settings.BASE_DOMAIN} is served with {settings.SETTINGS_MODULE}.",
            "DJANGO_SETTINGS_MODULE=paas.settings.prod",
        )  # fmt: skip


def is_local() -> bool:
    """Whether this installation is for one machine."""
    return settings.BASE_DOMAIN == "localhost" or str(settings.BASE_DOMAIN).endswith(".localhost")


def secrets() -> Iterator[Finding]:
    """Strong, each of its own, and able to open what is stored."""
    given = {"SECRET_KEY": (settings.SECRET_KEY, 50), "API_KEY_PEPPER": (settings.API_KEY_PEPPER, 32)}
    for name, (value, least) in given.items():
        if len(value) < least or len(set(value)) < 8:
            yield Finding(
                ERROR, "secrets.weak", f"{name} is too easy to guess.",
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'; docs/operations.md, Secrets",
            )  # fmt: skip
    if len({settings.SECRET_KEY, settings.API_KEY_PEPPER, *settings.FIELD_KEYS}) < 2 + len(settings.FIELD_KEYS):
        yield Finding(ERROR, "secrets.same", "One secret serves for two purposes.", "docs/operations.md, Secrets")
    with scope.platform():
        for problem in backup.unreadable():
            yield Finding(
                ERROR, "secrets.lost", problem, "Put the key that is missing back into FIELD_KEYS, behind the newest."
            )
    try:
        if backup.key() is None:
            yield Finding(
                NOTE, "backup.plain", "Backups are not encrypted.", "Set BACKUP_KEY; docs/backup.md, Encryption"
            )
    except BackupError as error:
        yield Finding(ERROR, "backup.key", str(error), "docs/backup.md, Encryption")


def mail() -> Iterator[Finding]:
    """Whether letters leave the house."""
    if not settings.EMAIL_HOST:
        level = NOTE if is_local() else WARNING
        yield Finding(level, "mail.server", f"Letters are files in {settings.EMAIL_FILE_PATH}.", "Set EMAIL_HOST.")
        return
    try:
        server = get_connection(timeout=SECONDS)
        server.open()
        server.close()
    except OSError as error:
        yield Finding(
            ERROR, "mail.server", f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT} takes no letters: {error}",
            "Look at EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER and EMAIL_HOST_PASSWORD.",
        )  # fmt: skip


def names() -> Iterator[Finding]:
    """The base domain and any name below it lead somewhere."""
    if is_local():
        return
    for name in (settings.BASE_DOMAIN, f"doctor.{settings.BASE_DOMAIN}"):
        try:
            socket.getaddrinfo(name, 443)
        except OSError as error:
            yield Finding(
                ERROR, "dns.names", f"{name} has no address: {error.strerror or error}",
                f"Point {settings.BASE_DOMAIN} and *.{settings.BASE_DOMAIN} to the proxy.",
            )  # fmt: skip


def breakers() -> Iterator[Finding]:
    """Vendors that the web process leaves alone, and requests that wait for a connection; by its metrics."""
    if not settings.METRICS_PORT:
        return
    address = f"http://{settings.METRICS_HOST}:{settings.METRICS_PORT}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        yield Finding(WARNING, "metrics.reachable", f"{address} does not answer: {error}", "Start the platform.")
        return
    told = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    if float(told.get("paas_breakers_open", 0)):
        open_now = [name.partition("{")[2].rstrip("}") for name in told if name.startswith("paas_breaker_open{")]
        yield Finding(
            WARNING, "models.breakers",
            f"Models are left alone because their vendor does not answer: {'; '.join(sorted(open_now))}",
            "The log names their accounts (a vendor is left alone for a while); they are asked again after 30 s.",
        )  # fmt: skip
    for name, value in told.items():
        if name.startswith("paas_pool_connections{") and 'state="waiting"' in name and float(value):
            yield Finding(
                WARNING, "pools.waiting", f"{value} requests wait: {name}", "More web processes, or a larger pool."
            )
