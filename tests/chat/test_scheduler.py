"""What is due is asked, once, as who set it; on real PostgreSQL, only the model is scripted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import AuditEvent, Membership
from chat import scheduler, schedules, turns
from chat.models import Run, Schedule, ScheduledRun
from core import clock
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tenants.models import Tenant
from tests.chat.talk import read
from tests.conftest import in_thread

FIELDS: dict[str, Any] = {"name": "News", "agent": "assistant", "prompt": "What is new?", "every_seconds": 3600}


class Desk:
    """Schedules of one person of acme, and the worker's looks at them."""

    def __init__(self, member: Any, ledger: Any) -> None:
        self.member, self.ledger = member, ledger

    async def on(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return await scope.run_in_tenant(self.member.tenant, lambda: fn(*args, **kwargs))

    async def made(self, **fields: Any) -> uuid.UUID:
        found = await self.on(schedules.schedule_create, actor=self.member, fields=FIELDS | fields)
        return found.id  # type: ignore[no-any-return]

    def overdue(self, hours: float = 0.0) -> None:
        """All are due, since so many hours; whoever took a run to start it is dead."""
        since = clock.now() - timedelta(hours=hours, seconds=1)
        self.ledger.rows("UPDATE chat_schedule SET next_run_at = %s WHERE enabled", since)
        self.ledger.rows("UPDATE chat_scheduledrun SET taken_at = taken_at - interval '2 minutes'")
        self.alarm()

    def alarm(self) -> None:
        self.ledger.rows("UPDATE tenants_alarm SET at = now() - interval '1 second'")

    async def look(self) -> list[dict[str, Any]]:
        """A sweep, the runs it started, and another one to write down how they ended."""
        await scheduler.sweep()
        for run in self.runs():
            if run["outcome"] == "started":
                await read(self.member.tenant, run["id"])
        self.alarm()
        await scheduler.sweep()
        return self.runs()

    def runs(self) -> list[dict[str, Any]]:
        return list(self.ledger.rows("SELECT * FROM chat_scheduledrun ORDER BY id"))

    def schedule(self) -> dict[str, Any]:
        return dict(self.ledger.one("SELECT * FROM chat_schedule"))


@pytest.fixture
async def desk(host: Any, actor: Any, ledger: Any) -> AsyncIterator[Desk]:
    yield Desk(actor("member"), ledger)

    def clean() -> None:
        with scope.bind(actor("member").tenant):
            Schedule.objects.all().delete()

    in_thread(clean)


async def refused(desk: Desk, **fields: Any) -> PaasError:
    with pytest.raises(PaasError) as error:
        await desk.made(**fields)
    return error.value


async def test_it_is_asked_when_it_is_due_and_once_for_all_that_was_missed(desk: Desk) -> None:
    schedule = await desk.made()
    assert await desk.look() == []
    desk.overdue(hours=10)
    script = ScriptedModel.enqueue(["Nothing."])
    (run,) = await desk.look()
    assert script.request is not None
    assert script.request.messages[-1]["content"] == "What is new?"
    assert (run["outcome"], run["code"], run["schedule_id"]) == ("completed", "", schedule)
    stored = desk.ledger.run(run["id"])
    assert (stored["user_id"], stored["door"], stored["status"]) == (desk.member.user_id, "schedule", "completed")
    assert stored["conversation_id"] == run["conversation_id"]
    assert timedelta() < desk.schedule()["next_run_at"] - clock.now() <= timedelta(hours=1)
    assert len(await desk.look()) == 1
    desk.overdue()
    again = (await desk.look())[1]
    assert again["conversation_id"] != run["conversation_id"]
    assert not desk.ledger.left_behind()


async def test_two_workers_and_one_that_died_in_between_start_one_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the start, and killed after it and before it was written down (A71)."""
    await desk.made()
    desk.overdue()
    taken, also = await asyncio.gather(desk.on(scheduler.take_due), desk.on(scheduler.take_due))
    assert sorted(map(len, (taken, also))) == [0, 1]
    assert await desk.on(scheduler.take_due) == []  # whoever took it has a minute

    async def dies(*args: Any) -> Any:
        await start_turn(*args)
        raise asyncio.CancelledError

    start_turn = turns.start_turn
    desk.ledger.rows("UPDATE chat_scheduledrun SET taken_at = taken_at - interval '2 minutes'")
    desk.alarm()
    monkeypatch.setattr(turns, "start_turn", dies)
    with pytest.raises(asyncio.CancelledError):
        await scheduler.sweep()
    monkeypatch.setattr(turns, "start_turn", start_turn)
    (run,) = desk.runs()
    assert run["outcome"] == "due"
    # The same due time once more, by two at once: one that looked before the first had started it.
    asked = turns.TurnRequest(door="schedule", agent="assistant", message="x", run_id=run["id"])
    with pytest.raises(PaasError, match="still being answered"):
        await turns.start_turn(desk.member, asked)
    await read(desk.member.tenant, run["id"])
    desk.ledger.rows("UPDATE chat_scheduledrun SET taken_at = taken_at - interval '2 minutes'")
    desk.alarm()
    assert [one["outcome"] for one in await desk.look()] == ["completed"]
    assert desk.ledger.value("SELECT count(*) FROM chat_run WHERE door = 'schedule'") == 1


async def test_a_run_that_has_not_ended_is_waited_for(desk: Desk) -> None:
    await desk.made()
    desk.overdue()
    gate = asyncio.Event()
    ScriptedModel.enqueue(["Not", gate, "hing."])
    await scheduler.sweep()
    for status in ("queued", "running"):
        desk.ledger.rows("UPDATE chat_run SET status = %s WHERE door = 'schedule'", status)
        desk.alarm()
        await scheduler.sweep()
        assert [run["outcome"] for run in desk.runs()] == ["started"]
    gate.set()
    assert [run["outcome"] for run in await desk.look()] == ["completed"]


async def test_one_conversation_for_all_runs(desk: Desk) -> None:
    await desk.made(mode="one")
    desk.overdue()
    (first,) = await desk.look()
    desk.overdue()
    script = ScriptedModel.enqueue(["Still nothing."])
    assert (await desk.look())[1]["conversation_id"] == first["conversation_id"]
    assert script.request is not None
    assert len(script.request.messages) >= 3
    desk.ledger.rows("UPDATE chat_conversation SET deleted_at = now()")
    desk.overdue()
    assert (await desk.look())[2]["conversation_id"] != first["conversation_id"]


async def test_a_quota_refuses_and_the_next_time_comes(desk: Desk) -> None:
    await desk.made(max_failures=1)
    desk.ledger.allow(1)
    desk.overdue()
    (run,) = await desk.look()
    assert (run["outcome"], run["code"]) == ("refused", "quota_exceeded")
    assert (desk.schedule()["enabled"], desk.schedule()["failures"]) == (True, 0)
    desk.ledger.allow(None)
    desk.overdue()
    assert [one["outcome"] for one in await desk.look()] == ["refused", "completed"]


async def test_failures_in_a_row_stop_it(desk: Desk) -> None:
    schedule = await desk.made(max_failures=2)
    for _ in range(2):
        ScriptedModel.enqueue([PaasError("provider_auth_failed")])
        desk.overdue()
        await desk.look()
    found = desk.schedule()
    assert (found["enabled"], found["stopped"], found["next_run_at"]) == (False, "failures", None)
    assert [run["code"] for run in desk.runs()] == ["provider_auth_failed"] * 2
    events = AuditEvent.objects.filter(action="schedule.stopped", target=f"schedule:{schedule}")
    assert await desk.on(events.count) == 1
    await desk.on(schedules.schedule_update, actor=desk.member, schedule_id=schedule, fields={}, enabled=True)
    assert (desk.schedule()["failures"], desk.schedule()["stopped"]) == (0, "")
    desk.overdue()
    assert (await desk.look())[-1]["outcome"] == "completed"


@pytest.mark.parametrize(("role", "why"), [("viewer", "owner_may_not"), (None, "owner_gone")])
async def test_an_owner_who_may_not_any_more(desk: Desk, role: str | None, why: str) -> None:
    await desk.made()
    desk.overdue()
    who = {"tenant_id": desk.member.tenant.id, "user_id": desk.member.user_id}

    def change() -> None:
        with scope.platform():
            if role is None:
                Membership.objects.filter(**who).delete()
            else:
                Membership.objects.filter(**who).update(role=role)

    def back() -> None:
        with scope.platform():
            Membership.objects.update_or_create(**who, defaults={"role": "member"})

    await scope.run_in_platform(change)
    try:
        (run,) = await desk.look()
    finally:
        await scope.run_in_platform(back)
    assert (run["outcome"], run["code"]) == ("refused", why)
    assert (desk.schedule()["enabled"], desk.schedule()["stopped"]) == (False, why)
    assert desk.ledger.rows("SELECT 1 FROM chat_run WHERE door = 'schedule'") == []


async def test_suspended_tenants_and_those_without_room_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.made()
    desk.overdue()

    def set_status(status: str) -> None:
        Tenant.objects.filter(id=desk.member.tenant.id).update(status=status)

    await scope.run_in_platform(set_status, "suspended")
    try:
        assert await desk.look() == []
    finally:
        await scope.run_in_platform(set_status, "active")
    monkeypatch.setattr("chat.host.Host.check_capacity", _stopping)
    assert [run["outcome"] for run in await desk.look()] == ["due"]
    monkeypatch.undo()
    desk.alarm()
    assert [run["outcome"] for run in await desk.look()] == ["completed"]


def _stopping(_host: Any) -> None:
    raise PaasError("server_stopping", retry_after=2)


async def test_running_by_hand_pausing_and_deleting(desk: Desk, actor: Any) -> None:
    schedule = await desk.made()
    change = {"actor": desk.member, "schedule_id": schedule}
    await desk.on(schedules.schedule_update, fields={}, enabled=False, **change)
    await desk.on(schedules.schedule_run_now, **change)
    with pytest.raises(PaasError, match="not ended yet"):
        await desk.on(schedules.schedule_run_now, **change)
    desk.alarm()
    (run,) = await desk.look()
    assert (run["by_hand"], run["outcome"], desk.schedule()["next_run_at"]) == (True, "completed", None)
    for who in (actor("owner"), actor("rival")):
        with pytest.raises(PaasError) as error:
            await scope.run_in_tenant(
                who.tenant,
                lambda: schedules.schedule_delete(actor=who, schedule_id=schedule),  # noqa: B023
            )
        assert error.value.code == "not_found"
    await desk.on(schedules.schedule_delete, **change)
    assert desk.runs() == []
    assert desk.ledger.run(run["id"])["status"] == "completed"  # what was asked stays


async def test_who_and_what_is_refused(desk: Desk, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = (await refused(desk, name=" ", agent="nobody", prompt="", timezone="x")).details["fields"]
    assert set(faults) == {"name", "agent", "prompt", "timezone"}
    assert set((await refused(desk, cron="* * * * *", every_seconds=None)).details["fields"]) == {"cron"}
    await desk.made()
    await scope.run_in_platform(_allow_schedules, desk.member.tenant.id, 1)
    try:
        assert (await refused(desk)).code == "plan_limit_reached"
    finally:
        await scope.run_in_platform(_allow_schedules, desk.member.tenant.id, None)
    for who in (actor("viewer"), replace(desk.member, user_id=None, key_id=uuid.uuid4())):
        with pytest.raises(PaasError) as error:
            await desk.on(schedules.schedule_create, actor=who, fields=FIELDS)
        assert error.value.code == "permission_denied"
    assert await desk.on(Schedule.objects.count) == 1
    assert await desk.on(ScheduledRun.objects.count) == await desk.on(Run.objects.filter(door="schedule").count) == 0


def _allow_schedules(tenant_id: uuid.UUID, limit: int | None) -> None:
    plan = Tenant.objects.select_related("plan").get(id=tenant_id).plan
    plan.max_schedules = limit
    plan.save()
