"""The fault harness of bench/chaos, short: every kind of fault once, under load, and the books agree (A71, A72, T8, T9)."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bench.chaos.audit import audit
from bench.chaos.books import Books
from bench.chaos.clients import Habits, Seen
from bench.chaos.drive import Load, drive
from bench.chaos.place import Place, installed
from bench.chaos.plan import Fault, plan
from chat import recovery
from tests.chat.ledger import Ledger
from tests.conftest import in_thread

pytestmark = pytest.mark.fault
SECONDS = 4.0
FAULTS = (
    Fault(0.3, "client.cut", 0, 0),
    Fault(0.6, "vendor.cut", 0, 0),
    Fault(0.9, "redis.stall", 0.2, 0),
    Fault(1.2, "web.kill", 0, 0),
    Fault(3.2, "client.half", 0, 1),
    Fault(3.4, "postgres.cut", 0, 0),
    Fault(3.7, "web.stop", 0.4, 1),
    Fault(4.3, "redis.cut", 0, 0),
)
EXPIRE = (
    "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held' "
    "AND split_part(host, '-', -2)::int <> ALL(%s)"
)


@contextlib.asynccontextmanager
async def a_worker(place: Place, ledger: Ledger, host: Any) -> AsyncIterator[None]:
    """Ends the runs of dead processes, without the 15 s that their leases would last."""

    async def work() -> None:
        while True:
            await asyncio.sleep(0.2)
            ledger.rows(EXPIRE, [web.process.pid for web in place.webs])
            await recovery.sweep(host)

    task = asyncio.create_task(work())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def chain_of(place: Place) -> list[str]:
    """What is wrong with the ledger's chain."""
    from tenants import scope
    from usage import chain

    def look() -> list[str]:
        with scope.platform():
            chain.seal_all()
            return [verdict.problem for verdict, _ in chain.verify_all() if verdict.problem]

    return in_thread(look)  # type: ignore[no-any-return]


@pytest.mark.exhaustive
async def test_every_fault_once(
    host: Any, services: Any, vendor: Any, agents: Any, api_key: Any, ledger: Ledger
) -> None:
    """Then the same evidence with one thing wrong in it: the audit sees each."""
    async with installed(services, vendor, slug="acme", workers=0) as place:
        account = {"kind": "openai_compatible", "base_url": f"http://127.0.0.1:{place.proxies['vendor'].port}/v1"}
        slugs = [agents(model, provider=account) for model in ("tagged-20-10-120", "tagged-0-2-60", "tagged-0-0-200")]
        load = Load(6, api_key(), "acme", Habits(slugs, leave=0.02, pause=0.1))
        async with a_worker(place, ledger, host):
            outcome = await drive(place, load, FAULTS, SECONDS, verify=chain_of)
        logs = [web.process.tail() for web in place.webs]
    assert not outcome.findings.violations, "\n".join(logs)
    assert len(outcome.seen) >= 12
    assert len(outcome.resumes) >= 5
    assert {"completed"} < set(outcome.findings.counts["ends"]), "some came through, and some were hit"
    records = list(vendor.stats.records)
    for name, spoil in SPOILED.items():
        seen, books = copy.deepcopy((outcome.seen, outcome.books))
        words = spoil(seen, books)
        found = audit(seen, records, books, []).violations
        assert any(words in sentence for sentence in found), (name, found)


def _native(seen: list[Seen]) -> Seen:
    return max((one for one in seen if one.kind != "openai" and one.ended), key=lambda one: len(one.events))


def _run(books: Books, status: str = "completed") -> Any:
    return max((run for run in books.runs.values() if run.status == status), key=lambda run: len(run.deltas))


def _dropped(seen: list[Seen], books: Books) -> str:
    del _native(seen).events[5]
    return "event 7 where 6 is due"


def _altered(seen: list[Seen], books: Books) -> str:
    events = _native(seen).events
    events[5] = (*events[5][:2], {"text": "?"})
    return "that the log has otherwise"


def _lost(seen: list[Seen], books: Books) -> str:
    del _run(books).events[5]
    return "that are not the vendor's"


def _doubled(seen: list[Seen], books: Books) -> str:
    run = _run(books)
    run.records *= 2
    return "2 entries in the ledger"


def _overbilled(seen: list[Seen], books: Books) -> str:
    _run(books).records[0]["output_tokens"] += 1
    return "the vendor sent"


def _unbilled(seen: list[Seen], books: Books) -> str:
    _run(books).records.clear()
    return "none billed"


def _leaked(seen: list[Seen], books: Books) -> str:
    books.left["reserved"] = 1
    return "reserved: 1"


def _unended(seen: list[Seen], books: Books) -> str:
    _run(books).events.pop()
    return "its log has the ends []"


def _forgotten(seen: list[Seen], books: Books) -> str:
    del books.runs[_native(seen).run_id]
    return "is not in the books"


SPOILED: dict[str, Callable[[list[Seen], Books], str]] = {
    made.__name__: made
    for made in (_dropped, _altered, _lost, _doubled, _overbilled, _unbilled, _leaked, _unended, _forgotten)
}


def test_a_plan_follows_from_its_seed() -> None:
    assert plan(7, 300) == plan(7, 300) != plan(8, 300)
    assert {fault.what.split(".")[0] for fault in plan(7, 3_000)} == {
        "web", "worker", "postgres", "redis", "vendor", "client"
    }  # fmt: skip
