"""The one clock: timezone-aware UTC, and the billing month."""

from __future__ import annotations

from datetime import UTC, date, datetime


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def month_of(moment: datetime) -> date:
    """The first day of the UTC month that `moment` is booked to."""
    return moment.astimezone(UTC).date().replace(day=1)


def next_month(first_day: date) -> datetime:
    """When the month that starts on `first_day` ends: midnight UTC of the next month's first day."""
    year, month = (first_day.year + 1, 1) if first_day.month == 12 else (first_day.year, first_day.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)
