"""When a vendor is left alone, and when it is tried again (A45)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from core import metrics
from core.errors import PaasError
from llm import breaker
from llm.registry import ProviderRef

ACCOUNT = ProviderRef(uuid.uuid4(), "openai", updated_at=datetime(2026, 1, 1, tzinfo=UTC))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(breaker, "clock", found)
    return found


def fail(code: str = "provider_timeout", account: ProviderRef = ACCOUNT) -> PaasError:
    """A call that fails with `code`, or before that; what it failed with."""
    with pytest.raises(PaasError) as error, breaker.guarded(account, "m"):
        raise PaasError(code)
    return error.value


def is_open(account: ProviderRef = ACCOUNT) -> bool:
    return fail("provider_bad_response", account).code == "provider_unavailable"


def test_faults_in_a_row_open_it_and_one_call_finds_out_whether_it_works_again(clock: Clock) -> None:
    for _ in range(breaker.FAULTS):
        assert not is_open()
        fail()
    refused = fail()
    assert (refused.code, refused.retry_after) == ("provider_unavailable", breaker.OPEN_SECONDS)
    assert not is_open(replace(ACCOUNT, id=uuid.uuid4())), "every account has its own"
    assert not is_open(replace(ACCOUNT, updated_at=datetime(2026, 1, 2, tzinfo=UTC))), "a changed one begins anew"

    clock.now += breaker.OPEN_SECONDS
    with breaker.guarded(ACCOUNT, "m"):  # this one looks, and its caller leaves
        assert is_open(), "the others wait for what it finds"
    fail()  # the next one looks, and finds it dead
    assert is_open()
    clock.now += breaker.OPEN_SECONDS
    with breaker.guarded(ACCOUNT, "m") as call:
        call.begun()
    fail()
    assert not is_open()


def test_calls_are_counted_and_an_open_one_has_a_name_until_nobody_asks(clock: Clock) -> None:
    def calls() -> dict[str, float]:
        samples = next(iter(metrics.MODEL_CALLS.collect())).samples
        return {one.labels["outcome"]: one.value for one in samples if one.labels["provider"] == ACCOUNT.kind}

    breaker.forget()
    before = calls()
    with breaker.guarded(ACCOUNT, "m"):
        assert breaker.open_models() == []
    for _ in range(breaker.FAULTS + 1):
        fail()
    with pytest.raises(RuntimeError), breaker.guarded(replace(ACCOUNT, id=uuid.uuid4()), "m"):
        raise RuntimeError  # as one that its caller leaves
    assert breaker.open_models() == [("openai", "m")]
    gained = {outcome: count - before.get(outcome, 0) for outcome, count in calls().items()}
    assert {outcome: count for outcome, count in gained.items() if count} == {
        "done": 1, "provider_timeout": breaker.FAULTS, "breaker_open": 1, "left": 1,
    }  # fmt: skip
    clock.now += breaker.OPEN_SECONDS + breaker.WINDOW_SECONDS
    assert breaker.open_models() == []


@pytest.mark.parametrize("between", ["provider_auth_failed", "provider_rate_limited", "an answer", "a minute"])
def test_what_shows_that_the_vendor_lives_counts_from_the_beginning(clock: Clock, between: str) -> None:
    for _ in range(breaker.FAULTS - 1):
        fail()
    if between == "an answer":
        with pytest.raises(PaasError), breaker.guarded(ACCOUNT, "m") as call:
            call.begun()
            raise PaasError("provider_unavailable")  # in the middle of an answer
    elif between == "a minute":
        clock.now += breaker.WINDOW_SECONDS
    else:
        fail(between)
    fail()
    assert not is_open()
