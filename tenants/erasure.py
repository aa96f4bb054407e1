"""Erasing a tenant for good, once nobody can have it back: in small steps, each of which may be killed and repeated.

The row says where it stands (`step`). Each step is one transaction that holds the row, so of two workers one works;
a step that has more than fits into one transaction is taken again. At the end the row stays as a tombstone: the name
is never given away, and usage records and the audit log, which are append-only, keep what they point to.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.files.storage import default_storage
from django.db import connection, models, transaction
from psycopg import sql

from core import clock
from tenants import scope
from tenants.migrate import MIGRATING_LOCK
from tenants.models import Tenant

STEPS = ("access", "schema", "role", "files", "rows")
# Shared rows that outlive their tenant. All others with a key to it are deleted, those of tables to come too.
KEPT = frozenset(
    {
        "accounts.AuditEvent",
        "tenants.RetiredSlug",
        "usage.Invoice",
        "usage.LedgerHead",
        "usage.Margin",
        "usage.Price",
        "usage.Seal",
        "usage.UsageRecord",
    }
)
TABLES_AT_ONCE = 10
ROWS_AT_ONCE = 5_000


def erasure_begin(tenant_id: uuid.UUID) -> bool:
    """Past this point there is no way back: a tenant whose grace is over is deleted, and waits to be erased.

    False when its grace is not over, it was restored, or it has begun before. Runs bound to the platform.
    """
    due = Tenant.objects.filter(pk=tenant_id, status=Tenant.Status.DELETING, delete_after__lte=clock.now())
    return bool(due.update(status=Tenant.Status.DELETED, step=STEPS[0], failure=""))


def erase_some(tenant_id: uuid.UUID, *, finished: Callable[[Tenant], None]) -> bool:
    """Do one piece of the erasing; whether there is more to do. Runs bound to the platform, as the paas_owner login.

    finished(tenant) is called in the transaction that makes the tombstone.
    """
    with transaction.atomic():
        erasing = Tenant.objects.filter(pk=tenant_id, status=Tenant.Status.DELETED).exclude(step="")
        tenant = erasing.select_for_update(skip_locked=True, no_key=True).first()
        if tenant is None:
            return False
        if not WORK[tenant.step](tenant):
            return True
        following = STEPS.index(tenant.step) + 1
        tenant.step = STEPS[following] if following < len(STEPS) else ""
        tenant.failure = ""
        if not tenant.step:
            tenant.deleted_at, tenant.logo = clock.now(), ""
        tenant.save(update_fields=["step", "failure", "deleted_at", "logo"])
        if not tenant.step:
            finished(tenant)
        return bool(tenant.step)


# --- the steps: each says whether it is through --------------------------------------------------------


def _access(tenant: Tenant) -> bool:
    """From here on no web process can become this tenant, whatever it remembers."""
    if _exists("SELECT 1 FROM pg_roles WHERE rolname = %s", tenant.schema_name):
        _owner(sql.SQL("REVOKE {} FROM paas_app").format(sql.Identifier(tenant.schema_name)))
    return True


def _schema(tenant: Tenant) -> bool:
    """Table by table: one statement for all would lock them all at once, and take too long where they are large."""
    name = tenant.schema_name
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [MIGRATING_LOCK])  # not under a backup's eyes
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY c.relname LIMIT %s",
            [name, TABLES_AT_ONCE],
        )
        tables = [table for (table,) in cursor.fetchall()]
        for table in tables:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name, table)))
        if tables:
            return False
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
    return True


def _role(tenant: Tenant) -> bool:
    _owner(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(tenant.schema_name)))
    return True


def _files(tenant: Tenant) -> bool:
    storage: Any = default_storage
    folder = Path(storage.location) / str(tenant.id)
    if folder.exists():
        shutil.rmtree(folder)
    return True


def _rows(tenant: Tenant) -> bool:
    """All shared rows of the tenant but KEPT, some thousands at a time."""
    for model, column in owned_models():
        chosen = model._default_manager.filter(**{column: tenant.pk}).values("pk")[:ROWS_AT_ONCE]
        deleted, _ = model._default_manager.filter(pk__in=chosen).delete()
        if deleted:
            return False
    return True


WORK: dict[str, Callable[[Tenant], bool]] = {
    "access": _access, "schema": _schema, "role": _role, "files": _files, "rows": _rows
}  # fmt: skip


def owned_models() -> Iterator[tuple[type[models.Model], str]]:
    """Each shared model whose rows go with their tenant, with the column that names it."""
    for model in apps.get_models():
        if model._meta.label in KEPT:
            continue
        for field in model._meta.concrete_fields:
            if field.related_model is Tenant:
                yield model, field.attname


def _exists(query: str, name: str) -> bool:
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute(query, [name])
        return cursor.fetchone() is not None


def _owner(statement: sql.Composed) -> None:
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute(statement)
