"""`prove_isolation` finds no gap in what migrations and provisioning make, and finds every gap made on purpose
(P6-P12): each mutation is made by a superuser in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tenants import catalog, isolation
from tests.conftest import Platform

Superuser = psycopg.Connection[Any]


def problems(connection: Superuser) -> list[str]:
    return [str(gap) for gap in isolation.gaps(connection)]


def test_a_migrated_database_with_tenants_has_no_gap(superuser: Superuser) -> None:
    assert problems(superuser) == []


def test_every_shared_table_is_named_with_what_protects_it(superuser: Superuser) -> None:
    guards = {guard.table: guard for guard in isolation.guards(catalog.read(superuser))}
    assert guards["public.usage_usagerecord"].how == "row-level security"
    assert guards["public.usage_usagerecord"].rights == "INSERT, SELECT"
    assert guards["public.tenants_plan"].how == "read only"
    assert guards["public.django_admin_log"].how == "no right"
    tables = superuser.execute(
        "SELECT 'public.' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    assert {name for (name,) in tables} == {name for name in guards if name.startswith("public.")}


# What is done to the database -> what must be said. {acme} and {globex} are the tenants' schemas.
MUTATIONS = {
    # shared tables
    "no row security": (
        "ALTER TABLE usage_quota DISABLE ROW LEVEL SECURITY",
        "public.usage_quota: row-level security is off",
    ),
    "not forced": ("ALTER TABLE accounts_apikey NO FORCE ROW LEVEL SECURITY", "accounts_apikey: row-level security is not forced"),
    "policy dropped": ("DROP POLICY tenant_rows ON accounts_session", "accounts_session: paas_tenant has no policy"),
    "policy of true": (
        "ALTER POLICY tenant_rows ON usage_reservation USING (true)",
        "usage_reservation: policy tenant_rows for paas_tenant is not the tenant's own condition: USING true",
    ),
    "check of true": ("ALTER POLICY tenant_rows ON usage_quota WITH CHECK (true)", "WITH CHECK true"),
    "one more policy": ("CREATE POLICY more ON tenants_domain TO paas_tenant USING (is_primary)", "policy more for paas_tenant"),
    "policy for all": ("CREATE POLICY more ON tenants_domain USING (true)", "policy more for PUBLIC"),
    "policy for one tenant": ("CREATE POLICY more ON usage_quota TO {acme} USING (true)", "policy more for {acme}"),
    "policy for reading only": (
        "DROP POLICY tenant_rows ON tenants_domain; CREATE POLICY tenant_rows ON tenants_domain FOR SELECT TO paas_tenant "
        "USING (tenant_id = (SELECT bound_tenant()))",
        "tenants_domain: paas_tenant has no policy with USING and WITH CHECK",
    ),
    "wider condition of people": (
        "ALTER POLICY tenant_rows ON accounts_user USING (is_active)",
        "accounts_user: policy tenant_rows",
    ),
    "new table with tenants' rows": (
        "CREATE TABLE notes (id uuid PRIMARY KEY, tenant_id uuid); ALTER TABLE notes OWNER TO paas_owner",
        "public.notes: row-level security is off",
    ),
    "new table that tenants read": (
        "CREATE TABLE news (id uuid PRIMARY KEY); ALTER TABLE news OWNER TO paas_owner; GRANT SELECT ON news TO paas_tenant",
        "public.news: paas_tenant may SELECT",
    ),
    "right on a closed table": ("GRANT SELECT ON procrastinate_jobs TO paas_tenant", "procrastinate_jobs: paas_tenant may SELECT"),
    "right on a column": ("GRANT SELECT (args) ON procrastinate_jobs TO paas_tenant", "paas_tenant may SELECT (args)"),
    "right of one tenant": ("GRANT SELECT ON auth_group TO {globex}", "auth_group: {globex} may SELECT"),
    "right of everybody": ("GRANT SELECT ON auth_group TO PUBLIC", "auth_group: PUBLIC may SELECT"),
    "right of the login": ("GRANT SELECT ON usage_quota TO paas_app", "usage_quota: paas_app may SELECT"),
    "writable plans": ("GRANT UPDATE ON tenants_plan TO paas_tenant", "tenants_plan: paas_tenant may UPDATE"),
    "truncate": ("GRANT TRUNCATE ON usage_quota TO paas_tenant", "usage_quota: paas_tenant may TRUNCATE"),
    "references": ("GRANT REFERENCES ON accounts_user TO paas_tenant", "accounts_user: paas_tenant may REFERENCES"),
    "trigger": ("GRANT TRIGGER ON usage_quota TO {acme}", "usage_quota: {acme} may TRIGGER"),
    "sequence": ("GRANT USAGE ON SEQUENCE procrastinate_jobs_id_seq TO paas_tenant", "procrastinate_jobs_id_seq: paas_tenant may USAGE"),
    "owner": ("ALTER TABLE usage_quota OWNER TO postgres", "usage_quota: belongs to postgres"),
    "global unique value": (
        "CREATE UNIQUE INDEX one_name ON accounts_apikey (name)",
        "accounts_apikey: unique index public.one_name does not begin with tenant_id",
    ),
    "counted key": (
        "ALTER TABLE usage_usagerecord DROP COLUMN id, ADD COLUMN id bigserial PRIMARY KEY",
        "usage_usagerecord: its key is counted up",
    ),
    "counted key in a tenant's table": (
        "ALTER TABLE {acme}.chat_runsegment DROP COLUMN id, ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "{acme}.chat_runsegment: its key is counted up",
    ),
    # roles
    "superuser": ("ALTER ROLE paas_app SUPERUSER", "paas_app: is a superuser"),
    "bypass": ("ALTER ROLE paas_owner BYPASSRLS", "paas_owner: bypasses row-level security"),
    "tenant bypasses": ("ALTER ROLE {acme} BYPASSRLS", "{acme}: bypasses row-level security"),
    "createrole": ("ALTER ROLE paas_app CREATEROLE", "paas_app: may create roles"),
    "createdb": ("ALTER ROLE paas_platform CREATEDB", "paas_platform: may create databases"),
    "replication": ("ALTER ROLE paas_app REPLICATION", "paas_app: may replicate"),
    "inheriting login": ("ALTER ROLE paas_app INHERIT", "paas_app: inherits the rights of its roles"),
    "tenant signs in": ("ALTER ROLE {globex} LOGIN", "{globex}: may sign in"),
    "login owns": ("CREATE SCHEMA mine AUTHORIZATION paas_app", "paas_app: owns 1 objects"),
    "settings of a role": ("ALTER ROLE {acme} SET search_path = {globex}", "{acme}: has settings of its own"),
    "inherited membership": (
        "GRANT paas_platform TO paas_app WITH INHERIT TRUE",
        "paas_app: uses the rights of paas_platform without taking it on",
    ),
    "login in a strange role": ("GRANT pg_read_all_data TO paas_app WITH INHERIT FALSE", "paas_app: belongs to pg_read_all_data"),
    "login passes roles on": ("GRANT {acme} TO paas_app WITH ADMIN TRUE", "paas_app: may pass {acme} on"),
    "login acts as the group": ("GRANT paas_tenant TO paas_app WITH SET TRUE, INHERIT FALSE", "may pass paas_tenant on, or act as the group"),
    "tenant may be another": ("GRANT {globex} TO {acme}", "{acme}: may be {globex}"),
    "tenant in the platform": ("GRANT paas_platform TO {acme} WITH SET FALSE", "{acme}: belongs to paas_platform"),
    "platform in a tenant": ("GRANT {acme} TO paas_platform", "paas_platform: belongs to {acme}"),
    "stranger in a tenant": ("CREATE ROLE visitor LOGIN; GRANT {acme} TO visitor", "visitor: belongs to {acme}"),
    # schemas
    "open schema": ("GRANT USAGE ON SCHEMA {acme} TO {globex}", "{acme}: {globex} may USAGE (schema)"),
    "schema open to all": ("GRANT USAGE ON SCHEMA {acme} TO PUBLIC", "{acme}: PUBLIC may USAGE (schema)"),
    "platform in a schema": ("GRANT USAGE ON SCHEMA {acme} TO paas_platform", "{acme}: paas_platform may USAGE"),
    "making in public": ("GRANT CREATE ON SCHEMA public TO paas_tenant", "public: paas_tenant may CREATE"),
    "temporary tables": ("GRANT TEMPORARY ON DATABASE paas TO paas_app", "paas: paas_app may TEMPORARY"),
    "default rights": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE paas_owner IN SCHEMA public GRANT SELECT ON TABLES TO paas_tenant",
        "public: paas_tenant gets on new tables SELECT",
    ),
    "table open to another": ("GRANT SELECT ON {acme}.chat_message TO {globex}", "{acme}.chat_message: {globex} may SELECT"),
    "table open to the group": ("GRANT SELECT ON {acme}.chat_message TO paas_tenant", "{acme}.chat_message: paas_tenant may SELECT"),
    "column open to the platform": ("GRANT SELECT (content) ON {acme}.chat_message TO paas_platform", "paas_platform may SELECT (content)"),
    "tenant truncates": ("GRANT TRUNCATE ON {acme}.chat_message TO {acme}", "{acme}.chat_message: {acme} may TRUNCATE"),
    "tenant owns its table": ("GRANT CREATE ON SCHEMA {acme} TO {acme}; ALTER TABLE {acme}.chat_message OWNER TO {acme}", "{acme}.chat_message: belongs to {acme}"),
    "schema of another owner": ("ALTER SCHEMA {acme} OWNER TO postgres", "{acme}: belongs to postgres"),
    "schema without tenant": (
        "CREATE SCHEMA t_00000000000000000000000000000000 AUTHORIZATION paas_owner",
        "t_00000000000000000000000000000000: belongs to no tenant",
    ),
    "strange schema": ("CREATE SCHEMA other AUTHORIZATION paas_owner", "other: is no schema of ours"),
    "schema gone": ("DROP SCHEMA {acme} CASCADE", "{acme}: the tenant has no schema"),
    "role gone": ("REASSIGN OWNED BY {acme} TO paas_owner; DROP OWNED BY {acme}; DROP ROLE {acme}", "{acme}: the tenant has no role"),
    # drift from the template
    "missing column": ("ALTER TABLE {acme}.chat_message DROP COLUMN reasoning", "{acme}: column chat_message.reasoning is missing"),
    "extra column": ("ALTER TABLE {acme}.chat_message ADD COLUMN x int", "{acme}: column chat_message.x is extra"),
    "other type": ("ALTER TABLE {acme}.chat_message ALTER COLUMN role TYPE text", "column chat_message.role differs"),
    "other default": ("ALTER TABLE {acme}.chat_message ALTER COLUMN role SET DEFAULT 'x'", "column chat_message.role differs"),
    "missing constraint": ("ALTER TABLE {acme}.chat_runsegment DROP CONSTRAINT segment_once", "constraint chat_runsegment.segment_once is missing"),
    "missing index": ("DROP INDEX {acme}.one_run_a_conversation", "index one_run_a_conversation is missing"),
    "other name of an index": ("ALTER INDEX {acme}.run_recent RENAME TO run_newest", "index run_newest is extra"),
    "other function": (
        "CREATE OR REPLACE FUNCTION {acme}.turn_history(p_conversation uuid, p_upto uuid, p_budget bigint, "
        "OUT messages jsonb, OUT tokens bigint) LANGUAGE sql STABLE AS 'SELECT ''[]''::jsonb, 0::bigint'",
        "{acme}: function turn_history(uuid,uuid,bigint) differs",
    ),
    "extra trigger": (
        "CREATE TRIGGER more BEFORE DELETE ON {acme}.chat_message FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        "{acme}: trigger chat_message.more is extra",
    ),
    "extra table": ("CREATE TABLE {acme}.more (); ALTER TABLE {acme}.more OWNER TO paas_owner", "{acme}: relation more is extra"),
    # ways around
    "definer": ("ALTER FUNCTION usage_unbegin_session SECURITY DEFINER", "public.usage_unbegin_session(): runs with its owner's rights"),
    "definer in a schema": ("ALTER FUNCTION {acme}.start_turn SECURITY DEFINER", "{acme}.start_turn(): runs with its owner's rights"),
    "function of another": ("ALTER FUNCTION usage_unbegin_session OWNER TO postgres", "public.usage_unbegin_session(): belongs to postgres"),
    "plain view": ("CREATE VIEW people AS SELECT * FROM accounts_user", "public.people: is a view without security_invoker"),
    "materialized view": ("CREATE MATERIALIZED VIEW people AS SELECT * FROM accounts_user", "public.people: is a materialized view"),
    "open view": (
        "CREATE VIEW people WITH (security_invoker) AS SELECT 1 AS n; GRANT UPDATE ON people TO PUBLIC",
        "public.people: PUBLIC may UPDATE",
    ),
    "other bound_tenant": (
        "CREATE OR REPLACE FUNCTION bound_tenant() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog "
        "AS 'SELECT NULL::uuid'",
        "public.bound_tenant(): is not the function",
    ),
    "bound_tenant with a path": ("ALTER FUNCTION bound_tenant() SET search_path = pg_catalog", "public.bound_tenant(): is not the function"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_gap_is_found(name: str, superuser: Superuser, platform: Platform) -> None:
    change, problem = (
        text.replace("{acme}", platform.acme.schema).replace("{globex}", platform.globex.schema)
        for text in MUTATIONS[name]
    )
    superuser.execute(change.encode())
    found = problems(superuser)
    assert any(problem in line for line in found), found


def test_an_invoker_view_for_reading_is_no_gap(superuser: Superuser) -> None:
    superuser.execute(
        "CREATE VIEW people WITH (security_invoker = true) AS SELECT id FROM accounts_user; "
        "ALTER VIEW people OWNER TO paas_owner; GRANT SELECT ON people TO paas_tenant"
    )
    assert problems(superuser) == []


def test_an_old_server_is_a_gap(superuser: Superuser) -> None:
    found = catalog.read(superuser)
    assert list(isolation.server(found)) == []
    assert "too old" in str(next(isolation.server(replace(found, version=150014))))


def test_of_many_schemas_that_differ_the_first_are_told_in_full(
    superuser: Superuser, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (platform.acme, platform.globex):
        superuser.execute(f"ALTER TABLE {tenant.schema}.chat_message ADD COLUMN x int".encode())
    monkeypatch.setattr(catalog, "DETAILED_SCHEMAS", 1)
    found = catalog.drift(superuser, [platform.acme.schema, platform.globex.schema])
    assert found == [
        (platform.acme.schema, "column chat_message.x is extra"),
        (platform.globex.schema, "differs from the template"),
    ]
