"""While a release is rolled out, code and schema differ by one: both stay right, or do not serve (A74)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from paas import health
from tenants.migrate import migrate_all
from tests.chat.doors import OpenAIDoor, SocketDoor, SseDoor
from tests.conftest import in_thread

ADDITIVE = """
ALTER TABLE chat_message ADD COLUMN later text NOT NULL DEFAULT '';
ALTER TABLE chat_run ADD COLUMN later jsonb;
ALTER TABLE public.usage_reservation ADD COLUMN later int NOT NULL DEFAULT 0;
CREATE TABLE later_note (id uuid PRIMARY KEY);
INSERT INTO public.django_migrations (app, name, applied) VALUES ('chat', '9999_later', now())
"""
BACK = """
ALTER TABLE chat_message DROP COLUMN later;
ALTER TABLE chat_run DROP COLUMN later;
ALTER TABLE public.usage_reservation DROP COLUMN later;
DROP TABLE later_note;
DELETE FROM public.django_migrations WHERE name = '9999_later'
"""


@pytest.fixture
def newer_schema(ledger: Any) -> Iterator[None]:
    """The schema that the next release may have made already."""
    ledger.rows(ADDITIVE)
    yield
    ledger.rows(BACK)


async def test_this_code_on_the_next_schema(newer_schema: None, site: Any, api_key: Any, ledger: Any) -> None:
    token = api_key()
    for door in (SocketDoor(site, token), SseDoor(site, token), OpenAIDoor(site, token)):
        assert (await door.whole("assistant")).end == "completed"
    async with site.client("acme", token=token).get("/api/v1/conversations") as answer:
        assert answer.status == 200
        assert len((await answer.json())["conversations"]) == 2
    assert (await health.readiness())["migrations"] == "ok"
    assert ledger.value("SELECT count(*)::int FROM usage_usagerecord") == 3
    assert not ledger.left_behind()


async def test_this_code_while_tenants_are_migrated(site: Any, ledger: Any) -> None:
    """A76: the shared tables are done, not all tenants: nothing is sent to it, and it is told when they are."""
    noted = ledger.value("SELECT obj_description('t_template'::regnamespace, 'pg_namespace')")
    before = " ".join(name for name in noted.split() if name != "chat.0015_trace_counts")
    ledger.rows(f"COMMENT ON SCHEMA t_template IS '{before}'")
    try:
        assert (await health.readiness())["migrations"].startswith("1 to do")
        assert (await health.readiness())["process"] == "ok"
    finally:
        in_thread(lambda: migrate_all(lambda line: None))
    assert set(ledger.value("SELECT obj_description('t_template'::regnamespace, 'pg_namespace')").split()) == set(
        noted.split()
    )
    assert (await health.readiness())["migrations"] == "ok"


async def test_this_code_on_the_schema_before(site: Any, ledger: Any) -> None:
    """It says that it is not ready, so that nothing is sent to it before the migration."""
    newest = "SELECT app, name, applied FROM public.django_migrations WHERE app = 'usage' ORDER BY id DESC LIMIT 1"
    row = ledger.one(newest)
    ledger.rows("DELETE FROM public.django_migrations WHERE app = %s AND name = %s", row["app"], row["name"])
    try:
        async with site.client().get("/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["checks"]["migrations"].startswith("1 to do")
        async with site.client().get("/healthz") as answer:
            assert answer.status == 200
    finally:
        ledger.rows("INSERT INTO public.django_migrations (app, name, applied) VALUES (%s, %s, %s)", *row.values())
