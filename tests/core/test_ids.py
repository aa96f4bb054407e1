"""Ids that sort by the moment they were made (RFC 9562)."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.ids import uuid7


def moment_of(one: uuid.UUID) -> int:
    return one.int >> 80


def test_a_uuid7_is_what_the_rfc_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.ids._last_ms", 0)  # other tests turn the clock forward
    before = time.time_ns() // 1_000_000
    one = uuid7()
    after = time.time_ns() // 1_000_000
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert before <= moment_of(one) <= after + 10


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=200))
def test_they_only_grow_whatever_the_clock_does(steps: list[int]) -> None:
    """A clock that stands still or goes back (NTP) must not break the order of messages."""
    now, found = [time.time_ns()], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids.time, "time_ns", lambda: now[0])
        for step in steps:
            now[0] += step * 100_000
            found.append(uuid7())
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert all(one.version == 7 for one in found)


def test_more_in_a_millisecond_than_the_counter_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns() + 10**9
    monkeypatch.setattr(ids.time, "time_ns", lambda: now)
    found = [uuid7() for _ in range(20_000)]
    assert found == sorted(set(found))
    assert moment_of(found[-1]) - now // 1_000_000 < 10


def test_threads_never_get_the_same() -> None:
    found: list[uuid.UUID] = []

    def work() -> None:
        mine = [uuid7() for _ in range(2000)]
        assert mine == sorted(mine)
        found.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 16_000


def test_the_rest_is_random() -> None:
    tails = {uuid7().int & ((1 << 62) - 1) for _ in range(1000)}
    assert len(tails) == 1000
    assert max(tails) > 1 << 61
    assert min(tails) < 1 << 61
