"""What keeps tenants apart inside PostgreSQL, judged from its own catalogues: `manage.py prove_isolation`.

Every check is a function from the Catalog to the Gaps it finds; no gap is the proof. `tenants.probes` then
tries what the rights say is impossible. Pitfalls (P...) are those of docs/security.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenants import catalog
from tenants.catalog import Catalog, Connection, Grant, Relation
from tenants.db import bootstrap, rls
from tenants.scope import PLATFORM_ROLE, SCHEMA_NAME, TEMPLATE_SCHEMA

OWNER, APP, GROUP = "paas_owner", "paas_app", "paas_tenant"
ROW_RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})

BOUND = "( SELECT public.bound_tenant() AS bound_tenant)"
# Shared tables whose rows do not say by `tenant_id` whose they are: the condition as PostgreSQL prints it.
OWN_CONDITIONS = {
    "tenants_tenant": f"(id = {BOUND})",
    "accounts_user": (
        "(EXISTS ( SELECT 1 FROM public.accounts_membership m "  # noqa: S608 - compared with, never run
        f"WHERE ((m.user_id = accounts_user.id) AND (m.tenant_id = {BOUND}))))"
    ),
}
# Shared tables without any tenant's rows that tenants may read.
READ_ONLY = frozenset({"tenants_plan"})
# A key that is a secret of 160 random bits tells nothing, so it need not lead with the tenant (P11).
SECRET_KEYS = frozenset({"accounts_session"})


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is open. subject: the table, role, schema or function it is about."""

    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Guard:
    """What protects a table. how: "row-level security", "no right", "read only" or "own schema"."""

    table: str
    how: str
    rights: str


Check = Callable[[Catalog], Iterator[Gap]]


def gaps(connection: Connection) -> list[Gap]:
    """Everything that is open in the database behind `connection`."""
    found = catalog.read(connection)
    open_ = [gap for check in CHECKS for gap in check(found)]
    schemas = [schema for schema in found.tenants if schema in found.schemas]
    return open_ + [Gap(schema, problem) for schema, problem in catalog.drift(connection, schemas)]


def guards(found: Catalog) -> list[Guard]:
    """Table by table, what protects it; tenants' schemas as one line each."""
    lines = []
    for table in sorted(_shared_tables(found), key=lambda one: one.name):
        own = condition_of(table)
        how = "row-level security" if own else "read only" if table.name in READ_ONLY else "no right"
        rights = found.rights.get((table.schema, table.name), [])
        may = sorted(f"{one.privilege}{_of_column(one)}" for one in rights if one.grantee == GROUP)
        lines.append(Guard(table.full_name, how, ", ".join(may) or "-"))
    for schema, slug in sorted(found.tenants.items(), key=lambda one: one[1]):
        lines.append(Guard(f"{schema}.* ({slug})", "own schema", "its own role only"))
    return lines


def condition_of(table: Relation) -> str | None:
    """When a row of a shared table is the bound tenant's; None: the table holds no tenant's rows."""
    if table.name in OWN_CONDITIONS:
        return OWN_CONDITIONS[table.name]
    return f"(tenant_id = {BOUND})" if "tenant_id" in table.columns else None


def _shared_tables(found: Catalog) -> list[Relation]:
    return [one for one in found.relations if one.schema == "public" and one.is_table]


def _is_tenant_role(name: str) -> bool:
    return bool(SCHEMA_NAME.match(name)) or name == TEMPLATE_SCHEMA


# --- The server and its roles ------------------------------------------------------------------------


def server(found: Catalog) -> Iterator[Gap]:
    """Known holes in row-level security are closed in this release (P12)."""
    try:
        bootstrap.check_version(found.version)
    except bootstrap.DatabaseNotSuitable as error:
        yield Gap("server", str(error))


def roles(found: Catalog) -> Iterator[Gap]:
    """Nobody of ours stands above row-level security, and only paas_owner owns anything (P8, P9)."""
    for name in (OWNER, APP, PLATFORM_ROLE, GROUP):
        if name not in found.roles:
            yield Gap(name, "the role does not exist")
    for role in found.roles.values():
        ours = role.name in (OWNER, APP, PLATFORM_ROLE, GROUP) or _is_tenant_role(role.name)
        if not ours:
            continue
        powers = {
            "is a superuser": role.superuser,
            "bypasses row-level security": role.bypassrls,
            "may create databases": role.createdb,
            "may replicate": role.replication,
            "may create roles": role.createrole and role.name != OWNER,
            "may sign in": role.login and role.name not in (OWNER, APP),
            "inherits the rights of its roles": role.inherit and role.name == APP,
            f"owns {role.owned} objects": bool(role.owned) and role.name != OWNER,
            f"has settings of its own: {', '.join(role.settings)}": bool(role.settings),
        }
        yield from (Gap(role.name, power) for power, has in powers.items() if has)
    for schema in found.tenants:
        if schema not in found.roles:
            yield Gap(schema, "the tenant has no role")
    for schema in found.empty:
        if schema in found.roles:
            yield Gap(schema, "there is a role of a tenant that is not built yet, or erased")


def memberships(found: Catalog) -> Iterator[Gap]:
    """Logins may become a role but never use its rights by the way; tenants belong to the group only."""
    for one in found.memberships:
        known = one.member in (OWNER, APP, PLATFORM_ROLE, GROUP) or _is_tenant_role(one.member)
        target = one.role in (OWNER, APP, PLATFORM_ROLE, GROUP) or _is_tenant_role(one.role)
        if not known and not target:
            continue
        if one.member in (OWNER, APP):
            if not (one.role in (PLATFORM_ROLE, GROUP) or _is_tenant_role(one.role)):
                yield Gap(one.member, f"belongs to {one.role}")
            if one.inherit:
                yield Gap(one.member, f"uses the rights of {one.role} without taking it on")
            if one.member == APP and (one.admin or one.role == GROUP):
                yield Gap(APP, f"may pass {one.role} on, or act as the group of tenants")
        elif _is_tenant_role(one.member):
            if one.role != GROUP or one.set or one.admin:
                yield Gap(one.member, f"may be {one.role}" if one.set else f"belongs to {one.role}")
        elif not found.roles[one.member].superuser:
            yield Gap(one.member, f"belongs to {one.role}")


# --- Shared tables -----------------------------------------------------------------------------------


def shared_tables(found: Catalog) -> Iterator[Gap]:
    """Every shared table has forced row-level security, or is out of tenants' reach, or is on READ_ONLY."""
    for table in _shared_tables(found):
        if table.owner != OWNER:
            yield Gap(table.full_name, f"belongs to {table.owner}, not to {OWNER}")
        own = condition_of(table)
        if own is not None:
            yield from _secured(table, own, found)
        allowed = ROW_RIGHTS if own else frozenset({"SELECT"}) if table.name in READ_ONLY else frozenset()
        yield from _rights(table, found, {GROUP: allowed, PLATFORM_ROLE: ROW_RIGHTS})


def _secured(table: Relation, own: str, found: Catalog) -> Iterator[Gap]:
    """Row security is on and forced, and no policy shows a tenant, or everybody, more than its own (P9)."""
    if not table.secured:
        yield Gap(table.full_name, "row-level security is off")
    if not table.forced:
        yield Gap(table.full_name, "row-level security is not forced on the owner")
    covered = False
    for policy in found.policies:
        if policy.table != table.full_name or not policy.permissive:
            continue
        others = [role for role in policy.roles if role not in (PLATFORM_ROLE, OWNER)]
        if not others:
            continue
        using, check = _one_line(policy.using), _one_line(policy.check)
        if others != [GROUP] or policy.command != "*" or using != own or check != own:
            yield Gap(
                table.full_name,
                f"policy {policy.name} for {', '.join(others)} is not the tenant's own condition: "
                f"USING {using or '-'} WITH CHECK {check or '-'}",
            )
        else:
            covered = True
    if not covered:
        yield Gap(table.full_name, f"{GROUP} has no policy with USING and WITH CHECK {own}")


def _one_line(expression: str) -> str:
    return re.sub(r"\s+", " ", expression)


def _rights(table: Relation, found: Catalog, allowed: dict[str, frozenset[str]]) -> Iterator[Gap]:
    """Nobody but the owner has more than `allowed`, on the whole table or on a column."""
    for grant in found.rights.get((table.schema, table.name), []):
        if grant.grantee != table.owner and grant.privilege not in allowed.get(grant.grantee, frozenset()):
            yield Gap(table.full_name, f"{grant.grantee} may {grant.privilege}{_of_column(grant)}")


def _of_column(grant: Grant) -> str:
    return f" ({grant.column})" if grant.column else ""


def unique_values(found: Catalog) -> Iterator[Gap]:
    """Where tenants insert, no unique value is shared: a refusal would tell of others' rows (P11)."""
    writable = {
        name
        for (schema, name), grants in found.rights.items()
        for grant in grants
        if schema == "public" and grant.grantee == GROUP and grant.privilege == "INSERT"
    }
    for unique in found.uniques:
        if unique.table in writable and unique.columns[0] != "tenant_id":
            yield Gap(f"public.{unique.table}", f"unique index {unique.name} does not begin with tenant_id")
    for table in _shared_tables(found):
        if table.name in writable and table.key != ["uuid"] and table.name not in SECRET_KEYS:
            yield Gap(table.full_name, f"its key is {', '.join(table.key) or 'missing'}, not a uuid")


def keys(found: Catalog) -> Iterator[Gap]:
    """No counted keys where rows are tenants': they would tell of others' volume, and be guessed (P7)."""
    for table in found.relations:
        ours = table.is_table and table.name != "django_migrations"
        if ours and table.counted_key and (table.schema != "public" or condition_of(table)):
            yield Gap(table.full_name, "its key is counted up (serial or identity)")


# --- Tenants' schemas --------------------------------------------------------------------------------


def tenant_schemas(found: Catalog) -> Iterator[Gap]:
    """Each tenant has a schema of paas_owner's, and each schema a tenant (P6); of an erased one nothing is left."""
    for schema in found.tenants:
        if schema not in found.schemas:
            yield Gap(schema, "the tenant has no schema")
    for schema in found.empty:
        if schema in found.schemas:
            yield Gap(schema, "there is a schema of a tenant that is not built yet, or erased")
    known = found.tenants.keys() | found.empty.keys() | found.erasing.keys() | {"public", TEMPLATE_SCHEMA}
    for schema, owner in found.schemas.items():
        if owner != OWNER:
            yield Gap(schema, f"belongs to {owner}, not to {OWNER}")
        if schema in known:
            continue
        yield Gap(schema, "belongs to no tenant" if _is_tenant_role(schema) else "is no schema of ours")


def tenant_tables(found: Catalog) -> Iterator[Gap]:
    """What is in a tenant's schema is open to the tenant's own role only, for rows only (P8)."""
    for relation in found.relations:
        if relation.schema == "public":
            continue
        if relation.owner != OWNER:
            yield Gap(relation.full_name, f"belongs to {relation.owner}, not to {OWNER}")
        own = ROW_RIGHTS if relation.is_table else frozenset()
        yield from _rights(relation, found, {relation.schema: own})


def schema_rights(found: Catalog) -> Iterator[Gap]:
    """Who may enter a schema or the database, or make things there, and who gets rights on new tables."""
    for grant in found.grants:
        if grant.grantee == OWNER:
            continue
        if (grant.kind, grant.grantee, grant.privilege) not in _expected_rights(grant):
            subject = grant.schema or grant.name or "the database"
            what = "gets on new tables" if grant.kind == "default" else "may"
            yield Gap(subject, f"{grant.grantee} {what} {grant.privilege} ({grant.kind})")


def _expected_rights(grant: Grant) -> set[tuple[str, str, str]]:
    if grant.kind == "database":
        return {("database", APP, "CONNECT")}
    if grant.schema == "public":
        return {
            ("schema", PLATFORM_ROLE, "USAGE"),
            ("schema", GROUP, "USAGE"),
            ("default", PLATFORM_ROLE, "USAGE"),
            *(("default", PLATFORM_ROLE, right) for right in ROW_RIGHTS),
        }
    if not _is_tenant_role(grant.schema):
        return set()
    return {
        ("schema", grant.schema, "USAGE"),
        *(("default", grant.schema, right) for right in ROW_RIGHTS),
    }


# --- Ways around -------------------------------------------------------------------------------------


def detours(found: Catalog) -> Iterator[Gap]:
    """Nothing reads with other rights than its caller's: no definers, plain views, stored results (P10)."""
    for function in found.functions:
        name = f"{function.schema}.{function.name}()"
        if function.definer:
            yield Gap(name, "runs with its owner's rights (SECURITY DEFINER)")
        if function.owner != OWNER:
            yield Gap(name, f"belongs to {function.owner}, not to {OWNER}")
    for relation in found.relations:
        if relation.kind == "m":
            yield Gap(relation.full_name, "is a materialized view: row-level security does not reach it")
        if relation.kind == "f":
            yield Gap(relation.full_name, "is a foreign table: row-level security does not reach it")
        if relation.kind == "v" and not relation.invoker:
            yield Gap(relation.full_name, "is a view without security_invoker: it reads as its owner")
        if relation.kind in ("v", "S") and relation.schema == "public":
            rights = frozenset({"SELECT"}) if relation.kind == "v" else frozenset()
            yield from _rights(relation, found, {GROUP: rights, PLATFORM_ROLE: ROW_RIGHTS | {"USAGE"}})


def bound_tenant(found: Catalog) -> Iterator[Gap]:
    """The function that every policy asks is the one that the migration made."""
    wanted = rls.BOUND_TENANT_INLINE_SQL.split("$$")[1]
    made = [one for one in found.functions if (one.schema, one.name) == ("public", "bound_tenant")]
    if [(one.body, one.settings) for one in made] != [(wanted, [])]:
        yield Gap("public.bound_tenant()", "is not the function that tenants/db/rls.py defines")


CHECKS: tuple[Check, ...] = (
    server,
    roles,
    memberships,
    shared_tables,
    unique_values,
    keys,
    tenant_schemas,
    tenant_tables,
    schema_rights,
    detours,
    bound_tenant,
)
