"""What the catalogues promise, tried on the real database as each tenant's role (A8, P13), and the command."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from paas.management.commands.prove_isolation import Command
from tenants import catalog, probes
from tests.conftest import Platform
from tests.contracts.sampling import sampled
from tests.services import Services

Superuser = psycopg.Connection[Any]


def attack(connection: Superuser) -> probes.Attempts:
    return probes.attack(connection, catalog.read(connection))


def test_nothing_that_is_tried_succeeds(services: Services, platform: Platform) -> None:
    with psycopg.connect(services.environment["DATABASE_URL"], autocommit=True) as login:
        found, made = probes.prove(login)
    assert made.gaps == []
    assert made.tenants == len(found.tenants) >= 2
    assert made.tried > 250 * made.tenants
    assert made.hidden > 0, "without rows of others there is nothing that could have been seen"


@pytest.mark.exhaustive
def test_attempts_leave_nothing_behind(superuser: Superuser) -> None:
    before = superuser.execute("SELECT current_user, current_setting('search_path')").fetchone()
    counts = "SELECT (SELECT count(*) FROM tenants_tenant), (SELECT count(*) FROM accounts_membership)"
    rows = superuser.execute(counts).fetchone()
    attack(superuser)
    assert superuser.execute("SELECT current_user, current_setting('search_path')").fetchone() == before
    assert superuser.execute(counts).fetchone() == rows


# What is done to the database, and what one of the attempts must then say. One attack on all openings of a group.
OPENINGS: dict[str, list[tuple[str, str]]] = {
    "row security off": [
        (
            "ALTER TABLE accounts_apikey DISABLE ROW LEVEL SECURITY",
            "public.accounts_apikey: {globex} reads rows of others",
        ),
        ("", "public.accounts_apikey: {globex} changes name of rows of others"),
        ("", "public.accounts_apikey: {acme} copies rows of others out"),
        ("ALTER TABLE usage_quota DISABLE ROW LEVEL SECURITY", "usage_quota: {acme} inserts rows for others (23502)"),
        ("", "public.usage_quota: {acme} upserts rows for others (23502)"),
        ("", "public.usage_quota: {globex} copies rows of others in (23502)"),
        ("ALTER TABLE accounts_session DISABLE ROW LEVEL SECURITY", "accounts_session: {acme} deletes rows of others"),
    ],
    "policies too wide": [
        (
            "ALTER POLICY tenant_rows ON accounts_auditevent WITH CHECK (true)",
            "auditevent: {acme} inserts rows for others",
        ),
        ("ALTER POLICY tenant_rows ON accounts_apikey WITH CHECK (true)", "accounts_apikey: {acme} gives rows away"),
        (
            "ALTER POLICY tenant_rows ON accounts_session USING (true)",
            "accounts_session: {acme} deletes rows of others",
        ),
        (
            "ALTER POLICY tenant_rows ON accounts_user USING (true) WITH CHECK (true)",
            "public.accounts_user: {globex} changes password of rows of others",
        ),
    ],
    "another's id": [
        (
            "CREATE OR REPLACE FUNCTION bound_tenant() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog "
            "AS 'SELECT ''{acme_id}''::uuid'",
            "public.accounts_membership: {globex} reads rows of others",
        ),
    ],
    "rights": [
        ("GRANT TRUNCATE ON usage_quota TO paas_tenant", "public.usage_quota: {acme} may truncate it"),
        ("GRANT SELECT ON auth_group TO paas_tenant", "public.auth_group: {acme} may read it (succeeded)"),
        ("", "public.auth_group: {acme} may copy it out (succeeded)"),
        ("GRANT INSERT ON django_admin_log TO PUBLIC", "public.django_admin_log: {acme} may write it"),
        ("GRANT UPDATE ON tenants_plan TO paas_tenant", "public.tenants_plan: {acme} may change it"),
        ("GRANT USAGE ON SCHEMA {globex} TO {acme}", ""),
        ("GRANT SELECT ON {globex}.chat_message TO PUBLIC", "{globex}.chat_message: {acme} may read it (succeeded)"),
        ("", "{globex}.chat_message: {acme} finds it by its search path (succeeded)"),
        ("GRANT CREATE ON SCHEMA public TO paas_tenant", "{acme}: may CREATE TABLE public.probe ()"),
        ("GRANT TEMPORARY ON DATABASE paas TO PUBLIC", "{acme}: may CREATE TEMPORARY TABLE"),
    ],
    "roles": [
        ("GRANT {globex} TO {acme}", "{globex}.llm_provideraccount: {acme} may read it (succeeded)"),
        ("ALTER ROLE {globex} SUPERUSER", "{acme}.chat_run: {globex} may truncate it (succeeded)"),
    ],
}


@pytest.fixture
def rows(superuser: Superuser, platform: Platform) -> Superuser:
    """A row of each tenant in the tables that are otherwise empty here."""
    for tenant in (platform.acme, platform.globex):
        key = {"id": uuid.uuid4(), "tenant": tenant.id, "session": uuid.uuid4().hex}
        superuser.execute(
            "INSERT INTO accounts_apikey (id, tenant_id, name, digest, hint, scopes, allowed_agents, allowed_models, "
            "allowed_networks, created_at) "
            "VALUES (%(id)s, %(tenant)s, 'k', '\\x00', 'ak_', '[]', '[]', '[]', '[]', now())",
            key,
        )
        superuser.execute(
            "INSERT INTO accounts_session (session_key, session_data, expire_date, tenant_id, public_id, created_at, "
            "last_seen_at, user_agent) VALUES (%(session)s, '', now(), %(tenant)s, %(id)s, now(), now(), '')",
            key,
        )
    superuser.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return superuser


@pytest.mark.parametrize("group", sampled(OPENINGS, lambda group: group == "roles"))
def test_openings_are_found(group: str, rows: Superuser, platform: Platform) -> None:
    def named(text: str) -> str:
        names = {"acme": platform.acme.schema, "globex": platform.globex.schema, "acme_id": platform.acme.id}
        return text.format(**names)

    for change, _ in OPENINGS[group]:
        if change:
            rows.execute(named(change).encode())
    found = [str(gap) for gap in attack(rows).gaps]
    missed = [named(problem) for _, problem in OPENINGS[group] if not any(named(problem) in one for one in found)]
    assert missed == [], found


def test_the_login_without_a_role_is_nobody(services: Services, superuser: Superuser, platform: Platform) -> None:
    superuser.execute("GRANT SELECT ON usage_quota TO paas_app; GRANT USAGE ON SCHEMA public TO paas_app")
    superuser.commit()
    try:
        with psycopg.connect(services.environment["DATABASE_URL"], autocommit=True) as login:
            found = [str(gap) for gap in attack(login).gaps]
    finally:
        superuser.execute("REVOKE ALL ON usage_quota FROM paas_app; REVOKE ALL ON SCHEMA public FROM paas_app")
        superuser.commit()
    assert found == ["public.usage_quota: paas_app reads it without a role (succeeded)"]


class TransactionPooler:
    """Two servers behind one connection, in turns: what a pooler in transaction mode is to its client."""

    autocommit = True

    def __init__(self, *servers: Superuser) -> None:
        self._servers = servers
        self._statements = 0

    def execute(self, *statement: Any) -> Any:
        self._statements += 1
        return self._servers[self._statements % len(self._servers)].execute(*statement)


def test_a_pooler_between_is_found(services: Services, platform: Platform) -> None:
    url = services.environment["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True) as two:
        assert probes.session_survives(one) == []
        for pooler in (TransactionPooler(one, two), TransactionPooler(one, one, two)):
            found = probes.session_survives(pooler)  # type: ignore[arg-type]
            assert [gap.subject for gap in found] == ["connection"]


# --- the command -------------------------------------------------------------------------------------


@pytest.fixture
def open_table(services: Services, platform: Platform) -> Iterator[None]:
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connection:
        connection.execute("GRANT SELECT ON auth_group TO paas_tenant")
        yield
        connection.execute("REVOKE SELECT ON auth_group FROM paas_tenant")


@pytest.mark.exhaustive
def test_the_command_prints_each_table_and_ends_well(platform: Platform) -> None:
    out = io.StringIO()
    call_command("prove_isolation", stdout=out)
    text = out.getvalue()
    assert "public.usage_quota " in text
    assert platform.acme.schema in text
    assert "Isolation holds" in text


@pytest.mark.exhaustive
def test_the_command_as_json(platform: Platform) -> None:
    out = io.StringIO()
    call_command("prove_isolation", "--json", stdout=out)
    proof = json.loads(out.getvalue())
    assert proof["gaps"] == []
    assert proof["attempts"]["tried"] > 0
    guards = {guard["table"]: guard["how"] for guard in proof["guards"]}
    assert guards["public.accounts_session"] == "row-level security"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("open_table")
def test_the_command_fails_and_names_what_is_open() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="gaps in the isolation"):
        call_command("prove_isolation", stdout=out)
    assert "OPEN  public.auth_group: paas_tenant may SELECT" in out.getvalue()
    with pytest.raises(CommandError):
        call_command("prove_isolation", "--json", stdout=(out := io.StringIO()))
    assert json.loads(out.getvalue())["gaps"][0]["subject"] == "public.auth_group"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("open_table")
def test_its_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "prove_isolation"])
    assert ended.value.code == 1
    assert "gaps in the isolation" in capsys.readouterr().err
