"""UTC, and the month that tokens are booked to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock

AWARE = st.datetimes(
    min_value=datetime(2000, 1, 2),
    max_value=datetime(2100, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]),
)


def test_now_is_aware() -> None:
    assert clock.now().tzinfo is UTC
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 1


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=8))), date(2026, 1, 1)),
        (datetime(2026, 1, 31, 20, 0, tzinfo=timezone(timedelta(hours=-8))), date(2026, 2, 1)),
    ],
)
def test_the_month_is_utcs(moment: datetime, month: date) -> None:
    assert clock.month_of(moment) == month


@given(AWARE)
def test_a_moment_lies_in_its_month(moment: datetime) -> None:
    """A37: each moment in exactly one."""
    month = clock.month_of(moment)
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    assert start <= moment < clock.next_month(month)
    assert clock.month_of(clock.next_month(month)) == clock.next_month(month).date()
    assert clock.month_of(clock.next_month(month) - timedelta(microseconds=1)) == month
