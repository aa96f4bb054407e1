"""A new tenant is all there, equal to the template, or not there at all (P5, P6, A77, T22)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants import catalog, isolation, provisioning, scope
from tenants.db import base
from tenants.models import RESERVED_SLUGS, Plan, Tenant
from tests.conftest import Platform
from tests.contracts.sampling import sampled
from tests.services import Services

SCHEMA = f"t_{uuid.UUID(int=7).hex}"


@pytest.fixture(autouse=True)
def _fresh_connection(platform: Platform) -> Iterator[None]:
    connections.close_all()
    yield
    connections.close_all()


@pytest.fixture
def tenant(platform: Platform) -> Iterator[Tenant]:
    """A tenant of this test."""
    made = provisioning.tenant_create(slug="newcomer", name="Newcomer")
    yield made
    erase(made)


def erase(tenant: Tenant) -> None:
    provisioning.drop_schema(tenant.schema_name)
    with scope.platform():
        tenant.delete()


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside is rolled back."""
    with scope.platform(), transaction.atomic():
        yield
        transaction.set_rollback(True)


def named(services: Services, text: str) -> list[str]:
    """What PostgreSQL has under a name: roles, schemas and tenants' rows."""
    query = """
        SELECT 'role ' || rolname FROM pg_roles WHERE rolname ~ %(like)s
        UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname ~ %(like)s
        UNION ALL SELECT 'tenant ' || slug FROM tenants_tenant WHERE slug ~ %(like)s
    """
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as admin:
        return [name for (name,) in admin.execute(query, {"like": text}).fetchall()]


def everything(services: Services) -> list[str]:
    return sorted(named(services, "."))


# --- the clone ---------------------------------------------------------------------------------------


def test_a_new_tenant_has_a_row_a_role_and_a_schema(tenant: Tenant, services: Services) -> None:
    assert tenant.schema_name == scope.schema_of(tenant.id)
    assert scope.SCHEMA_NAME.match(tenant.schema_name)
    assert named(services, f"^({tenant.schema_name}|newcomer)$") == [
        f"role {tenant.schema_name}", f"schema {tenant.schema_name}", "tenant newcomer"
    ]  # fmt: skip
    assert tenant.wrapped_key
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        assert isolation.gaps(login) == []


def test_its_schema_equals_the_template(tenant: Tenant) -> None:
    with scope.owner(), connection.cursor():
        assert catalog.drift(connection.connection, [tenant.schema_name]) == []


EXTRAS = """
    CREATE TABLE t_template.extra (
        id uuid PRIMARY KEY, number int NOT NULL DEFAULT 7 CHECK (number % 2 = 1), word text COLLATE "C",
        double int GENERATED ALWAYS AS (number * 2) STORED, message_id uuid,
        CONSTRAINT extra_word_is_long CHECK (word NOT LIKE '%short%'),
        CONSTRAINT extra_word_once UNIQUE NULLS NOT DISTINCT (word) DEFERRABLE INITIALLY DEFERRED,
        CONSTRAINT extra_message FOREIGN KEY (message_id) REFERENCES t_template.chat_message (id) ON DELETE CASCADE,
        CONSTRAINT extra_no_overlap EXCLUDE USING btree (number WITH =)
    );
    CREATE UNIQUE INDEX extra_partial ON t_template.extra (lower(word), number DESC NULLS LAST)
        INCLUDE (double) WHERE number > 3;
    CREATE INDEX extra_gin ON t_template.extra USING gin (to_tsvector('simple', word));
    CREATE FUNCTION t_template.extra_checked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE NOTICE '% of %%: %', TG_TABLE_NAME, format('%I', NEW.word);
        PERFORM 1 FROM t_template.extra;
        RETURN NEW;
    END
    $$;
    CREATE FUNCTION t_template.extra_checked(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || ''%s''';
    CREATE TRIGGER extra_trigger BEFORE INSERT OR UPDATE OF word ON t_template.extra
        FOR EACH ROW WHEN (NEW.number > 5) EXECUTE FUNCTION t_template.extra_checked();
    CREATE TRIGGER extra_append BEFORE DELETE ON t_template.extra
        FOR EACH ROW EXECUTE FUNCTION public.refuse_change();
    COMMENT ON COLUMN t_template.extra.word IS 'a 100 % word';
"""


def test_whatever_migrations_may_put_into_the_template_is_cloned_whole(platform: Platform) -> None:
    """Functions with percent signs, triggers, defaults, generated columns, every kind of key and index, by name."""
    with undone(), scope.owner(), connection.cursor() as cursor:
        cursor.execute(EXTRAS)
        provisioning.create_schema(SCHEMA)
        raw = connection.connection
        assert catalog.drift(raw, [SCHEMA]) == []
        cursor.execute(
            "SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid "
            "WHERE c.relnamespace = %s::regnamespace AND d.refclassid = 'pg_class'::regclass AND EXISTS "
            "(SELECT 1 FROM pg_class r WHERE r.oid = d.refobjid AND r.relnamespace = 't_template'::regnamespace)",
            [SCHEMA],
        )
        assert cursor.fetchone()[0] == 0, "nothing in the clone hangs on the template"
        cursor.execute("SELECT pg_get_functiondef(%s::regprocedure)", [f"{SCHEMA}.extra_checked()"])
        body = cursor.fetchone()[0]
        assert "'% of %%: %'" in body
        assert "t_template" not in body
        cursor.execute(f"INSERT INTO {SCHEMA}.extra (id, number, word) VALUES (gen_random_uuid(), 9, 'x')")


def test_a_later_migration_finds_what_it_asks_for(platform: Platform) -> None:
    """Django names keys and indexes, and counts its own migrations; a clone must agree with it."""
    with undone(), scope.owner(), connection.cursor() as cursor:
        provisioning.create_schema(SCHEMA)
        cursor.execute(f"DROP INDEX {SCHEMA}.run_recent")
        cursor.execute(f"ALTER TABLE {SCHEMA}.chat_runsegment DROP CONSTRAINT segment_once")
        cursor.execute(f"DROP INDEX {SCHEMA}.one_run_a_conversation")
        cursor.execute(
            f"INSERT INTO {SCHEMA}.django_migrations (app, name, applied) VALUES ('chat', '0099', now()) RETURNING id"
        )
        new = cursor.fetchone()[0]
        cursor.execute("SELECT max(id) FROM t_template.django_migrations")
        assert new == cursor.fetchone()[0] + 1


def test_without_a_template_there_is_a_sentence(platform: Platform) -> None:
    with undone(), scope.owner(), connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA t_template CASCADE; CREATE SCHEMA t_template")
        with pytest.raises(RuntimeError, match="migrate_all"):
            provisioning.create_schema(SCHEMA)


def test_its_role_reaches_its_own_schema_and_no_other(tenant: Tenant, platform: Platform) -> None:
    from chat.models import Conversation

    with scope.bind(tenant.ref()):
        assert Conversation.objects.count() == 0
        with pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {platform.acme.schema}.chat_conversation")


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", sorted(RESERVED_SLUGS))
def test_reserved_slugs(slug: str) -> None:
    with pytest.raises(ValidationError, match="reserved"):
        provisioning.tenant_create(slug=slug, name="x")


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "A",
        "acme corp",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "xn--a",
        "a" * 41,
        "é",
        "a'",
        'a"',
        "a;drop",
        "a\n",
        "../a",
        "t_template",
    ],
)
def test_other_slugs_are_refused_by_name(slug: str, services: Services) -> None:
    before = everything(services)
    with pytest.raises(ValidationError) as caught:
        provisioning.tenant_create(slug=slug, name="x")
    assert set(caught.value.message_dict) == {"slug"}
    assert everything(services) == before


def test_a_taken_slug_and_an_unknown_plan(services: Services) -> None:
    before = everything(services)
    with pytest.raises(ValidationError, match="slug"):
        provisioning.tenant_create(slug="acme", name="x")
    with pytest.raises(ValidationError, match="no plan"):
        provisioning.tenant_create(slug="fine", name="x", plan="gold")
    assert everything(services) == before


@given(slug=st.text(max_size=50))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_becomes_a_slug_that_is_not_a_dns_label(slug: str) -> None:
    tenant = Tenant(slug=slug, name="x", plan_id="free")
    try:
        tenant.clean_fields(exclude=["schema_name", "wrapped_key", "plan"])
    except ValidationError:
        return
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug
    assert 1 <= len(slug) <= 40


HOSTILE = [
    "'; DROP SCHEMA public CASCADE; --",
    't_template"."x',
    "%s %(x)s {} {0}",
    "\\'; SELECT 1; --",
    "名前 🙂",
    "$$",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_a_value(name: str, platform: Platform) -> None:
    """P5: nothing that a person chose reaches SQL as SQL."""
    with undone():
        tenant = provisioning.tenant_create(slug="hostile", name=name)
        with scope.platform():
            found = Tenant.objects.get(pk=tenant.pk)
        assert found.name == name
        assert scope.SCHEMA_NAME.match(found.schema_name)
        with scope.owner(), connection.cursor():
            assert catalog.drift(connection.connection, [found.schema_name]) == []


# --- all or nothing ----------------------------------------------------------------------------------


class Killed(Exception):
    """Somebody pulled the plug."""


@contextmanager
def at_statement(number: int, do: Callable[[Any], None]) -> Iterator[list[int]]:
    """Do something before the given statement; yields the count of statements so far."""
    count = [0]
    original = base.BoundCursor._execute

    def execute(self: Any, sql: Any, params: Any, *ignored: Any) -> Any:
        count[0] += 1
        if count[0] == number:
            do(self)
        return original(self, sql, params, *ignored)

    with patch.object(base.BoundCursor, "_execute", execute):
        yield count


def raise_(cursor: Any) -> None:
    raise Killed


def statements_of_a_creation() -> int:
    with undone(), at_statement(-1, raise_) as count:
        provisioning.tenant_create(slug="counted", name="x")
    return count[0]


@pytest.mark.exhaustive
def test_an_error_at_any_statement_leaves_nothing(services: Services) -> None:
    before, last = everything(services), statements_of_a_creation()
    assert last > 15
    for number in range(1, last - 1):
        with at_statement(number, raise_), pytest.raises(Killed):
            provisioning.tenant_create(slug="killed", name="x")
    assert everything(services) == before


@pytest.mark.parametrize("part", sampled([0.5, 1.0], lambda part: part == 0.5))
def test_a_backend_that_is_killed_leaves_nothing_and_a_retry_works(part: float, services: Services) -> None:
    before = everything(services)
    number = max(2, int((statements_of_a_creation() - 2) * part))

    def kill(cursor: Any) -> None:
        with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])

    with at_statement(number, kill), pytest.raises(DatabaseError):
        provisioning.tenant_create(slug="killed", name="x")
    connections.close_all()
    assert everything(services) == before
    erase(provisioning.tenant_create(slug="killed", name="x"))
    assert everything(services) == before


@pytest.mark.exhaustive
def test_several_at_once(services: Services) -> None:
    before = everything(services)
    made: list[Tenant] = []
    errors: list[BaseException] = []

    def create(number: int) -> None:
        try:
            made.append(provisioning.tenant_create(slug=f"at-once-{number}", name="x"))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with scope.owner(), connection.cursor():
        assert catalog.drift(connection.connection, [tenant.schema_name for tenant in made]) == []
    for tenant in made:
        erase(tenant)
    assert everything(services) == before


def test_the_same_slug_at_once_is_one_tenant(services: Services) -> None:
    before, outcomes = everything(services), []

    def create() -> None:
        try:
            outcomes.append(provisioning.tenant_create(slug="twice", name="x"))
        except (ValidationError, DatabaseError) as error:
            outcomes.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [one for one in outcomes if isinstance(one, Tenant)]
    assert len(made) == 1, outcomes
    erase(made[0])
    assert everything(services) == before


# --- the end -----------------------------------------------------------------------------------------


def test_a_dropped_schema_leaves_no_role_behind(services: Services) -> None:
    before = everything(services)
    tenant = provisioning.tenant_create(slug="leaving", name="x")
    erase(tenant)
    assert everything(services) == before
    provisioning.drop_schema(tenant.schema_name)  # once more is no error


@pytest.mark.parametrize("name", ["public", "t_template", "t_1", 't_x"; DROP SCHEMA public; --', ""])
def test_no_other_schema_can_be_dropped(name: str) -> None:
    with pytest.raises(ValueError, match="Not a tenant's schema"):
        provisioning.drop_schema(name)


def test_a_tenant_that_goes_while_it_is_used_shows_nothing_of_public(services: Services) -> None:
    """P6: a search path whose first schema is gone goes on with `public`; a role that is gone does not."""
    from accounts.models import User
    from chat.models import Conversation

    tenant = provisioning.tenant_create(slug="going", name="x")
    ref = tenant.ref()
    with scope.bind(ref):
        assert Conversation.objects.count() == 0
    erase(tenant)
    for read in (User.objects.count, Conversation.objects.count):
        with scope.bind(ref), pytest.raises(DatabaseError):
            read()
        connection.close()


def test_changes_of_a_tenant(tenant: Tenant) -> None:
    with scope.platform():
        provisioning.tenant_update(tenant=tenant, name="Other", plan=Plan.objects.get(slug="pro"))
        assert Tenant.objects.get(pk=tenant.pk).plan_id == "pro"
        with pytest.raises(ValidationError):
            provisioning.tenant_update(tenant=tenant, name="x" * 200, plan=tenant.plan)
        assert provisioning.tenant_set_status(tenant=tenant, status="suspended") is True
        assert provisioning.tenant_set_status(tenant=tenant, status="suspended") is False
        assert Tenant.objects.get(pk=tenant.pk).status == "suspended"
