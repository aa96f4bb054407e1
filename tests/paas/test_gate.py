"""Too many requests at once: a few work, the rest wait in turn or are told to come again (A43, T15, T16)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from paas.gate import ASKED, Gated
from tenants import gate
from tenants.gate import Busy, Gate
from tenants.scope import TenantRef

passed = [0.0]  # s


@pytest.fixture(autouse=True)
async def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's time stands still, and passes when a test says so: a busy machine changes nothing."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now + passed[0])
    passed[0] = 0.0


async def passes(seconds: float = 0.0) -> None:
    """So much time, and all that is then to be done."""
    passed[0] += seconds
    for _ in range(20):
        await asyncio.sleep(0)


WHOLE = {"type": "http.request", "body": b"", "more_body": False}
LOUD, OTHER = (TenantRef(uuid.uuid4(), slug) for slug in ("loud", "other"))


class Crowd:
    """Requests at a gate of three places, two for one tenant; each works until it is let go. The body of one whose name
    ends with a half is not here yet."""

    def __init__(self) -> None:
        self.gate = Gate(5.0, at_once=3, share=2)
        self.gated = Gated(self.app, self.gate)
        self.working: list[str] = []
        self.most = 0
        self.answers: dict[str, int] = {}
        self.hosts: dict[str, dict[str, Any]] = {}  # what else a request says
        self.gates: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):  # as Django does, before anything else
            pass
        self.working.append(scope["name"])
        self.most = max(self.most, len(self.working))
        try:
            await self.gates[scope["name"]].wait()
            self.answers[scope["name"]] = 200
        finally:
            self.working.remove(scope["name"])

    async def come(self, *names: str) -> None:
        """Requests with these names; the first letter says whose: l is loud, o the other, p the platform."""
        for name in names:
            self.gates[name] = asyncio.Event()
            tenant = {"l": LOUD, "o": OTHER, "p": None}[name[0]]
            scope: dict[str, Any] = {
                "type": "http",
                "name": name,
                "path": "/api/v1/x",
                "headers": [],
                "paas.tenant": tenant,
            } | self.hosts.get(name, {})

            async def send(message: Any, name: str = name) -> None:
                if message["type"] == "http.response.start":
                    self.answers[name] = message["status"]
                    assert (b"retry-after", b"1") in message["headers"]

            coming = [WHOLE | {"more_body": True}] * 2 if name.endswith("½") else []

            async def receive(name: str = name, coming: list[Any] = coming) -> Any:
                if coming:
                    return coming.pop()
                if name.endswith("½"):
                    await self.gates[name].wait()
                return WHOLE

            self.gate.notice(tenant.id if tenant else None)
            self.tasks[name] = asyncio.create_task(self.gated(scope, receive, send))
            await asyncio.sleep(0)
        await passes()

    async def done(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()
        await passes()

    async def drained(self) -> None:
        """Everybody ends; nothing is left."""
        for event in self.gates.values():
            event.set()
        await asyncio.wait_for(asyncio.gather(*self.tasks.values(), return_exceptions=True), 5)
        assert not self.gate._queues
        assert not self.gate._working


async def test_tenants_take_turns() -> None:
    crowd = Crowd()
    await crowd.come("l1", "l2", "l3", "l4", "l5")
    assert crowd.working == ["l1", "l2"]
    await crowd.come("o1", "o2", "p1")
    assert crowd.working == ["l1", "l2", "o1"]
    await crowd.done("l1")  # l and o, who have more to do, have one each at work
    assert crowd.working == ["l2", "o1", "p1"]
    await crowd.done("o1")  # and let p, who has not, go first
    assert crowd.working == ["l2", "p1"]
    await crowd.done("p1")
    assert crowd.working == ["l2", "o2"]
    await crowd.done("l2")  # o has no more than that to do
    assert crowd.working == ["o2"]
    await crowd.done("o2")
    assert crowd.working == ["l3"]
    await crowd.drained()
    assert crowd.most == 3
    assert set(crowd.answers.values()) == {200}


async def test_a_tenant_that_queues_works_at_one_thing_while_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """T16: every thread that works slows those of others; who is alone is not held back."""
    monkeypatch.setattr(gate, "THERE_FOR", 0.05)
    crowd = Crowd()
    await crowd.come("o1", "l1", "l2", "l3", "l4", "l5", "l6", "l7")
    await crowd.done("o1", "l1")
    assert crowd.working == ["l2"]
    await crowd.done("l2")
    assert crowd.working == ["l3"]
    await passes(0.06)  # o has gone
    await crowd.come("l8")
    await crowd.done("l3")
    assert crowd.working == ["l4", "l5"]
    await crowd.drained()


async def test_who_asks_for_much_is_not_passed_over_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PASSED_OVER", 0.02)
    crowd = Crowd()
    await crowd.come("o1", "l1", "l2", "l3")
    await crowd.done("l1")
    assert crowd.working == ["o1", "l2"]
    await crowd.done("l2")
    assert crowd.working == ["o1"]
    await passes(0.03)
    await crowd.come("p1")
    await crowd.done("p1")
    assert crowd.working == ["o1", "l3"]
    await crowd.drained()


async def test_who_asks_on_although_its_rate_is_used_up_rests_while_others_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T16."""
    crowd = Crowd()
    crowd.gate._takes = 0.01
    await crowd.come("l1", "o1")
    crowd.gate.refused(LOUD.id)
    await crowd.done("o1")
    await crowd.come("l2")
    assert crowd.working == ["l1"], "one at a time, though there is room"
    await crowd.done("l1")
    assert crowd.working == [], "and not at once"
    await passes(gate.RESTS * crowd.gate._takes + 0.001)
    assert crowd.working == ["l2"]
    monkeypatch.setattr(gate, "OVER_FOR", 0.0)
    await crowd.come("l3")
    assert crowd.working == ["l2", "l3"], "it has stopped asking on"
    await crowd.drained()


@pytest.mark.parametrize("more", [True, False], ids=["asks on", "asks for less"])
async def test_who_asks_on_rests_for_as_long_as_it_does(monkeypatch: pytest.MonkeyPatch, more: bool) -> None:
    """T16: its rate lets through a few again meanwhile; if it took those at once, others would wait every other second.
    One that asks for no more than it could have without rests has what its rate gives it again after a moment."""
    monkeypatch.setattr(gate, "PLACE_SECONDS", 60.0)
    crowd = Crowd()
    crowd.gate._takes = 0.1
    crowd.gate.patience = 1.0
    await crowd.come("l1", "o1")
    crowd.gate.refused(LOUD.id)
    await crowd.come("l2", "l3")
    await passes(gate.OVER_FOR - 0.1)
    refused = [f"l{number}" for number in range(4, 4 + int(gate.RESTS) + more)]
    await crowd.come("o2", *refused)
    assert crowd.answers == dict.fromkeys(refused, 429), "two that rest in between take longer than that"
    await passes(gate.OVER_FOR - 0.1)
    await crowd.come("o3")
    crowd.gate._takes = 0.1
    await crowd.done("l1", "o1", "o2")
    assert ("l2" in crowd.working) != more
    await passes(gate.LONGEST_REST + 0.1)
    assert sorted(crowd.working) == ["l2", "o3"]
    await crowd.drained()


async def test_who_asks_on_at_the_platforms_host_holds_up_no_operator() -> None:
    crowd = Crowd()
    await crowd.come("o1")
    crowd.gate.refused(None)
    await crowd.come("p1", "p2")
    assert crowd.working == ["o1", "p1", "p2"]
    await crowd.drained()


async def test_who_has_much_to_do_and_keeps_to_its_rate_does_not_rest() -> None:
    """What others leave is used: a place that is given up is taken at once, however long the queue has stood."""
    crowd = Crowd()
    crowd.gate._takes = 10.0
    await crowd.come("o1", "l1", "l2", "l3")
    crowd.gate._queues[LOUD.id].since -= 60
    await crowd.done("o1", "l1", "l2")
    assert crowd.working == ["l3"]
    await crowd.drained()


async def test_a_queue_that_stands_is_not_joined() -> None:
    """A moment's crowd waits; one that lasts is refused at once, the loud tenant's and not the other's."""
    crowd = Crowd()
    crowd.gate._takes = 0.5  # s, as of late
    await crowd.come("l1", "l2", "l3", "l4", "l5")
    assert not crowd.answers
    crowd.gate.patience = 0.02
    await passes(0.03)
    await crowd.come("l6", "o1", "o2")
    assert crowd.answers == {"l6": 429}
    assert crowd.working == ["l1", "l2", "o1"]
    await crowd.drained()


async def test_a_queue_that_stands_is_kept_short() -> None:
    """T15: whoever joins it would only wait longer for what is done as fast without waiting."""
    crowd = Crowd()
    crowd.gate.patience = 0.05
    crowd.gate._takes = 0.016
    await crowd.come("l1", "l2", "l3", "l4", "l5", "l6", "l7")
    assert not crowd.answers, "four before it in two places: 32 ms"
    crowd.gate._queues[LOUD.id].since -= 0.06
    await crowd.come("l8")
    assert crowd.answers == {"l8": 429}
    await crowd.drained()


async def test_a_person_waits_where_a_program_is_told_to_come_again() -> None:
    crowd = Crowd()
    crowd.gate._takes = 0.5
    await crowd.come("l1", "l2", "l3")
    crowd.gate.patience = 0.2
    crowd.gate._queues[LOUD.id].since -= 1

    async def begins(times: float) -> None:
        async with crowd.gate.place(LOUD.id, times=times):
            pass

    with pytest.raises(Busy):
        await begins(gate.PROGRAM)
    waits = asyncio.create_task(begins(gate.PERSON))
    await crowd.done("l1", "l2")
    await asyncio.wait_for(waits, 5)
    await crowd.drained()


async def test_who_would_be_refused_is_turned_away_before_the_host_is_looked_up() -> None:
    """T15: only what came here lately in the same words, and while its tenant's queue has stood for too long."""
    crowd = Crowd()

    def asked(host: str, path: str = "/api/v1/x", kind: str = "http") -> dict[str, Any]:
        return {"type": kind, "method": "GET", "path": path, "headers": [(b"accept", b"*/*"), (b"host", host.encode())]}

    crowd.gate._takes = 0.5
    for number in range(6):
        name = f"l{number}" if number < 5 else "o1"
        crowd.hosts[name] = asked("loud.test" if number < 5 else "other.test")
        await crowd.come(name)
    assert not crowd.gated.turns_away(asked("loud.test")), "a moment's crowd waits"
    crowd.gate.patience = 0.02
    await passes(0.03)
    assert crowd.gated.turns_away(asked("loud.test"))
    for other in (
        asked("other.test"),
        asked("loud.test", "/api/v1/y"),
        asked("loud.test", kind="websocket"),
        asked("new.test"),
    ):
        assert not crowd.gated.turns_away(other)
    await crowd.drained()
    assert not crowd.gated.turns_away(asked("loud.test"))


async def test_those_on_the_way_count_for_those_behind_them() -> None:
    """T15: who was let through in front is not refused further inside, where it has cost something already."""
    crowd = Crowd()

    def asked() -> dict[str, Any]:
        return {"type": "http", "method": "GET", "path": "/api/v1/x", "headers": [(b"host", b"loud.test")]}

    for name in ("l1", "l2", "l3", "l4"):
        crowd.hosts[name] = asked()
    crowd.gate.patience = 0.05
    await crowd.come("l1", "l2", "l3")
    crowd.gate._takes = 0.019  # so that each who waits for one of two places makes it 9.5 ms longer
    await passes(0.06)
    assert gate.STANDING * crowd.gate.patience == pytest.approx(0.03)
    assert [crowd.gated.turns_away(asked()) for _ in range(5)] == [False, False, False, True, True]
    one = asked()
    one[ASKED] = True
    assert not crowd.gated.turns_away(one), "the server's protocol has asked already"
    await crowd.come("l4")
    assert crowd.gated.turns_away(asked()), "one has come, two are on the way"
    await passes(gate.ON_THE_WAY + 0.01)
    assert [crowd.gated.turns_away(asked()) for _ in range(3)] == [False, False, True], "those two had a bad key"
    crowd.gate.refused(LOUD.id)
    assert not crowd.gated.turns_away(asked()), "a rate refused the one that was on the way"
    await crowd.drained()


async def test_no_one_waits_for_ever() -> None:
    crowd = Crowd()
    crowd.gate.patience = 0.003
    await crowd.come("l1", "l2", "l3", "l4")
    crowd.tasks["l4"].cancel()  # its connection is gone
    await passes(crowd.gate.patience * gate.LONGEST_WAIT)
    await crowd.tasks["l3"]
    assert crowd.answers == {"l3": 429}
    await crowd.drained()


async def test_who_waits_for_something_else_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A45: requests that hang at a provider leave the other routes alone."""
    monkeypatch.setattr(gate, "PLACE_SECONDS", 0.03)
    crowd = Crowd()
    await crowd.come("l1", "l2", "l3")
    assert crowd.working == ["l1", "l2"]
    await passes(0.04)
    assert crowd.working == ["l1", "l2", "l3"]
    await crowd.drained()


async def test_who_sends_half_a_request_holds_no_place() -> None:
    """T13, A41: a large body, which comes slowly or never, waits outside; once it is here it waits like any other."""
    crowd = Crowd()
    await crowd.come("l1½", "l2½", "l3½", "l4", "l5")
    assert crowd.working == ["l4", "l5"]
    await crowd.done("l1½")
    assert crowd.answers == {}
    assert crowd.gate.load() == (2, 1)
    await crowd.done("l4")
    assert crowd.answers == {"l4": 200, "l1½": 200}
    await crowd.drained()


async def test_giving_up_and_being_next_at_once() -> None:
    crowd = Crowd()
    await crowd.come("l1", "l2", "l3", "l4")
    crowd.tasks["l3"].cancel()
    await crowd.done("l1")
    assert crowd.working == ["l2", "l4"]
    await crowd.drained()
