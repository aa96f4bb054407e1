"""Who is told at 80 and at 100 percent, once; and of vendors that take more than was held (A35)."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from django.conf import settings
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import keys, services
from accounts.models import AuditEvent, User
from core import crypto
from tenants import scope
from tenants.models import Tenant
from tests.chat.ledger import Ledger
from tests.conftest import PASSWORD, Platform, in_thread
from tests.usage.conftest import Money
from usage import alerts
from usage.models import LimitWarning


def look() -> int:
    with scope.platform():
        return alerts.warn_all()


def letters() -> list[tuple[str, str, str]]:
    """(to, subject, body) of every letter that waits to be sent, in order of the addresses."""
    with scope.platform():
        waiting = ProcrastinateJob.objects.filter(task_name="mail.send")
        found = [json.loads(crypto.unwrap(settings.FIELD_KEYS, job.args["sealed"])) for job in waiting]
    return sorted((one["to"], one["subject"], one["body"]) for one in found)


async def use(money: Money, tokens: int, **who: Any) -> None:
    run = uuid.uuid4()
    assert (await money.hold(1, tokens, run=run, **who)).get("granted")
    assert await money.settle(run, input_tokens=1, output_tokens=tokens - 1)


async def test_managers_are_told_once_for_each_threshold(money: Money, ledger: Ledger, db: Platform) -> None:
    """Whoever looks at the same time; and again when the limit is raised and reached anew: not twice in its period."""
    ledger.limit(1000)
    await use(money, 790)
    assert await asyncio.to_thread(in_thread, look) == 0
    await use(money, 10)
    found = await asyncio.gather(*(asyncio.to_thread(in_thread, look) for _ in range(4)))
    assert sorted(found) == [0, 0, 0, 1]
    told = in_thread(letters)
    assert [to for to, _, _ in told] == ["admin@acme.test", "owner@acme.test"]
    assert "80 %" in told[0][1]
    assert "800" in told[0][2]
    assert "/settings/limits/" in told[0][2]
    await use(money, 199)
    assert (await money.hold(2, 1))["code"] == "quota_exceeded", "one token is left, which is not enough"
    assert in_thread(look) == 1, "a limit that refuses is at its end, though it is not filled to the last token"
    assert in_thread(look) == 0
    assert [subject.count("used up") for _, subject, _ in in_thread(letters)] == [0, 1, 0, 1]
    ledger.rows("UPDATE usage_quota SET month = (month - interval '1 month')::date")
    ledger.rows("UPDATE usage_limitwarning SET starts_on = (starts_on - interval '1 month')::date")
    await use(money, 1000)
    assert in_thread(look) == 1, "another month, both at once: one letter each"
    assert len(in_thread(letters)) == 6


async def test_a_crash_between_writing_it_down_and_telling_changes_nothing(
    money: Money, ledger: Ledger, db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.limit(100)
    await use(money, 100)

    def killed(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(alerts.mail, "send", killed)
        with pytest.raises(RuntimeError, match="killed"):
            in_thread(look)
    assert ledger.rows("SELECT 1 FROM usage_limitwarning") == []
    assert in_thread(look) == 1
    assert len(in_thread(letters)) == 2


async def test_each_is_told_of_their_own(money: Money, ledger: Ledger, db: Platform) -> None:
    def people() -> tuple[Any, Any, Any]:
        with scope.bind(db.acme):
            member = User.objects.get(email="member@acme.test")
            key = keys.key_create(name="k", scopes=["*"], actor="test", created_by=member.pk, tokens_per_month=100)[0]
            stray = keys.key_create(name="s", scopes=["*"], actor="test", tokens_per_month=100)[0]
            return member.pk, key.pk, stray.pk

    member, key, stray = in_thread(people)
    ledger.limit(100, period="day", level="user", subject=member)
    await use(money, 80, user=member)
    await use(money, 100, user=None, key=key)
    assert in_thread(look) == 2
    told = in_thread(letters)
    assert [to for to, _, _ in told] == ["member@acme.test"] * 2
    assert any(
        "your own limit" in body and "/profile/" in body and "of this day: 80 of 100" in body for *_, body in told
    )
    assert any("API key" in body for *_, body in told)
    await use(money, 100, user=None, key=stray)
    assert in_thread(look) == 1
    assert [to for to, _, _ in in_thread(letters)][:2] == ["admin@acme.test", "member@acme.test"], "nobody's key"


async def test_a_vendor_that_takes_more_than_was_held_is_told_of(money: Money, ledger: Ledger, db: Platform) -> None:
    """A35: every such run is in the tenant's log, the operators get one letter a day."""

    def an_operator() -> None:
        with scope.platform():
            services.operator_set(email="operator@platform.test", password=PASSWORD, actor="test")

    in_thread(an_operator)
    for _ in range(3):
        run = uuid.uuid4()
        await money.hold(run=run)
        assert await money.settle(run, output_tokens=500)

    def tell() -> int:
        with scope.platform():
            return alerts.overruns_tell()

    told = await asyncio.gather(*(asyncio.to_thread(in_thread, tell) for _ in range(3)))
    assert sum(told) == 3, "each by one of them"
    assert in_thread(tell) == 0

    def seen() -> tuple[int, int]:
        with scope.platform():
            acme = Tenant.objects.get(slug="acme")
            rows = AuditEvent.objects.filter(tenant_id=acme.pk, action="usage.overrun")
            assert {row.data["overrun"] for row in rows} == {410}
            return rows.count(), LimitWarning.objects.filter(metric="overrun").count()

    assert in_thread(seen) == (3, 1)
    assert [to for to, _, body in in_thread(letters) if "410" in body] == ["operator@platform.test"]
