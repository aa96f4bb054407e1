"""One tenant out of a backup into an installation that lives, in one transaction.

Its schema and its files are new. Of shared rows come its own; people are those with the same id, or else the same
address, and only whom nobody knows is made, never as an operator. A tenant that was erased here comes back to its own
tombstone: its ledger and its audit log, which are kept for good, have gone on and stay as they are.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

from core import crypto
from tenants import naming, provisioning, scope
from tenants.backup.archive import BackupError, Reader
from tenants.backup.load import (
    facts_of,
    folder_of,
    load_schema,
    rename_people,
    stage,
    table_of,
    take_time,
    without_triggers,
    write_files,
)
from tenants.backup.tables import OF_PEOPLE, STAGE, Table, condition, in_order
from tenants.backup.whole import put
from tenants.erasure import KEPT
from tenants.models import Plan, Tenant

# Numbers of invoices are the issuer's: elsewhere they would be others'.
ISSUED = "usage_invoice"
# What is sealed keeps the ids of people that it was sealed with.
SEALED = frozenset({"accounts_auditevent", "usage_usagerecord", "usage_seal", ISSUED})


@dataclass(slots=True)
class Report:
    """What a restoring does, or would do. rows: by table. people: (known, new)."""

    tenant_id: uuid.UUID
    slug: str
    returns: bool
    known: int = 0
    new: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    notes: list[str] = field(default_factory=list)


class _DryRun(Exception):
    """Everything was tried, and nothing is to stay."""


def restore_one(
    archive: Reader, slug: str, *, to: str, finished: Callable[[Report], None], dry_run: bool = False
) -> Report:
    """Restore the tenant `slug` of a backup under the name `to`. Raises BackupError for what would overwrite anything.

    finished(report) is called in the transaction that makes it. dry_run: do it and undo it.
    """
    tenant_id = _id_of(archive, slug)
    written = False
    try:
        with transaction.atomic(), scope.owner(), connection.cursor() as cursor:
            take_time(cursor)
            report = _restore(archive, cursor, tenant_id, to)
            with scope.platform():
                finished(report)
            if dry_run:
                raise _DryRun
            report.files = write_files(archive, str(tenant_id))
            written = True
    except _DryRun:
        report.files = sum(fact["tenant"] == str(tenant_id) for fact in archive.manifest["files"])
    except BaseException:
        if written and not _is_here(tenant_id):  # the commit failed
            shutil.rmtree(folder_of(str(tenant_id)), ignore_errors=True)
        raise
    return report


def _id_of(archive: Reader, slug: str) -> uuid.UUID:
    known = {one["slug"]: one["id"] for one in archive.manifest["tenants"]}
    if slug not in known:
        raise BackupError(f"The backup has no tenant {slug!r}; it has {', '.join(sorted(known)) or 'none'}.")
    return uuid.UUID(known[slug])


def _is_here(tenant_id: uuid.UUID) -> bool:
    with scope.platform():
        return bool(Tenant.objects.filter(pk=tenant_id).exclude(status=Tenant.Status.DELETED).exists())


def _restore(archive: Reader, cursor: Any, tenant_id: uuid.UUID, to: str) -> Report:
    here = dict(_staged(archive, cursor, tenant_id))
    tombstone = _room_for(tenant_id, to)
    report = Report(tenant_id, to, returns=tombstone)
    _check(cursor, tenant_id, here)
    people, new = _people(cursor, here["accounts_user"][1])
    report.known, report.new = _count(cursor, here["accounts_user"]) - len(new), len(new)
    for name, (staged, _) in here.items():
        if name not in SEALED and name != "accounts_user":
            rename_people(cursor, staged, people)
    provisioning.create_schema(scope.schema_of(tenant_id))
    load_schema(archive, cursor, scope.schema_of(tenant_id), people)
    kept = {apps.get_model(label)._meta.db_table for label in KEPT} if tombstone else set[str]()
    targets = [Table("public", name, staged.columns) for name, (staged, _) in here.items()]
    with without_triggers(cursor, targets):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in in_order(cursor, targets):
            staged, which = here[table.name]
            if table.name in kept:
                _goes_on(cursor, staged, which)
            else:
                report.rows[table.name] = _put(cursor, staged, which, report, new)
    if report.rows.pop(ISSUED, 0):
        report.notes.append("Invoices were left out: their numbers are those of the installation that issued them.")
    return report


Chosen = tuple[Table, sql.Composable]


def _staged(archive: Reader, cursor: Any, tenant_id: uuid.UUID) -> Iterator[tuple[str, Chosen]]:
    """The shared tables that have something of the tenant, with which rows are its own."""
    for fact in facts_of(archive, "public"):
        which = condition(table_of(fact), tenant_id, STAGE)
        if which is not None:
            yield fact["table"], (stage(archive, cursor, fact), which)


def _room_for(tenant_id: uuid.UUID, to: str) -> bool:
    """Whether there is a tombstone to come back to. Raises BackupError when the tenant or its name is taken."""
    with scope.platform():
        found = Tenant.objects.filter(pk=tenant_id).first()
        if found is not None and (found.status != Tenant.Status.DELETED or found.step):
            raise BackupError(
                f"The tenant {found.slug!r} is here and {found.status}: restoring would overwrite it. "
                "Delete it and let it be erased first, or restore into another installation."
            )
        naming.hold(to)
        if problem := naming.problem_with(to, own=tenant_id, careful=False):
            raise BackupError(f"The name {to!r} cannot be had ({naming.MESSAGES[problem]}) Choose another with --to.")
    return found is not None


def _check(cursor: Any, tenant_id: uuid.UUID, here: dict[str, Chosen]) -> None:
    """Its plan, its keys and its hosts fit. Raises BackupError."""
    cursor.execute("SELECT plan_id, wrapped_key FROM pg_temp.staged_tenants_tenant WHERE id = %s", [tenant_id])
    plan, wrapped = cursor.fetchone()
    with scope.platform():
        if not Plan.objects.filter(slug=plan).exists():
            raise BackupError(f"There is no plan {plan!r} here. Make it first (the console, or manage.py apply).")
    try:
        crypto.unwrap(settings.FIELD_KEYS, wrapped)
    except crypto.SecretUnreadable:
        raise BackupError(
            "No key of FIELD_KEYS opens this tenant's secrets. Put the FIELD_KEYS of the installation that made the "
            "backup behind your own, restore, then run `manage.py rotate_field_keys`."
        ) from None
    cursor.execute(
        sql.SQL(
            "SELECT d.domain FROM pg_temp.staged_tenants_domain d "
            "JOIN public.tenants_domain h ON lower(h.domain) = lower(d.domain) "
            "WHERE d.{}"
        ).format(here["tenants_domain"][1])
    )
    if taken := [domain for (domain,) in cursor.fetchall()]:
        raise BackupError(f"Hosts of the tenant belong to another one here: {', '.join(taken)}.")


def _people(cursor: Any, which: sql.Composable) -> tuple[dict[uuid.UUID, uuid.UUID], list[uuid.UUID]]:
    """Whom this installation knows under another id (by address), and whom it does not know at all."""
    cursor.execute(
        sql.SQL(
            "SELECT s.id, (SELECT t.id FROM public.accounts_user t "
            "WHERE t.id = s.id OR lower(t.email) = lower(s.email) ORDER BY t.id <> s.id LIMIT 1) "
            "FROM (SELECT * FROM pg_temp.staged_accounts_user WHERE {}) s"
        ).format(which)
    )
    found = cursor.fetchall()
    others = {old: new for old, new in found if new is not None and new != old}
    return others, [old for old, new in found if new is None]


def _count(cursor: Any, chosen: Chosen) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(chosen[0].identifier, chosen[1]))
    return int(cursor.fetchone()[0])


def _put(cursor: Any, staged: Table, which: sql.Composable, report: Report, new: list[uuid.UUID]) -> int:
    if staged.name == ISSUED:
        return _count(cursor, (staged, which))  # told, and left out
    if staged.name == "tenants_tenant":
        return _tenant(cursor, staged, report)
    column = {"accounts_user": "id"}.get(staged.name, "user_id" if staged.name in OF_PEOPLE else "")
    if not column:
        return put(cursor, staged, which)
    which = sql.SQL("{} = ANY({}::uuid[])").format(sql.Identifier(column), sql.Literal([str(one) for one in new]))
    if staged.name == "accounts_user":
        cursor.execute("UPDATE pg_temp.staged_accounts_user SET is_staff = false, is_superuser = false")
        return put(cursor, staged, which)
    # Their keys are counted, and the numbers are others' here.
    without_key = Table(staged.schema, staged.name, tuple(name for name in staged.columns if name != "id"))
    return put(cursor, without_key, which, conflicts=True)


def _tenant(cursor: Any, staged: Table, report: Report) -> int:
    which = sql.SQL("id = {}").format(sql.Literal(str(report.tenant_id)))
    cursor.execute(sql.SQL("UPDATE pg_temp.staged_tenants_tenant SET slug = %s WHERE {}").format(which), [report.slug])
    cursor.execute(
        sql.SQL(
            "UPDATE pg_temp.staged_tenants_tenant SET status = 'suspended', step = '', delete_after = NULL "
            "WHERE {} AND status = 'deleting'"
        ).format(which)
    )
    if cursor.rowcount:
        report.notes.append("It waited to be erased when the backup was made, so it is suspended: resume it yourself.")
    if not report.returns:
        return put(cursor, staged, which)
    cursor.execute(
        sql.SQL(
            "UPDATE public.tenants_tenant SET ({columns}) = (SELECT {columns} FROM {} WHERE {which}) WHERE {which}"
        ).format(staged.identifier, columns=staged.column_list, which=which)
    )
    return 1


def _goes_on(cursor: Any, staged: Table, which: sql.Composable) -> None:
    """Of rows that outlive their tenant, all that the backup has are here. Raises BackupError."""
    key = sql.Identifier("slug" if "id" not in staged.columns else "id")
    cursor.execute(
        sql.SQL(
            "SELECT count(*) FROM {} s WHERE {} AND NOT EXISTS (SELECT 1 FROM {} t WHERE t.{key} = s.{key})"
        ).format(staged.identifier, which, sql.Identifier("public", staged.name), key=key)
    )
    if missing := cursor.fetchone()[0]:
        raise BackupError(
            f"{missing} rows of {staged.name} are in the backup and not here, where such rows are kept for good. "
            "Look with manage.py verify_ledger and verify_audit before you restore."
        )
