"""Backups as the platform makes and checks them: with the heads of its chains, and every book compared afterwards."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.timesince import timesince
from django.utils.translation import gettext

from accounts import audit, audit_chain
from accounts.models import AuditEvent
from core import clock, crypto, sealed_streams
from core.crypto import derived_key
from paas import env
from paas.health import version
from tenants import scope
from tenants.backup import one, take, whole
from tenants.backup.archive import BackupError, Reader, Writer
from tenants.backup.load import folder_of
from tenants.models import Tenant
from usage import chain, counters
from usage.models import Seal

Say = Callable[[str], None]
MAKER, ACTOR = "command:backup", "command:restore"
LATE_AFTER = timedelta(hours=26)  # a backup a day, and the time it takes
MADE, MADE_OF_ONE = "backup.made", "backup.made_of_tenant"  # actions of the platform's audit log
RESTORED = "tenant.restored_from_backup"  # of both
_LEDGER: LiteralString = """
    SELECT DISTINCT ON (tenant_id) tenant_id, seq, digest FROM public.usage_seal ORDER BY tenant_id, seq DESC
"""
_AUDIT: LiteralString = """
    SELECT DISTINCT ON (tenant_id) tenant_id, seq, digest FROM public.accounts_auditevent
    WHERE seq IS NOT NULL ORDER BY tenant_id, seq DESC
"""


def last_made() -> AuditEvent | None:
    """The audit row of the last backup of everything. Runs bound to the platform."""
    return AuditEvent.objects.filter(action=MADE).order_by("-id").first()


def standing(request: HttpRequest) -> list[str] | None:
    """How old the last backup is, for the head of the console's pages: a text and a colour; to operators only."""
    if not getattr(request.user, "is_staff", False):
        return None
    last = last_made()
    if last is None:
        return [gettext("Never backed up"), "warning"]
    age = clock.now() - last.at
    said = gettext("Backup %(time)s ago") % {"time": timesince(last.at)}
    return [said, "success" if age <= LATE_AFTER else "danger"]


def key() -> bytes | None:
    """What backups are encrypted with; None where BACKUP_KEY is not set. Raises BackupError."""
    try:
        text = env.text("BACKUP_KEY", "")
        if text in settings.FIELD_KEYS:
            raise BackupError(
                "BACKUP_KEY is one of FIELD_KEYS. Use a key of its own: who has a backup must not have both."
            )
        return sealed_streams.key_of(text) if text else None
    except (ValueError, ImproperlyConfigured) as error:
        raise BackupError(
            f"BACKUP_KEY cannot be used: {error} Make one: "
            "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
        ) from None


def make(path: Path, *, slug: str | None, say: Say) -> tuple[Path, str]:
    """Back up everything, or one tenant, to a file, or to a new file in a directory. Returns it and its digest.

    The digest is the SHA-256 of the manifest, which has those of all parts. Raises BackupError.
    """
    if path.is_dir():
        at = clock.now().strftime("%Y%m%dT%H%M%SZ")
        path = path / f"agent-paas-{f'tenant-{slug}-' if slug else ''}{at}.zip"
    if not path.parent.is_dir():
        raise BackupError(f"There is no directory {path.parent}.")
    with Writer(path, key()) as archive:
        manifest = take.take(archive, slug=slug, notes=_notes, say=say)
        digest = archive.finish(manifest)
    with scope.platform():
        audit.record(
            MADE_OF_ONE if slug else MADE, actor=MAKER, target=path.name, tenant=slug, sha256=digest,
            bytes=path.stat().st_size, encrypted=archive.encrypted,
        )  # fmt: skip
    return path, digest


def _notes(connection: take.Connection) -> dict[str, Any]:
    """What is compared after restoring: who sealed what up to where, and by which secrets."""

    def heads(query: LiteralString) -> dict[str, Any]:
        rows = connection.execute(query).fetchall()
        return {str(tenant_id or ""): {"seq": seq, "digest": bytes(digest).hex()} for tenant_id, seq, digest in rows}

    return {"version": version(), "ledgers": heads(_LEDGER), "audit_logs": heads(_AUDIT), "secrets": secrets()}


def secrets() -> dict[str, str]:
    """By which one recognises the secrets that are not in a backup, and learns nothing of them."""
    found = {"API_KEY_PEPPER": settings.API_KEY_PEPPER, "SECRET_KEY": settings.SECRET_KEY}
    return {name: derived_key(value, "backup: recognise").hex()[:12] for name, value in found.items()}


def warnings(archive: Reader) -> list[str]:
    """What will not work after restoring under the secrets at hand."""
    here, there = secrets(), archive.manifest["secrets"]
    lost = {
        "API_KEY_PEPPER": "API keys and links in letters will not be taken",
        "SECRET_KEY": "everybody will have to sign in again",
    }
    return [f"{name} is not the one of the backup: {lost[name]}." for name in lost if here[name] != there[name]]


def unreadable() -> list[str]:
    """The tenants whose secrets no key of FIELD_KEYS opens. Runs bound to the platform."""
    found = []
    for slug, wrapped in Tenant.objects.exclude(status=Tenant.Status.DELETED).values_list("slug", "wrapped_key"):
        try:
            crypto.unwrap(settings.FIELD_KEYS, wrapped)
        except crypto.SecretUnreadable:
            found.append(f"{slug}: no key of FIELD_KEYS opens its secrets")
    return found


def restore_tenant(archive: Reader, slug: str, *, to: str, dry_run: bool) -> one.Report:
    """One tenant into this installation; see tenants/backup/one.py. Raises BackupError."""
    whole.same_migrations(archive, slug)

    def finished(report: one.Report) -> None:
        tenant = Tenant.objects.get(pk=report.tenant_id).ref()
        for log in (scope.platform_about(tenant), scope.platform()):
            with log:
                audit.record(RESTORED, actor=ACTOR, target=report.slug, backup=archive.manifest["made_at"])

    return one.restore_one(archive, slug, to=to, finished=finished, dry_run=dry_run)


def faults(archive: Reader, tenant_id: uuid.UUID | None = None) -> Iterator[str]:
    """What is not as it was backed up, of everything or of one tenant: chains, counters, secrets, files."""
    with scope.platform():
        yield from _chains(archive, Tenant.objects.get(pk=tenant_id).slug if tenant_id else None)
        yield from counters.wrong(tenant_id)
        yield from unreadable()
    for fact in archive.manifest["files"]:
        if tenant_id is None or fact["tenant"] == str(tenant_id):
            yield from _file(fact)


def _chains(archive: Reader, slug: str | None) -> Iterator[str]:
    """Each chain is whole, and has at the number where the backup's ended the digest that was there."""
    heads = archive.manifest["ledgers"]
    for ledger, _ in chain.verify_all(slug=slug):
        seals = Seal.objects.filter(tenant_id=ledger.tenant_id)
        yield from _chain(f"ledger of {ledger.name}", ledger.problem, heads.get(str(ledger.tenant_id)), seals)
    heads = archive.manifest["audit_logs"]
    for log, _ in audit_chain.verify_all(slug=slug):
        of_log: Any = log.tenant_id  # None: rows without a tenant
        rows = AuditEvent.objects.filter(tenant_id=of_log)
        yield from _chain(f"audit log of {log.name}", log.problem, heads.get(str(log.tenant_id or "")), rows)


def _chain(name: str, problem: str, head: dict[str, Any] | None, links: Any) -> Iterator[str]:
    if problem:
        yield f"{name}: {problem}"
    elif head is not None:
        stored = links.filter(seq=head["seq"]).values_list("digest", flat=True).first()
        if stored is None or bytes(stored).hex() != head["digest"]:
            yield f"{name}: #{head['seq']} is not the one that was backed up"


def _file(fact: dict[str, Any]) -> Iterator[str]:
    place = folder_of(fact["tenant"]) / fact["part"].removeprefix(f"files/{fact['tenant']}/")
    try:
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        yield f"{place}: {error.strerror}"
    else:
        if digest != fact["sha256"]:
            yield f"{place}: it is not the file that was backed up"
