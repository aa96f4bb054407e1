"""Takes the data of a Phase 1 or Phase 2 installation over into a tenant: all of it in one transaction, or nothing.

Rows keep their ids, so that the same file again brings nothing. docs/phase1.md says what becomes of each table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import transaction

from accounts import audit, keys
from accounts.models import ApiKey, Membership
from accounts.policies import AGENTS_EXECUTE, CHAT_READ, CHAT_WRITE
from agents import access
from core.errors import PaasError
from paas import phase1_people
from paas.phase1_file import FileError, Phase1File
from paas.phase1_people import ACTOR, People
from paas.phase1_report import Report
from paas.phase1_talk import Owner, Talk
from tenants import resolve, scope
from tenants.models import Tenant

OWNER_KEY = "phase1"


class _DryRun(Exception):
    """Rolls the transaction back."""


def import_file(path: Path, slug: str, report: Report, *, source: str = "", owner: str = "") -> None:
    """Import the file into the tenant `slug`, filling `report`.

    source: which tenant of a Phase 2 file, by name or id; "" where there is one, or one of that name. owner: the e-mail
    address or the API key (its name) that gets the sessions. Raises FileError, phase1_report.Stopped, ValidationError,
    PaasError; then nothing was changed.
    """
    file = Phase1File(path)
    report.phase, report.tenant = file.phase, slug
    try:
        with scope.platform(), transaction.atomic():
            _import(file, slug, report, source, owner)
            if report.dry_run:
                raise _DryRun
    except _DryRun:
        report.token = ""  # that key will never exist
    finally:
        file.close()
        resolve.forget_all()
        access.forget_all()


def _import(file: Phase1File, slug: str, report: Report, source: str, owner: str) -> None:
    chosen = _source(file.tenants(), slug, source)
    tenant = phase1_people.tenant_row(slug, chosen, report)
    if tenant.status not in (Tenant.Status.ACTIVE, Tenant.Status.SUSPENDED):
        raise PaasError("wrong_status", f"The tenant {slug} is {tenant.status}.")
    people, name = People(), None
    if chosen is not None:
        name = str(chosen["id"])
        if chosen["status"] != "active":
            report.notes.append(f"The tenant was {chosen['status']} there. Here it is {tenant.status}.")
        phase1_people.import_quotas(file, name, tenant, report)
        phase1_people.import_users(file, name, tenant, report, people)
        phase1_people.import_keys(file, name, tenant, report, people)
    ref = Tenant.objects.select_related("plan").get(pk=tenant.pk).ref()
    with scope.bind(ref):
        whose = _owner(file, name, owner, people, report)
        Talk(file, name, whose, report).run()
        if report.changed:
            counts: dict[str, Any] = {table: count["imported"] for table, count in report.tables.items()}
            audit.record("tenant.imported", actor=ACTOR, target=slug, bad=len(report.bad), **counts)


def _source(tenants: list[dict[str, Any]], slug: str, wanted: str) -> dict[str, Any] | None:
    """Which tenant of the file; None for a file of Phase 1. Raises FileError."""
    if not tenants:
        if wanted:
            raise FileError("The file is of Phase 1 and names no tenants; leave --from away.")
        return None
    named = [one for one in tenants if (wanted or slug) in (one["name"], one["id"])]
    if not named and not wanted and len(tenants) == 1:
        named = tenants
    if len(named) != 1:
        names = ", ".join(str(one["name"]) for one in tenants)
        raise FileError(f"Say which tenant of the file with --from: {names}.")
    return named[0]


def _owner(file: Phase1File, source: str | None, wanted: str, people: People, report: Report) -> Owner:
    """Whose the sessions will be; a key is made where nothing else says it. Raises FileError."""
    tenant_id = scope.current_tenant().id
    if "@" in wanted:
        member = Membership.objects.filter(tenant_id=tenant_id, user__email=wanted.strip().lower()).first()
        if member is None:
            raise FileError(f"{wanted} is no member of the tenant.")
        report.owner = wanted
        return Owner(user_id=member.user_id)
    named = ApiKey.objects.filter(tenant_id=tenant_id, name=wanted or OWNER_KEY, revoked_at=None).first()
    if wanted and named is None:
        raise FileError(f"The tenant has no API key named {wanted}.")
    if named is None and len(people.keys) == 1:
        named = people.keys[0]
    if named is None:
        if not file.count("sessions", source):
            return Owner()
        if len(people.keys) > 1:
            report.notes.append("The file has several API keys: --owner NAME gives the sessions to one of them.")
        rights = [CHAT_READ, CHAT_WRITE, AGENTS_EXECUTE]
        named, report.token = keys.key_create(name=OWNER_KEY, scopes=rights, actor=ACTOR)
    report.owner = f"the API key {named.name}"
    return Owner(key_id=named.pk)
