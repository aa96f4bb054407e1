"""The audit log: sealed, verified, found, and given out (A69, A70, T26)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from accounts import audit, audit_chain, audit_export, audit_selectors
from accounts.audit_selectors import Search
from accounts.models import AuditEvent, AuditHead, User
from core import spreadsheets
from core.chain import Verdict
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.services import Services
from tests.site import Site


@pytest.fixture
def superuser(db: Platform, services: Services) -> Iterator[psycopg.Connection[Any]]:
    """Somebody with every right, who has switched the triggers off."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connected:
        connected.execute("SET session_replication_role = replica")
        yield connected


def write(tenant: Any, count: int, **data: Any) -> None:
    with scope.bind(tenant):
        for number in range(count):
            audit.record("thing.done", actor="test", target=f"t{number}", **data)


def verdicts(*, newest: bool = False) -> dict[str, Verdict]:
    with scope.platform():
        return {verdict.name: verdict for verdict, _ in audit_chain.verify_all(newest=newest)}


def check(*, newest: bool = False) -> list[Verdict]:
    with scope.platform():
        return audit_chain.check_all(newest=newest)


# --- the chain ---------------------------------------------------------------------------------------


def test_many_writers_make_one_chain(db: Platform) -> None:
    """Eight at once in one log, some of whom roll back, others in two other logs: no fork, no hole (A69)."""

    def writer(number: int) -> None:
        tenant = db.acme if number < 6 else db.globex
        for turn in range(12):
            with scope.bind(tenant):
                try:
                    with transaction.atomic():
                        audit.record("race.ran", actor=f"writer:{number}", turn=turn)
                        if turn % 5 == 4:
                            raise RuntimeError
                except RuntimeError:
                    continue
            with scope.platform():
                audit.record("race.ran", actor=f"writer:{number}")

    def run(number: int) -> None:
        try:
            writer(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    found = verdicts()
    assert {name: (one.seq, one.problem) for name, one in found.items()} == {
        "platform": (80, ""), "acme": (60, ""), "globex": (20, ""),
    }  # fmt: skip
    with scope.platform():
        for tenant, count in ((db.acme.id, 60), (None, 80)):
            numbers = AuditEvent.objects.filter(tenant_id=tenant).order_by("seq").values_list("seq", flat=True)
            assert list(numbers) == list(range(1, count + 1))


def test_the_digest_is_what_it_says(db: Platform) -> None:
    """Computed here from the row's own values, without the database's function."""
    write(db.acme, 2, text="naïve 名 ' \" \\", none=None, numbers=[1, 2.5])
    with scope.bind(db.acme):
        first, second = AuditEvent.objects.order_by("seq")
        for before, event in ((b"", first), (bytes(first.digest or b""), second)):
            content = [
                str(event.id), str(event.tenant_id), event.actor, event.action, event.target, event.data,
                round(event.at.timestamp() * 1_000_000), event.address, event.seq,
            ]  # fmt: skip
            with scope.platform():
                stored = AuditEvent.objects.values_list(audit_chain.Content(), flat=True).get(pk=event.pk)
            assert json.loads(bytes(stored)) == content
            assert hashlib.sha256(before + bytes(stored)).digest() == bytes(event.digest or b"")


TAMPERING = {
    "edited": ("UPDATE accounts_auditevent SET actor = 'nobody' WHERE tenant_id = %s AND seq = 3", 3),
    "data edited": ("UPDATE accounts_auditevent SET data = '{}' WHERE tenant_id = %s AND seq = 5", 5),
    "moved in time": ("UPDATE accounts_auditevent SET at = at - interval '1 s' WHERE tenant_id = %s AND seq = 1", 1),
    "address removed": ("UPDATE accounts_auditevent SET address = '10.0.0.1' WHERE tenant_id = %s AND seq = 2", 2),
    "removed": ("DELETE FROM accounts_auditevent WHERE tenant_id = %s AND seq = 4", 4),
    "first removed": ("DELETE FROM accounts_auditevent WHERE tenant_id = %s AND seq = 1", 1),
    "exchanged": (
        "UPDATE accounts_auditevent e SET digest = o.digest, data = o.data FROM accounts_auditevent o "
        "WHERE e.tenant_id = %s AND o.tenant_id = e.tenant_id AND e.seq = 2 AND o.seq = 6",
        2,
    ),
    "put in": (
        "INSERT INTO accounts_auditevent (id, tenant_id, actor, action, target, data, at, seq, digest) "
        "VALUES (gen_random_uuid(), %s, 'x', 'x', '', '{}', now(), 7, '')",
        7,
    ),
    "put in beside": (
        "INSERT INTO accounts_auditevent (id, tenant_id, actor, action, target, data, at) "
        "VALUES (gen_random_uuid(), %s, 'x', 'x', '', '{}', now())",
        None,
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_whoever_touches_a_row_is_found_out(db: Platform, superuser: psycopg.Connection[Any], how: str) -> None:
    """A69: with every right and without triggers. The log and the first row that is wrong are named."""
    write(db.acme, 6, note="data")
    write(db.globex, 2)
    statement, number = TAMPERING[how]
    assert not verdicts()["acme"].problem
    superuser.execute(statement.encode(), [db.acme.id])
    found = verdicts()
    assert found["acme"].problem
    assert found["acme"].broken_at == number
    assert not found["globex"].problem
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", json=True, stdout=out)
    said = json.loads(out.getvalue())
    assert (said["broken"], [log["tenant"] for log in said["logs"] if log["problem"]]) == (1, ["acme"])


def test_rows_gone_from_the_end_are_missed(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    """A chain cannot say that it was longer; its head can."""
    write(db.acme, 5)
    assert check() == []
    superuser.execute("DELETE FROM accounts_auditevent WHERE tenant_id = %s AND seq > 3", [db.acme.id])
    for newest in (False, True):
        (broken,) = check(newest=newest)
        assert (broken.name, broken.broken_at) == ("acme", 5 if newest else 4)
    with scope.platform():
        events = AuditEvent.objects.filter(action="audit.broken")
        assert [(event.target, event.tenant_id) for event in events] == [("acme", None)] * 2
        assert AuditHead.objects.get(tenant_id=db.acme.id).seq == 5, "a broken log moves no head"
        check(newest=True)
        assert events.count() == 2, "the same fault is written once"


def test_a_log_that_was_written_anew_is_found_out(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    """Somebody computes every digest again after a change: the chain holds, the head does not."""
    write(db.acme, 4)
    check()
    superuser.execute("UPDATE accounts_auditevent SET actor = 'nobody' WHERE seq = 2 AND tenant_id = %s", [db.acme.id])
    digest = b""
    for seq in range(1, 5):
        row = superuser.execute(
            "UPDATE accounts_auditevent e SET digest = sha256(%s || public.audit_content(e)) "
            "WHERE tenant_id = %s AND seq = %s RETURNING digest",
            [digest, db.acme.id, seq],
        ).fetchone()
        assert row is not None
        digest = row[0]
    assert verdicts()["acme"].broken_at == 4
    superuser.execute("DELETE FROM accounts_audithead")
    assert not verdicts()["acme"].problem, "without a head nobody could know: this is what the head is for"


def test_the_newest_rows_alone(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, from the head on."""
    monkeypatch.setattr(audit_chain, "BATCH", 3)
    write(db.acme, 10)
    assert check() == []
    write(db.acme, 7)
    assert verdicts(newest=True)["acme"].checked == 7
    assert verdicts()["acme"].checked == 17
    out = io.StringIO()
    call_command("verify_audit", tenant="acme", stdout=out)
    assert "#17" in out.getvalue()
    with pytest.raises(CommandError):
        call_command("verify_audit", tenant="nobody")


def test_a_tenant_cannot_write_its_head(db: Platform) -> None:
    write(db.acme, 1)
    check()
    with scope.bind(db.acme):
        head = audit_selectors.head()
        assert head is not None
        assert head.seq == 1
        for change in (lambda: AuditHead.objects.update(seq=0), lambda: AuditHead.objects.all().delete()):
            with pytest.raises(Exception, match="permission denied"), transaction.atomic():
                change()
    with scope.bind(db.globex):
        assert not AuditHead.objects.filter(tenant_id=db.acme.id).exists()


async def test_the_job_verifies(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    from accounts import jobs

    in_thread(lambda: write(db.acme, 3))
    with scope.platform():
        await jobs.verify_newest_audit()
    superuser.execute("UPDATE accounts_auditevent SET target = 'other' WHERE seq = 2 AND tenant_id = %s", [db.acme.id])
    with scope.platform():
        await jobs.verify_audit()
    head = superuser.execute(
        "SELECT seq, problem FROM accounts_audithead WHERE tenant_id = %s", [db.acme.id]
    ).fetchone()
    assert head is not None
    assert head[0] == 3
    assert "#2" in head[1]


# --- writing -----------------------------------------------------------------------------------------


def test_a_row_comes_and_goes_with_its_transaction(db: Platform) -> None:
    """T26"""
    with scope.bind(db.acme):
        with pytest.raises(RuntimeError), transaction.atomic():
            audit.record("thing.done", actor="test")
            raise RuntimeError
        assert not AuditEvent.objects.filter(action="thing.done").exists()
        audit.record("thing.done", actor="test")
        assert AuditEvent.objects.get(action="thing.done").seq == 1


def test_strangers_cannot_fill_the_disk(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of unknown callers are limited in each log; what was left out is counted in the next one."""
    from tenants.ratelimit import Limit

    monkeypatch.setattr(audit, "UNKNOWN_CALLERS", Limit("audit:test", rate=5, period=600))
    with scope.bind(db.acme):
        for number in range(12):
            audit.record("session.refused", actor=audit.NOBODY, email=f"x{number}@acme.test")
            audit.record("thing.done", actor="user:1")
        assert AuditEvent.objects.filter(action="session.refused").count() == 5
        assert AuditEvent.objects.filter(action="thing.done").count() == 12, "people are never left out"
        monkeypatch.setattr(audit, "UNKNOWN_CALLERS", Limit("audit:test-later", rate=5, period=600))
        audit.record("session.refused", actor=audit.NOBODY, email="next@acme.test")
        assert AuditEvent.objects.order_by("-seq")[0].data["left_out"] == 7
        audit.record("session.refused", actor=audit.NOBODY, email="next@acme.test")
        assert "left_out" not in AuditEvent.objects.order_by("-seq")[0].data
    with scope.bind(db.globex):
        audit.record("session.refused", actor=audit.NOBODY, email="x@globex.test")
        assert AuditEvent.objects.count() == 1


# --- reading -----------------------------------------------------------------------------------------


def found(search: Search, tenant: Any) -> list[str]:
    with scope.bind(tenant):
        return [row.event.target for row in audit_selectors.page(search)[0]]


def test_search(db: Platform) -> None:
    with scope.bind(db.acme):
        member = User.objects.get(email="member@acme.test")
        audit.record("member.removed", actor=f"user:{member.pk}", target="a", role="viewer")
        audit.record("member.set", actor="command:apply", target="b", email="100%@acme.test")
        audit.record("memberships", actor="x", target="c", note="O'Hara")
    with scope.bind(db.globex):
        audit.record("member.removed", actor=f"user:{member.pk}", target="theirs")
    now = datetime.now(UTC)
    for search, wanted in (
        (Search(), ["c", "b", "a"]),
        (Search(action="member."), ["b", "a"]),
        (Search(action="member.set"), ["b"]),
        (Search(actor="MEMBER@acme"), ["a"]),
        (Search(actor=f"user:{member.pk}"), ["a"]),
        (Search(actor="command:apply"), ["b"]),
        (Search(actor="rival@globex.test"), []),
        (Search(target="A"), ["a"]),
        (Search(text="viewer"), ["a"]),
        (Search(text="0%@"), ["b"]),
        (Search(text="%"), ["b"]),
        (Search(text="o'hara"), ["c"]),
        (Search(since=now + timedelta(hours=1)), []),
        (Search(since=now - timedelta(hours=1), until=now + timedelta(hours=1)), ["c", "b", "a"]),
        (Search(until=now - timedelta(hours=1)), []),
    ):
        assert found(search, db.acme) == wanted, search
    assert found(Search(), db.globex) == ["theirs"]
    with scope.bind(db.acme):
        rows, _ = audit_selectors.page(Search(actor="member@"))
        assert rows[0].actor_name == "member@acme.test"


async def test_the_api_pages_through_all_of_it(db: Platform, site: Site, api_key: Any) -> None:
    in_thread(lambda: write(db.acme, 7))
    client = site.client("acme", token=api_key("acme", ["admin:audit"]))
    seen: list[int] = []
    cursor: int | None = None
    while True:
        address = "/api/v1/audit?limit=3" + (f"&cursor={cursor}" if cursor else "")
        async with client.get(address) as answer:
            page = await answer.json()
            assert answer.status == 200, page
        seen += [event["seq"] for event in page["events"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(8, 0, -1))
    for wrong in ("cursor=x", "cursor=-1", "limit=0", "limit=1000", "since=yesterday", "text=%00"):
        async with client.get(f"/api/v1/audit?{wrong}") as answer:
            assert answer.status == 400, wrong
    narrow = site.client("globex", token=api_key("globex", ["chat:read", "usage:read"]))
    for path in ("/api/v1/audit", "/api/v1/audit/export?format=csv"):
        async with narrow.get(path) as answer:
            assert answer.status == 403


EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1+1", "\u3000=1", "＝1+1"]


@pytest.mark.parametrize("text", EVIL)
def test_formulas_are_text(text: str) -> None:
    """A70"""
    assert spreadsheets.cell(text) == f"'{text}"


def test_ordinary_cells_are_left_alone() -> None:
    for text in ("", "member@acme.test", "1", "a=b", "{}", '{"a":"=1"}', "名"):
        assert spreadsheets.cell(text) == text


async def test_export(db: Platform, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A70: what people wrote is no formula in a spreadsheet; all rows are there, and only one's own."""
    monkeypatch.setattr(audit_export, "BATCH", 4)

    def prepare() -> None:
        with scope.bind(db.acme):
            for text in EVIL:
                audit.record(text[:20], actor=text, target=text, note=text)
        with scope.bind(db.globex):
            audit.record("theirs", actor="x")

    in_thread(prepare)
    client: aiohttp.ClientSession = await site.signed_in("admin")
    async with client.get("/api/v1/audit/export?format=csv") as answer:
        assert answer.status == 200
        assert 'attachment; filename="audit-acme-' in answer.headers["Content-Disposition"]
        text = (await answer.read()).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [int(row["seq"]) for row in rows] == list(range(len(EVIL) + 2, 0, -1))  # with the sign-in and the export
    for row in rows:
        assert not any(value[:1] in "=+-@\t\r\n" for value in row.values() if value), row
    assert rows[0]["action"] == "audit.exported"
    assert "theirs" not in text
    async with client.get("/api/v1/audit/export?format=jsonl&text=SUM") as answer:
        lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [line["actor"] for line in lines] == ["@SUM(A1)"]
    async with client.get("/api/v1/audit/export?format=exe") as answer:
        assert answer.status == 400


async def test_the_page(db: Platform, site: Site) -> None:
    def prepare() -> None:
        with scope.bind(db.acme):
            audit.record("member.set", actor="command:apply", target="x", email="<b>@acme.test", role="viewer")
            audit.record("odd.action", actor="command:apply", percent="100%(x)s")
            for _ in range(60):
                audit.record("agent.updated", actor="user:1", target="assistant")
        with scope.platform():
            audit_chain.check_all(newest=False)

    in_thread(prepare)
    client = await site.signed_in("admin")
    async with client.get("/settings/audit/") as answer:
        page = await answer.text()
    assert "admin@acme.test signed in" in page
    assert "Verified up to #62" in page
    assert 'data-testid="older"' in page
    async with client.get("/settings/audit/?action=member.&before=nonsense&since=2026-13-45&text=%00") as answer:
        page = await answer.text()
    assert "a member with the role viewer" in page
    assert "&lt;b&gt;@acme.test" in page
    assert "agent assistant" not in page
    async with client.get("/settings/audit/?text=odd&until=9999-12-31") as answer:
        assert "odd.action" in await answer.text()
    member = await site.signed_in("member")
    async with member.get("/settings/audit/") as answer:
        assert answer.status == 403
