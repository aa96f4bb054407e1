"""When something is due again and again: by an interval, or by a cron expression in a time zone."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, CroniterError, croniter

MIN_SECONDS = 300
MAX_SECONDS = 366 * 86_400
LOOKED_AT = 60  # due times: whatever minutes an expression names, they all are among these
DICE = re.compile(r"(?i)(^|[ ,/])[rh]([ ,/]|$)")  # croniter's own letters for "at random"
FIVE_FIELDS = re.compile(r"[0-9A-Za-z*/,#?-]+( [0-9A-Za-z*/,#?-]+){4}")

NO_CRON = "This is no cron expression of five fields, such as 0 9 * * 1-5."
NEVER = "This day never comes."
TOO_OFTEN = f"At most every {MIN_SECONDS // 60} minutes."
NO_INTERVAL = f"From {MIN_SECONDS} seconds to {MAX_SECONDS // 86_400} days."
NO_ZONE = "There is no such time zone. Write it like Europe/Berlin."
ONE_OF = "Give an interval or a cron expression, one of them."


@dataclass(frozen=True, slots=True)
class Timing:
    """cron: five fields, or empty; then every_seconds holds. timezone: an IANA name; it matters to cron only."""

    cron: str
    every_seconds: int | None
    timezone: str

    def problems(self, start: datetime) -> dict[str, str]:
        """What is wrong with it, by field; empty: nothing. `start`: from when on its times are tried."""
        if self.timezone not in timezones():
            return {"timezone": NO_ZONE}
        if bool(self.cron) == (self.every_seconds is not None):
            return {"cron" if self.cron else "every_seconds": ONE_OF}
        if self.every_seconds is not None:
            return {} if MIN_SECONDS <= self.every_seconds <= MAX_SECONDS else {"every_seconds": NO_INTERVAL}
        if not FIVE_FIELDS.fullmatch(self.cron) or DICE.search(self.cron):
            return {"cron": NO_CRON}
        try:
            times = self.times(start, LOOKED_AT)
        except CroniterBadDateError:
            return {"cron": NEVER}
        except (CroniterError, ValueError, OverflowError):
            return {"cron": NO_CRON}
        gap = min(later - earlier for earlier, later in itertools.pairwise(times))
        return {"cron": TOO_OFTEN} if gap < timedelta(seconds=MIN_SECONDS) else {}

    def after(self, moment: datetime, since: datetime) -> datetime:
        """The first due time later than `moment`, in UTC. since: a time from which an interval counts."""
        if self.every_seconds is not None:
            every = timedelta(seconds=self.every_seconds)
            return since + every * max(1, (moment - since) // every + 1)
        return self.times(moment, 1)[0]

    def times(self, moment: datetime, count: int) -> list[datetime]:
        """The next due times of the cron expression, in UTC.

        The local clock decides: where it is put on, a time that it leaves out comes right after; where it is put back,
        a time that comes twice counts once, unless the expression is for every hour.
        """
        found: list[datetime] = []
        zone, hourly = ZoneInfo(self.timezone), "*" in self.cron.split()[1]
        source = croniter(self.cron, moment.astimezone(zone))
        while len(found) < count:
            due = source.get_next(datetime).astimezone(UTC)
            again = due.astimezone(zone).fold == 1 and not hourly
            if due > (found[-1] if found else moment) and not again:
                found.append(due)
        return found

    def upcoming(self, following: datetime, count: int) -> list[datetime]:
        """`following`, which is the next due time, and those after it: `count` in all."""
        if self.every_seconds is not None:
            return [following + timedelta(seconds=self.every_seconds) * number for number in range(count)]
        return [following, *self.times(following, count - 1)] if count > 1 else [following]


@cache
def timezones() -> frozenset[str]:
    """The names of all time zones of this machine."""
    return frozenset(available_timezones())
