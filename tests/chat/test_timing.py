"""When a schedule is due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chat.timing import NEVER, NO_CRON, NO_INTERVAL, NO_ZONE, ONE_OF, TOO_OFTEN, Timing

START = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timing", "problems"),
    [
        (Timing("0 9 * * 1-5", None, "Asia/Shanghai"), {}),
        (Timing("", 300, "UTC"), {}),
        (Timing("*/5 * * * MON", None, "UTC"), {}),
        (Timing("* * * * *", None, "UTC"), {"cron": TOO_OFTEN}),
        (Timing("0,2 9 1 1 *", None, "UTC"), {"cron": TOO_OFTEN}),
        (Timing("0 0 30 2 *", None, "UTC"), {"cron": NEVER}),
        *[
            (Timing(cron, None, "UTC"), {"cron": NO_CRON})
            for cron in (
                "@daily",
                "0 9 * *",
                "0 0 9 * * *",
                "61 * * * *",
                "R R * * *",
                "H 1 * * *",
                "x",
                "0 9 * * 1-5\n",
            )
        ],
        (Timing("", 299, "UTC"), {"every_seconds": NO_INTERVAL}),
        (Timing("", 10**9, "UTC"), {"every_seconds": NO_INTERVAL}),
        (Timing("", None, "UTC"), {"every_seconds": ONE_OF}),
        (Timing("0 9 * * *", 3600, "UTC"), {"cron": ONE_OF}),
        (Timing("0 9 * * *", None, "Europe/Nowhere"), {"timezone": NO_ZONE}),
        (Timing("0 9 * * *", None, "../../etc/passwd"), {"timezone": NO_ZONE}),
    ],
)
def test_what_may_be_set(timing: Timing, problems: dict[str, str]) -> None:
    assert timing.problems(START) == problems


def test_the_clock_of_the_place_decides() -> None:
    shanghai = Timing("0 9 * * 1-5", None, "Asia/Shanghai")
    assert shanghai.after(START, START) == datetime(2026, 11, 26, 1, 0, tzinfo=UTC)
    assert shanghai.upcoming(datetime(2026, 11, 27, 1, tzinfo=UTC), 2)[1] == datetime(2026, 11, 30, 1, tzinfo=UTC)


def test_when_the_clock_is_put_on_or_back() -> None:
    """02:30 of Berlin does not exist on 29 March 2026, and comes twice on 25 October."""
    berlin = Timing("30 2 * * *", None, "Europe/Berlin")
    spring = berlin.times(datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
    assert [time.isoformat()[:16] for time in spring] == ["2026-03-29T01:00", "2026-03-30T00:30"]
    autumn = berlin.times(datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [time.isoformat()[:16] for time in autumn] == ["2026-10-25T00:30", "2026-10-26T01:30"]
    hourly = Timing("30 * * * *", None, "Europe/Berlin").times(datetime(2026, 10, 25, 0, tzinfo=UTC), 3)
    assert [time.hour for time in hourly] == [0, 1, 2]


def test_what_was_missed_is_due_once_and_the_beat_is_kept() -> None:
    since = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
    hourly = Timing("", 3600, "UTC")
    assert hourly.after(START, since) == datetime(2026, 11, 25, 13, 0, tzinfo=UTC)
    assert hourly.after(since, since) == datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
    assert hourly.upcoming(START, 2)[1] == datetime(2026, 11, 25, 13, 30, tzinfo=UTC)
