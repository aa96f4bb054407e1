"""Creating a tenant: role, schema cloned from the template, grants, row.

PostgreSQL's DDL is transactional, so a kill at any point leaves all of it or nothing. The command line makes a tenant
whole in one transaction (`tenant_create`). Pages and API only write its row, in status `creating`, which takes the
name (`tenant_reserve`); the worker makes the rest and lets people in, in one transaction too (`tenant_build`). What
makes schemas runs under the paas_owner login. The template schema is migrated like any tenant and never holds a row.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, LiteralString

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from psycopg import sql

from core import clock
from tenants import naming, scope
from tenants.models import Plan, RetiredSlug, Tenant
from tenants.scope import TEMPLATE_SCHEMA

# While the template is migrated nobody clones it: a copy of its former state would not be found behind (migrate.py).
TEMPLATE_LOCK = 7_205_002
# Where a creation stands -> how much of it is done, in percent.
PROGRESS = {"queued": 10, "schema": 50}

# The template's copies of these hold rows that a new schema needs: which migrations it has.
COPIED_TABLES = ("django_migrations",)

_TABLES: LiteralString = """
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
# Keys and indexes by their own names, which LIKE ... INCLUDING INDEXES would replace by names of its choice: a
# later migration that alters one asks for it by name. Foreign keys come last, after the keys they point to.
_DEFINITIONS: tuple[LiteralString, ...] = (
    """
    SELECT format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
                  c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
    FROM pg_constraint c WHERE c.connamespace = %s::regnamespace AND c.contype IN ('p', 'u', 'x', 'f')
    ORDER BY c.contype = 'f', c.conname
    """,
    """
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = %s::regnamespace AND NOT EXISTS (
        SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid AND k.contype <> 'f')
    ORDER BY i.indexrelid::regclass::text
    """,
    "SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = %s::regnamespace ORDER BY p.proname",
    """
    SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal ORDER BY t.tgname
    """,
)


def tenant_create(*, slug: str, name: str, plan: str = "free") -> Tenant:
    """A new tenant with its schema and role, at once. Raises ValidationError for a bad or taken slug."""
    with transaction.atomic():
        tenant = _insert(slug, name, plan, Tenant.Status.ACTIVE, careful=False)
        create_schema(scope.schema_of(tenant.id))
    return tenant


def tenant_reserve(*, slug: str, name: str, plan: str = "free", careful: bool = True) -> Tenant:
    """The row of a tenant that is yet to be built; from its commit on the name is taken. Raises ValidationError.

    careful: refuse what looks like another tenant's name (tenants/naming.py).
    """
    with transaction.atomic():
        return _insert(slug, name, plan, Tenant.Status.CREATING, careful=careful)


def _insert(slug: str, name: str, plan: str, status: str, *, careful: bool) -> Tenant:
    with scope.platform():
        found = Plan.objects.filter(slug=plan).first()
        if found is None:
            raise ValidationError({"plan": f"There is no plan {plan!r}."})
        naming.hold(slug)
        naming.check(slug, careful=careful)
        tenant = Tenant(slug=slug, name=name, plan=found, status=status)
        tenant.step = "queued" if status == Tenant.Status.CREATING else ""
        if status == Tenant.Status.ACTIVE:
            tenant.schema_missing, tenant.schema_checked_at = [], clock.now()
        tenant.schema_name = scope.schema_of(tenant.id)
        tenant.full_clean(exclude=["wrapped_key"])
        tenant.save(force_insert=True)
    return tenant


def tenant_build(tenant_id: uuid.UUID, *, opened: Callable[[Tenant], None]) -> bool:
    """Make what a tenant in status `creating` lacks and let people in; False when there is nothing to do.

    opened(tenant) is called in the transaction that lets people in. Called again after a kill it begins where nothing
    was left behind; of two at once, one does it. Raises what PostgreSQL says.
    """
    with scope.platform():
        creating = Tenant.objects.filter(pk=tenant_id, status=Tenant.Status.CREATING)
        creating.update(step="schema")
        with transaction.atomic():
            tenant = creating.select_for_update(skip_locked=True, no_key=True).first()
            if tenant is None:
                return False
            create_schema(scope.schema_of(tenant.id))
            tenant.status, tenant.step, tenant.failure = Tenant.Status.ACTIVE, "", ""
            tenant.schema_missing, tenant.schema_checked_at = [], clock.now()  # it is the template's copy
            tenant.save(update_fields=["status", "step", "failure", "schema_missing", "schema_checked_at"])
            opened(tenant)
    return True


def failure_note(tenant_id: uuid.UUID, error: BaseException) -> None:
    """Keep in the row why the last attempt failed: the error's kind and first line."""
    lines = str(error).strip().splitlines() or [""]
    with scope.platform():
        Tenant.objects.filter(pk=tenant_id).update(failure=f"{type(error).__name__}: {lines[0]}"[:300])


def progress_of(tenant: Tenant) -> int:
    """How much of the creation is done, 0 to 100."""
    return PROGRESS.get(tenant.step, 10) if tenant.status == Tenant.Status.CREATING else 100


def tenant_update(*, tenant: Tenant, name: str, plan: Plan) -> None:
    """Rename a tenant or change its plan. Runs bound to the platform. Raises ValidationError."""
    tenant.name, tenant.plan = name, plan
    tenant.full_clean(exclude=["schema_name", "wrapped_key"])
    tenant.save(update_fields=["name", "plan"])


def tenant_set_status(*, tenant: Tenant, status: str) -> bool:
    """Suspend or resume a tenant, in force everywhere within seconds; False when it is so already, or neither
    active nor suspended (still creating, or deleted)."""
    may_change = Tenant.objects.filter(pk=tenant.pk, status__in=(Tenant.Status.ACTIVE, Tenant.Status.SUSPENDED))
    changed = may_change.exclude(status=status).update(status=status)
    if changed:
        tenant.status = status
    return bool(changed)


def tenant_move(*, tenant: Tenant, slug: str, careful: bool = True) -> bool:
    """Give a tenant another address; the former one leads there and stays its own. False when it has it already.

    Runs bound to the platform. Raises ValidationError. careful: as in `tenant_reserve`.
    """
    with transaction.atomic():
        naming.hold(slug)
        fresh = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if fresh.slug == slug:
            return False
        naming.check(slug, own=tenant.pk, careful=careful)
        RetiredSlug.objects.filter(slug=slug, tenant=fresh).delete()
        RetiredSlug.objects.create(slug=fresh.slug, tenant=fresh)
        Tenant.objects.filter(pk=tenant.pk).update(slug=slug)
        tenant.slug = slug
    return True


def create_schema(schema: str) -> None:
    """Role and schema `schema` with everything the template has, inside the caller's transaction."""
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [TEMPLATE_LOCK])
        prepare_empty(cursor, schema)
        _clone_template(cursor, schema)


def prepare_empty(cursor: Any, schema: str) -> None:
    """The role and the empty schema, with default privileges for whatever migrations will add.

    A role of that name may be there already: roles are the server's, and a database that is restored is a new one.
    """
    role = sql.Identifier(schema)
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [schema])
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE ROLE {role} NOLOGIN INHERIT").format(role=role))
    statements = [
        "GRANT paas_tenant TO {role} WITH INHERIT TRUE, SET FALSE",
        "GRANT {role} TO paas_app WITH INHERIT FALSE, SET TRUE",
        "GRANT {role} TO paas_owner WITH INHERIT FALSE, SET TRUE",
        "CREATE SCHEMA {role}",
        "GRANT USAGE ON SCHEMA {role} TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {role} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    ]
    for statement in statements:
        cursor.execute(sql.SQL(statement).format(role=role))


def _clone_template(cursor: Any, schema: str) -> None:
    """Copy tables, keys, functions and triggers of the template into `schema`.

    Ids are UUIDs, so there are no sequences; there are no views. PostgreSQL writes the definitions, only
    the schema's name in them is exchanged; both names are ours (`t_template`, `t_<hex>`), never input.
    """
    cursor.execute(_TABLES, [TEMPLATE_SCHEMA])
    tables = [name for (name,) in cursor.fetchall()]
    if not tables:
        raise RuntimeError("The template schema is empty. Run `manage.py migrate_all` first.")
    template, copy = sql.Identifier(TEMPLATE_SCHEMA), sql.Identifier(schema)
    for table in tables:
        names = {"copy": copy, "template": template, "table": sql.Identifier(table)}
        cursor.execute(
            sql.SQL("CREATE TABLE {copy}.{table} (LIKE {template}.{table} INCLUDING ALL EXCLUDING INDEXES)").format(
                **names
            )
        )
        if table in COPIED_TABLES:
            cursor.execute(
                sql.SQL("INSERT INTO {copy}.{table} OVERRIDING SYSTEM VALUE SELECT * FROM {template}.{table}").format(
                    **names
                )
            )
            # The copy's own counter stands at its start; the next migration must not be given a taken id.
            cursor.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {copy}.{table}").format(**names),
                [f"{schema}.{table}"],
            )
    definitions: list[str] = []
    cursor.execute("SELECT set_config('search_path', 'pg_catalog', true)")  # definitions come out qualified
    for query in _DEFINITIONS:
        cursor.execute(query, [TEMPLATE_SCHEMA])
        definitions += [definition for (definition,) in cursor.fetchall()]
    cursor.execute("SELECT set_config('check_function_bodies', 'off', true)")  # bodies name tables unqualified
    if definitions:
        cursor.execute(";\n".join(definitions).replace(f"{TEMPLATE_SCHEMA}.", f"{schema}."))
    cursor.execute("SELECT set_config('search_path', 'public', true)")


def drop_schema(schema: str) -> None:
    """Remove a tenant's schema and role for good (the tenant's row is the caller's).

    All that the role was given is in the schema and goes with it. (DROP OWNED would need the rights of the role,
    and paas_owner inherits none.) A right from elsewhere keeps the role, and is an error that names it.
    """
    if not scope.SCHEMA_NAME.match(schema):
        raise ValueError(f"Not a tenant's schema: {schema!r}")
    role = sql.Identifier(schema)
    with scope.owner(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(role))
        cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
