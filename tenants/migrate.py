"""Bringing every schema to the present release: shared tables, the template, then each tenant.

Runs under the paas_owner login, one run at a time. What each schema has is read for many schemas in one query, so a
start with nothing to do costs little with a thousand tenants too; what is behind is migrated by itself, each migration
in a transaction, so an interrupted run goes on where it stopped. A schema whose tables somebody uses is given up for
the moment after LOCK_TRIES waits of three seconds (`lock_timeout`), and named at the end; the others are not held up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management.sql import emit_post_migrate_signal
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import LockNotAvailable

from core import clock
from tenants import provisioning, scope, selectors
from tenants.models import Tenant
from tenants.scope import TEMPLATE_SCHEMA, TenantRef

MIGRATING_LOCK = 7_205_003
SCHEMAS_A_QUERY = 200  # each is a table in the query, and a lock that it holds
LOCK_TRIES = 5

# The tenants' migrations that every tenant has, as `app.name`, separated by spaces. Anybody may read it.
ALL_HAVE_SQL: LiteralString = (
    f"SELECT coalesce(obj_description(to_regnamespace('{TEMPLATE_SCHEMA}'), 'pg_namespace'), '')"
)

Wanted = set[tuple[str, str]]


class NoSuchTenant(Exception):
    """A slug that is nobody's, or of a tenant without a schema."""


class SchemaUnfit(Exception):
    """A tenant's schema was migrated, and its tables cannot be read as this release does."""


class SchemasBusy(Exception):
    """Some schemas could not be migrated, because their tables stayed locked; a later run does them."""


def schema_exists(schema: str) -> bool:
    """Whether PostgreSQL has this schema."""
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", [schema])
        return bool(cursor.fetchone()[0])


def tenant_schemas() -> list[str]:
    """The schemas of all tenants that have one, oldest first; not of one that is being erased, table by table."""
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.tenants_tenant') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return []
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_[0-9a-f]{32}$' ORDER BY oid")
        found = [schema for (schema,) in cursor.fetchall()]
    with scope.platform(), connection.cursor() as cursor:
        cursor.execute("SELECT schema_name FROM tenants_tenant WHERE status = 'deleted'")
        ending = {schema for (schema,) in cursor.fetchall()}
    return [schema for schema in found if schema not in ending]


def wanted_migrations(schema: str) -> Wanted:
    """The (app, name) of every migration that `schema` should have."""
    loader = MigrationLoader(None)
    apps = settings.SHARED_APPS if schema == "public" else settings.TENANT_APPS
    labels = _labels(apps)
    return {key for key in loader.disk_migrations if key[0] in labels}


def _labels(apps: Sequence[str]) -> set[str]:
    """The names under which these applications' migrations are recorded."""
    labels = {app.rsplit(".", 1)[-1] for app in apps}
    return {"procrastinate" if label == "django" else label for label in labels}


def is_current(schema: str, wanted: Wanted) -> bool:
    """Whether `schema` has every migration of `wanted`."""
    return not schemas_behind([schema], wanted)


def schemas_behind(schemas: Sequence[str], wanted: Wanted) -> list[str]:
    """Those of `schemas` that lack a migration of `wanted`, in their order. One query for SCHEMAS_A_QUERY of them."""
    behind: set[str] = set()
    for start in range(0, len(schemas), SCHEMAS_A_QUERY):
        behind |= _behind(schemas[start : start + SCHEMAS_A_QUERY], wanted)
    return [schema for schema in schemas if schema in behind]


def missing_migrations(schema: str, wanted: Wanted) -> list[str]:
    """What `schema` lacks of `wanted`, as `app.name`, in order; all of it where it has no table of migrations."""
    known: Wanted = set()
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.django_migrations"])
        if cursor.fetchone()[0]:
            table = sql.Identifier(schema, "django_migrations")
            cursor.execute(sql.SQL("SELECT app, name FROM {}").format(table))
            known = set(cursor.fetchall())
    return sorted(names_of(wanted - known))


def _behind(schemas: Sequence[str], wanted: Wanted) -> set[str]:
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = 'django_migrations' AND n.nspname = ANY(%s)",
            [list(schemas)],
        )
        with_table = {schema for (schema,) in cursor.fetchall()}
        missing = set(schemas) - with_table
        if not with_table:
            return missing
        counts = sql.SQL(" UNION ALL ").join(
            sql.SQL(
                "SELECT {name} AS schema, count(*) AS number FROM {schema}.django_migrations "
                "JOIN wanted w USING (app, name)"
            ).format(name=sql.Literal(schema), schema=sql.Identifier(schema))
            for schema in sorted(with_table)
        )
        query = sql.SQL(
            "WITH wanted AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS w (app, name)) "
            "SELECT schema FROM ({counts}) AS counted WHERE number < %s"
        ).format(counts=counts)
        pairs = sorted(wanted)
        cursor.execute(query, [[app for app, _ in pairs], [name for _, name in pairs], len(pairs)])
        return missing | {schema for (schema,) in cursor.fetchall()}


def migrate_all(say: Callable[[str], None], *, first: Sequence[str] = (), only: bool = False) -> int:
    """Migrate what is behind; returns how many schemas were. `say` gets a line for each.

    first: slugs of tenants that come right after the shared tables, and are looked at before anything else is touched.
    only: nothing else is touched afterwards either.
    What came of it is noted in each tenant's row.
    Raises SchemasBusy when some stayed locked, after all others were done; NoSuchTenant; SchemaUnfit.
    """
    with _alone():
        changed = _migrate_shared(say)
        canaries = [tenant_named(slug) for slug in first]
        changed += _migrate_tenants([tenant.schema for tenant in canaries], say)
        for tenant in canaries:
            try:
                look_at(tenant)
            except SchemaUnfit as error:
                state_note(tenant.schema, failure=str(error))
                raise
            say(f"{tenant.slug} ({tenant.schema}) is up to date and can be read")
        if not only:
            changed += _migrate_template(say) + _migrate_tenants(tenant_schemas(), say)
            _note_what_all_have()
    return changed


def note_states() -> int:
    """Keep in every tenant's row what its schema lacks, for the console, which may not look into schemas; how many lack
    something. A failure that was noted stays until the schema is whole."""
    schemas = tenant_schemas()
    behind = schemas_behind(schemas, wanted := wanted_migrations(TEMPLATE_SCHEMA))
    lacks = {schema: missing_migrations(schema, wanted) for schema in behind}
    whole = set(schemas) - set(behind)
    with scope.platform():
        Tenant.objects.filter(schema_name__in=whole).update(
            schema_missing=[], schema_failure="", schema_checked_at=clock.now()
        )
        for schema, missing in lacks.items():
            Tenant.objects.filter(schema_name=schema).update(schema_missing=missing, schema_checked_at=clock.now())
    return len(behind)


def state_note(schema: str, *, failure: str) -> None:
    """Keep in the tenant's row how an attempt to migrate it ended."""
    missing = missing_migrations(schema, wanted_migrations(TEMPLATE_SCHEMA))
    with scope.platform():
        Tenant.objects.filter(schema_name=schema).update(
            schema_missing=missing, schema_failure=failure[:300], schema_checked_at=clock.now()
        )


def _note_what_all_have() -> None:
    """As the template's comment: what processes of a release wait for, who may not look into tenants' schemas.

    What a newer release has noted stays: its migrations are there, whatever an older one wants.
    """
    wanted = names_of(wanted_migrations(TEMPLATE_SCHEMA))
    with scope.owner(), connection.cursor() as cursor:
        cursor.execute(ALL_HAVE_SQL)
        noted = set(cursor.fetchone()[0].split())
        if not wanted <= noted:
            comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
            text = " ".join(sorted(noted | wanted))
            cursor.execute(comment.format(sql.Identifier(TEMPLATE_SCHEMA), sql.Literal(text)))


def names_of(migrations: Wanted) -> set[str]:
    """As `app.name`."""
    return {f"{app}.{name}" for app, name in migrations}


def tenant_named(slug: str) -> TenantRef:
    """The tenant with this slug, whatever its status. Raises NoSuchTenant when it has no schema."""
    with scope.platform():
        tenant = selectors.tenant_by_slug(slug)
    if tenant is None or not schema_exists(tenant.schema):
        raise NoSuchTenant(f"There is no tenant {slug!r} with a schema.")
    return tenant


def look_at(tenant: TenantRef) -> None:
    """Read a row of each of the tenant's tables, with all columns, as the tenant. Raises SchemaUnfit."""
    with scope.bind(tenant):
        for model in tenant_models():
            try:
                model._base_manager.first()
            except DatabaseError as error:
                told = str(error).strip().splitlines()[0]
                raise SchemaUnfit(f"{model._meta.db_table} of {tenant.slug} ({tenant.schema}): {told}") from None


def tenant_models() -> list[type[Model]]:
    """Those whose tables each tenant has."""
    return [
        model for label in sorted(_labels(settings.TENANT_APPS)) for model in apps.get_app_config(label).get_models()
    ]


def _migrate_tenants(schemas: Sequence[str], say: Callable[[str], None]) -> int:
    """How many of `schemas` were behind. Raises SchemasBusy."""
    busy: list[str] = []
    behind = schemas_behind(schemas, wanted_migrations(TEMPLATE_SCHEMA))
    for schema in behind:
        say(f"migrating {schema}")
        try:
            done = _patiently(schema)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            state_note(schema, failure=f"{type(error).__name__}: {lines[0]}")
            raise
        state_note(schema, failure="" if done else "Its tables stayed locked.")
        if not done:
            busy.append(schema)
    if busy:
        raise SchemasBusy(f"{len(busy)} schemas stayed locked, run it again: {', '.join(busy[:10])}")
    return len(behind)


@contextmanager
def _alone() -> Iterator[None]:
    """One run at a time; the next waits. A run that is killed leaves nothing locked: its connection ends with it."""
    conninfo = make_conninfo(settings.HOT_DATABASE_CONNINFO, options="")
    with psycopg.connect(conninfo, autocommit=True) as keeper:
        keeper.execute("SELECT pg_advisory_lock(%s)", [MIGRATING_LOCK])
        yield


def _patiently(schema: str) -> bool:
    """Whether it was migrated, within LOCK_TRIES tries that may each wait for a lock for `lock_timeout`."""
    for _ in range(LOCK_TRIES):
        try:
            _migrate_tenant(schema)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
        else:
            return True
    return False


def _migrate_shared(say: Callable[[str], None]) -> int:
    if is_current("public", wanted_migrations("public")):
        return 0
    say("migrating shared tables")
    with scope.owner(), _no_hurry():
        _execute(settings.SHARED_APPS)
        emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)  # content types and permissions
    return 1


def _migrate_template(say: Callable[[str], None]) -> int:
    """Nobody clones the template meanwhile: who did so before its end would not be among those found behind."""
    if not schema_exists(TEMPLATE_SCHEMA):
        with transaction.atomic(), scope.owner(), connection.cursor() as cursor:
            provisioning.prepare_empty(cursor, TEMPLATE_SCHEMA)
    if is_current(TEMPLATE_SCHEMA, wanted_migrations(TEMPLATE_SCHEMA)):
        return 0
    say(f"migrating {TEMPLATE_SCHEMA}")
    with scope.owner(TEMPLATE_SCHEMA), _no_hurry(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [provisioning.TEMPLATE_LOCK])
        try:
            _execute(settings.TENANT_APPS)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [provisioning.TEMPLATE_LOCK])
    return 1


def _migrate_tenant(schema: str) -> None:
    with scope.owner(schema), _no_hurry():
        _execute(settings.TENANT_APPS)


def _execute(apps: Sequence[str]) -> None:
    """Bring the bound schema to the newest migrations of these applications, and of what those depend on.

    Django's own executor without the command around it, which takes every schema through the migrations of all
    applications, compares all models, and makes content types and permissions, which are shared, for each tenant anew.
    """
    executor = MigrationExecutor(connection)
    labels = _labels(apps)
    executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] in labels])


@contextmanager
def _no_hurry() -> Iterator[None]:
    """Without the bound on a statement's time, which is meant for requests; waiting for locks stays bounded."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            if connection.connection is not None and not connection.needs_rollback:
                cursor.execute("RESET statement_timeout")
