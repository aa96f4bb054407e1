"""The console's front page and a tenant's: what they say, to whom, with how few queries (A66, A68)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.utils import ProgrammingError

from accounts.models import AuditHead, User
from core import clock
from paas import env
from paas.console import standing, tenant_page
from tenants import scope
from tenants.models import Tenant
from tests.conftest import PASSWORD, Platform, in_thread
from tests.console import EMAIL, Console, console, words_of  # noqa: F401 - the fixture
from tests.portal.test_every_page import counted, english_in  # noqa: F401 - the fixture
from tests.usage.entries import entry, free
from usage import everybody, summaries
from usage.models import Reservation

MOST_QUERIES = 15
# Names and commands, the same in every language.
KNOWN = {"manage.py backup DIRECTORY", "manage.py", "Agent PaaS", "operator@platform.test", "Traceback"}
SECRET = "a title that nobody else may read"


def furnished(db: Platform) -> None:
    """Two tenants that used something, runs of all outcomes, a failed job, a conversation, and a broken audit log."""
    from agents.models import Agent
    from chat.models import Conversation

    entry(db.acme, **free("1.25"))
    entry(db.acme, at=clock.now() - timedelta(days=3), **free("0.5"))
    entry(db.globex, at=clock.now() - timedelta(days=40), **free("1000"))
    entry(db.globex, at=clock.now() - timedelta(days=2), **free(None))
    with scope.bind(db.acme):
        person = User.objects.get(email="owner@acme.test").pk
        agent = Agent.objects.get(slug="assistant")
        Conversation.objects.create(agent=agent, user_id=person, title=SECRET)
    with scope.platform():
        for outcome in ("completed", "failed", "cancelled", "completed"):
            Reservation.objects.create(
                run_id=uuid.uuid4(), tenant_id=db.acme.id, amount=1, state="settled", outcome=outcome, host="x",
                lease_until=clock.now(), settled_at=clock.now(),
            )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('default', 'mail.send', 'failed')"
            )
        AuditHead.objects.create(tenant_id=db.globex.id, problem="row 3 is not the one that was written")


async def test_what_the_front_page_says(site: Any, db: Platform, counted: list[str]) -> None:
    def prepare() -> None:
        with scope.platform():
            User.objects.create_superuser(EMAIL, PASSWORD)
            summaries.fold_all()  # some days are added up, today is not
        furnished(db)

    in_thread(prepare)
    client = await site.signed_in_on_platform(EMAIL)
    fewest, page = MOST_QUERIES + 1, ""
    for _again in range(2):  # what is remembered for some seconds may just have been forgotten
        counted.clear()
        async with client.get("/admin/") as answer:
            assert answer.status == 200
            page = await answer.text()
        fewest = min(fewest, len(counted))
    assert fewest <= MOST_QUERIES, counted
    words = words_of(page)
    for said in (
        "1.75 USD", "Runs 4 1 failed, 1 stopped", "2 active", "Jobs that failed : mail.send (1)", "Audit log : 1 broken",
        "manage.py verify_audit", "No worker has given a sign for a minute.", "PostgreSQL answers", "Redis answers",
    ):  # fmt: skip
        assert said in words.replace("failed: ", "failed : ").replace("log: ", "log : "), said
    assert "1000 USD" not in words, "it is of before these days"
    assert words.index(" Acme 2 ") < words.index(" Globex 1 "), "what cost most comes first"
    assert SECRET not in page
    async with client.get("/admin/", headers={"Accept-Language": "zh-CN"}) as answer:
        chinese = await answer.text()
    assert "最近 24 小时" in chinese
    assert english_in(chinese[chinese.find('<div id="main"') :], KNOWN) == []


def test_everybody_is_counted_once(db: Platform) -> None:
    """Days that are added up and those that are not yet, of tenants that have a mark and of those that have none."""
    entry(db.acme, at=clock.now() - timedelta(days=3), **free("0.5"))
    with scope.platform():
        summaries.fold_all()
    entry(db.acme, **free("1"))
    entry(db.globex, at=clock.now() - timedelta(days=2), **free("4"))
    with scope.platform():
        found = everybody.used_by_everybody(30, 1)
        assert (found.total.runs, str(found.total.amounts["USD"].normalize())) == (3, "5.5")
        assert [(one.tenant_id, one.used.runs) for one in found.top] == [(db.globex.id, 1)], "the first only"
        assert (found.recent.runs, len(found.days), len(found.by_day)) == (1, 30, 3)
        assert everybody.used_by_everybody(3, 9).total.runs == 2
    with scope.bind(db.acme):
        assert everybody.used_by_everybody(30, 9).total.runs == 2, "a tenant's role sees its own rows only"


@pytest.mark.parametrize("kind", ["queue", "runs", "tenants", "schemas", "schedules"])
def test_what_is_wrong_says_what_to_do(db: Platform, kind: str) -> None:
    from tenants.models import Alarm

    long_ago = clock.now() - timedelta(hours=1)
    with scope.platform():

        def look() -> standing.Part:
            found = (standing._queue(), standing._runs(), *standing._tenants())
            return next(part for part in found if part.name == kind)

        assert (look().level, look().mend) == ("ok", "")
        if kind == "queue":
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'x')")
                cursor.execute("UPDATE procrastinate_events SET at = %s", [long_ago])
        elif kind == "runs":
            Reservation.objects.create(
                run_id=uuid.uuid4(), tenant_id=db.acme.id, amount=1, host="gone", lease_until=long_ago
            )
        elif kind == "tenants":
            Tenant.objects.filter(pk=db.acme.id).update(step="schema", failure="no room")
        elif kind == "schemas":
            Tenant.objects.filter(pk=db.acme.id).update(schema_missing=["chat.0099"], schema_failure="x")
        else:
            Alarm.objects.create(tenant_id=db.acme.id, at=long_ago)
        try:
            found = look()
        finally:
            Alarm.objects.all().delete()
    assert (found.level in ("warning", "error"), bool(found.mend)) == (True, True)


def test_staff_without_rights_sees_none_of_it(db: Platform) -> None:
    with scope.platform():
        staff = Console(superuser=False)
        page = staff.get("/admin/").content.decode()
    assert 'data-testid="dashboard"' not in page
    assert "USD" not in page


def test_a_tenants_page(db: Platform, console: Console) -> None:
    furnished(db)
    with scope.platform():
        words = console.said(f"/admin/tenants/tenant/{db.acme.id}/change")
        for said in (
            "Plan Pro",
            "1.75 USD",
            "Members 4",
            "Documents: 0",
            "4 / 100",
            "Invoices",
            "Act as owner@acme.test",
        ):
            assert said in words, said
        page = console.get(f"/admin/tenants/tenant/{db.acme.id}/change").content.decode()
        assert page.count("<figure") == 3
        assert SECRET not in page
        assert ("/suspend" in page, "/resume" in page) == (True, False), "only what makes sense is offered"
        made = Tenant.objects.create(slug="not-built", name="Not built", status="creating", step="schema")
        assert "Plan Free" in console.said(f"/admin/tenants/tenant/{made.pk}/change")
        Tenant.objects.filter(pk=made.pk).delete()


def test_a_tenants_page_without_its_tables(db: Platform, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that is behind is no reason to show nothing."""

    def fails() -> dict[str, int]:
        raise ProgrammingError("column does not exist")

    monkeypatch.setattr(tenant_page.counts, "totals", fails)
    with scope.platform():
        words = console.said(f"/admin/tenants/tenant/{db.acme.id}/change")
    assert "cannot be read by this release" in words
    assert "Plan Pro" in words


def test_an_address_of_traces_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("https://traces.test/?run={run_id}", ""):
        monkeypatch.setenv("TRACES_OF_A_TEST", value)
        assert env.address_with("TRACES_OF_A_TEST", "{run_id}") == value
    for value in ("https://traces.test/", "javascript:alert('{run_id}')", "{run_id}"):
        monkeypatch.setenv("TRACES_OF_A_TEST", value)
        with pytest.raises(ImproperlyConfigured, match="TRACES_OF_A_TEST"):
            env.address_with("TRACES_OF_A_TEST", "{run_id}")
