"""The ledger's chain: sealed in order by a job, whole, and whoever touches it is found out (P45, design of money)."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from accounts.models import AuditEvent
from tenants import scope
from tests.conftest import Platform
from tests.services import Services
from tests.usage.entries import entry
from usage import chain
from usage.models import LedgerHead, Seal, UsageRecord


@pytest.fixture
def superuser(db: Platform, services: Services) -> Iterator[psycopg.Connection[Any]]:
    """Somebody with every right, who has switched the triggers off."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connected:
        connected.execute("SET session_replication_role = replica")
        yield connected


def write(tenant: Any, count: int) -> list[UsageRecord]:
    return [entry(tenant, agent="") for _ in range(count)]


def seal(*, every: bool = False) -> int:
    with scope.platform():
        return chain.seal_all(every=every)


def check(*, newest: bool = False) -> list[chain.Verdict]:
    with scope.platform():
        return chain.check_all(newest=newest)


def verdicts(*, newest: bool = False) -> dict[str, chain.Verdict]:
    with scope.platform():
        return {verdict.name: verdict for verdict, _ in chain.verify_all(newest=newest)}


def test_entries_are_sealed_in_order(db: Platform) -> None:
    entries = write(db.acme, 5)
    theirs = write(db.globex, 2)
    assert seal() == 7
    assert seal() == 0
    with scope.bind(db.acme):
        assert list(Seal.objects.order_by("seq").values_list("seq", "record_id")) == [
            (number, one.pk) for number, one in enumerate(entries, 1)
        ]
    with scope.bind(db.globex):
        assert [one.record_id for one in Seal.objects.order_by("seq")] == [one.pk for one in theirs]
    found = verdicts()
    assert {name: (one.seq, one.problem) for name, one in found.items()} == {"acme": (5, ""), "globex": (2, "")}


def test_the_digest_is_what_it_says(db: Platform) -> None:
    """Computed here from the entries' own values, without the database's function."""
    write(db.acme, 2)
    seal()
    with scope.platform():
        before = b""
        for one in Seal.objects.order_by("seq"):
            found = UsageRecord.objects.get(pk=one.record_id)
            content = UsageRecord.objects.values_list(chain.Content(), flat=True).get(pk=one.record_id)
            assert json.loads(bytes(content)) == [
                str(found.id), str(found.tenant_id), str(found.run_id), 1, "chat", None, None, None, "", "p", "m", 1000,
                10, 0, 0, 0, False, "2.000000000", "3.000000000", None, None, None, "USD", "0.002030000000", None, "", "",
                round(found.at.timestamp() * 1_000_000),
            ]  # fmt: skip
            before = hashlib.sha256(before + one.seq.to_bytes(8, "big") + bytes(content)).digest()
            assert before == bytes(one.digest)


def test_every_field_of_an_entry_is_sealed(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    """A new column that no seal covers fails here."""
    values = {
        "UUIDField": "gen_random_uuid()", "IntegerField": "7", "BigIntegerField": "7", "CharField": "'x'",
        "BooleanField": "NOT counted", "DecimalField": "7", "DateTimeField": "at - interval '1 s'",
    }  # fmt: skip
    one = entry(db.acme)
    seal()
    for field in UsageRecord._meta.concrete_fields:
        if field.name in ("id", "tenant"):
            continue
        value = values[field.get_internal_type()]
        with superuser.transaction(force_rollback=True):
            superuser.execute("ALTER TABLE usage_usagerecord DROP CONSTRAINT usage_signs")
            superuser.execute(f"UPDATE usage_usagerecord SET {field.column} = {value} WHERE id = %s".encode(), [one.pk])
            row = superuser.execute(
                "SELECT sha256(int8send(1) || usage_content(r)) = s.digest FROM usage_usagerecord r "
                "JOIN usage_seal s ON s.record_id = r.id WHERE r.id = %s", [one.pk]
            ).fetchone()  # fmt: skip
            assert row == (False,), field.name


def test_what_is_committed_late_is_sealed_all_the_same(
    db: Platform, services: Services, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry with a lower id and an earlier time than sealed ones, invisible while they were sealed."""
    with psycopg.connect(services.environment["DATABASE_URL"]) as slow:
        slow.execute("SELECT set_config('role', %s, false)", [db.acme.schema])
        slow.execute(
            "INSERT INTO public.usage_usagerecord (id, tenant_id, run_id, call, kind, provider, model, input_tokens, "
            "output_tokens, cached_tokens, reasoning_tokens, counted, currency, at) "
            "VALUES ('00000000-0000-7000-8000-000000000001', %s, gen_random_uuid(), 1, 'chat', 'p', 'm', 1, 1, 0, 0, "
            "false, 'USD', now())",
            [db.acme.id],
        )
        write(db.acme, 3)
        assert seal() == 3
        slow.commit()
    assert seal() == 1
    with scope.platform():
        newest = Seal.objects.order_by("-seq")[0]
    assert (newest.seq, str(newest.record_id)) == (4, "00000000-0000-7000-8000-000000000001")
    assert verdicts()["acme"].seq == 4


def test_what_lies_far_back_is_found_by_the_thorough_pass(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    write(db.acme, 2)
    seal()
    old = entry(db.acme)
    superuser.execute("UPDATE usage_usagerecord SET at = at - interval '3 hours' WHERE id = %s", [old.pk])
    assert seal() == 0
    assert verdicts()["acme"].problem == "1 entries have waited for their seal for more than ten minutes."
    assert seal(every=True) == 1
    assert not verdicts()["acme"].problem


def test_many_sealers_make_one_chain(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single writer: eight jobs and four writers at once; each entry once, no fork, no hole."""
    monkeypatch.setattr(chain, "BATCH", 7)

    def run(number: int) -> None:
        try:
            for _ in range(15):
                if number % 3 == 0:
                    write(db.acme, 3)
                else:
                    seal()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(run, range(12)))
    seal()
    with scope.platform():
        assert list(Seal.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 181))
        assert Seal.objects.values("record_id").distinct().count() == 180
    assert not verdicts()["acme"].problem


def test_a_killed_sealer_leaves_nothing_half_done(db: Platform, services: Services) -> None:
    """Crash safety: its connection dies in the middle of its transaction; the next one does it all."""
    write(db.acme, 20)
    dying = psycopg.connect(services.environment["DATABASE_OWNER_URL"])
    dying.execute("SET ROLE paas_platform")
    assert dying.execute("SELECT usage_seal_some(%s, 9, false)", [db.acme.id]).fetchone() == (9,)
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [dying.info.backend_pid])
    dying.close()
    assert seal() == 20
    assert verdicts()["acme"].seq == 20


TAMPERING = {
    "cost edited": ("UPDATE usage_usagerecord SET cost = 0 WHERE id = %(third)s", 3),
    "tokens edited": ("UPDATE usage_usagerecord SET output_tokens = 1 WHERE id = %(third)s", 3),
    "moved to another month": ("UPDATE usage_usagerecord SET at = at - interval '40 days' WHERE id = %(third)s", 3),
    "entry removed": ("DELETE FROM usage_usagerecord WHERE id = %(third)s", 3),
    "entry and seal removed": (
        "WITH gone AS (DELETE FROM usage_usagerecord WHERE id = %(third)s RETURNING id) "
        "DELETE FROM usage_seal WHERE record_id IN (SELECT %(third)s::uuid FROM gone)",
        3,
    ),
    "seal edited": ("UPDATE usage_seal SET digest = '\\x00' WHERE tenant_id = %(tenant)s AND seq = 2", 2),
    "seals exchanged": (
        "UPDATE usage_seal s SET record_id = o.record_id FROM usage_seal o WHERE s.tenant_id = %(tenant)s "
        "AND o.tenant_id = s.tenant_id AND (s.seq, o.seq) IN ((2, 5), (5, 2))",
        2,
    ),
    "given to somebody else": ("UPDATE usage_usagerecord SET tenant_id = %(other)s WHERE id = %(third)s", 3),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_whoever_touches_an_entry_is_found_out(db: Platform, superuser: psycopg.Connection[Any], how: str) -> None:
    """With every right and without triggers. The ledger and the first entry that is wrong are named."""
    entries = write(db.acme, 6)
    write(db.globex, 2)
    seal()
    assert not verdicts()["acme"].problem
    statement, number = TAMPERING[how]
    if how == "seals exchanged":
        superuser.execute("ALTER TABLE usage_seal DROP CONSTRAINT usage_seal_record")
    try:
        superuser.execute(statement.encode(), {"third": entries[2].pk, "tenant": db.acme.id, "other": db.globex.id})
        found = verdicts()["acme"]
        assert (bool(found.problem), found.broken_at) == (True, number), found
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("verify_ledger", json=True, stdout=out)
        said = json.loads(out.getvalue())
        assert "acme" in [one["tenant"] for one in said["ledgers"] if one["problem"]]
    finally:
        superuser.execute("DELETE FROM usage_seal")
        if how == "seals exchanged":
            superuser.execute("ALTER TABLE usage_seal ADD CONSTRAINT usage_seal_record UNIQUE (tenant_id, record_id)")


def test_an_entry_whose_cost_does_not_follow_from_its_prices_is_found(
    db: Platform, superuser: psycopg.Connection[Any]
) -> None:
    """Sealed as it is, but not what its own tokens and prices make."""
    entry(db.acme)
    entry(db.acme, cost=Decimal("0.00204"))
    seal()
    found = verdicts()["acme"]
    assert (found.broken_at, found.problem) == (2, "The cost of #2 does not follow from its tokens and prices.")


def test_a_cut_end_is_noticed(db: Platform, superuser: psycopg.Connection[Any]) -> None:
    """The head, which only the platform writes, knows that there was more."""
    write(db.acme, 4)
    seal()
    assert check() == []
    superuser.execute(
        "DELETE FROM usage_usagerecord WHERE id IN (SELECT record_id FROM usage_seal WHERE seq > 2 AND tenant_id = %s)",
        [db.acme.id],
    )
    superuser.execute("DELETE FROM usage_seal WHERE seq > 2 AND tenant_id = %s", [db.acme.id])
    (verdict,) = check(newest=True)
    assert verdict.problem.startswith("The seal #4 is not the one that was verified")
    (verdict,) = check()
    assert (verdict.broken_at, verdict.problem) == (
        3, "The ledger ends with #2, but #4 was verified: the newest are gone.",
    )  # fmt: skip
    with scope.platform():
        head = LedgerHead.objects.get(tenant_id=db.acme.id)
        assert (head.seq, head.problem) == (4, verdict.problem)
        told = AuditEvent.objects.filter(action="ledger.broken", target="acme")
        assert told.count() == 2
        check()
        assert told.count() == 2, "a fault is told once"


def test_a_fault_is_not_forgotten_by_whoever_looks_at_the_newest_only(db: Platform, superuser: Any) -> None:
    write(db.acme, 2)
    seal()
    assert check() == []
    superuser.execute("UPDATE usage_usagerecord SET cost = 9 WHERE tenant_id = %s", [db.acme.id])
    (verdict,) = check()
    assert check(newest=True) == []
    with scope.platform():
        assert LedgerHead.objects.get(tenant_id=db.acme.id).problem == verdict.problem


def test_newest_goes_on_from_the_head(db: Platform) -> None:
    write(db.acme, 3)
    seal()
    check()
    write(db.acme, 2)
    seal()
    found = verdicts(newest=True)["acme"]
    assert (found.checked, found.seq, found.problem) == (2, 5, "")
    assert check(newest=True) == []
    with scope.platform():
        assert LedgerHead.objects.get(tenant_id=db.acme.id).seq == 5


def test_the_command_prints_heads(db: Platform) -> None:
    write(db.acme, 1)
    out = io.StringIO()
    call_command("verify_ledger", stdout=out)
    assert "(1 not sealed yet)" in out.getvalue()
    seal()
    out = io.StringIO()
    call_command("verify_ledger", tenant="acme", newest=True, stdout=out)
    with scope.platform():
        assert bytes(Seal.objects.get().digest).hex() in out.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("verify_ledger", tenant="nobody")


def test_a_tenant_reads_its_own_seals_and_writes_none(db: Platform) -> None:
    from django.db import DatabaseError

    write(db.acme, 1)
    seal()
    check()
    with scope.bind(db.globex):
        assert not Seal.objects.exists()
        assert not LedgerHead.objects.filter(tenant_id=db.acme.id).exists()
    with scope.bind(db.acme):
        assert Seal.objects.count() == 1
        for attempt in (
            lambda: Seal.objects.create(tenant_id=db.acme.id, record_id=uuid.uuid4(), seq=2, digest=b""),
            lambda: LedgerHead.objects.update(seq=0),
            lambda: Seal.objects.all().delete(),
        ):
            with pytest.raises(DatabaseError):
                attempt()
    with scope.platform(), pytest.raises(DatabaseError):
        Seal.objects.update(seq=9)
