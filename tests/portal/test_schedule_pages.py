"""The pages of schedules, as people use them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import translation

from chat.models import Schedule
from chat.timing import Timing
from portal.schedule_forms import in_words
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.portal.test_key_pages import Person

PLACE = "/settings/schedules/"
FORM = {
    "name": "Morning <b>", "agent": "assistant", "prompt": "What is new?", "kind": "interval", "every": "2",
    "unit": "hours", "cron": "", "timezone": "Europe/Berlin", "mode": "one", "max_failures": "3",
}  # fmt: skip


@pytest.fixture
async def member(site: Any, db: Platform) -> Any:
    yield Person(site, await site.signed_in("member"))

    def clean() -> None:
        with scope.bind(db.acme):
            Schedule.objects.all().delete()

    in_thread(clean)


def stored(db: Platform) -> Any:
    def read() -> Any:
        with scope.bind(db.acme):
            return Schedule.objects.get()

    return in_thread(read)


async def test_a_question_is_scheduled_changed_paused_run_and_deleted(member: Person, db: Platform) -> None:
    status, page = await member.get(PLACE)
    assert (status, "Nothing is scheduled yet" in page) == (200, True)
    assert (await member.get(f"{PLACE}new/"))[0] == 200
    status, page = await member.post(f"{PLACE}new/", **FORM)
    assert (status, "Every 2 hours" in page, "Morning &lt;b&gt;" in page) == (200, True, True)
    assert len(re.findall(r"<time datetime", page)) == 3
    found = stored(db)
    assert (found.every_seconds, found.timezone, found.mode, found.max_failures) == (7200, "Europe/Berlin", "one", 3)
    place = f"{PLACE}{found.id}/"
    status, page = await member.get(place)
    assert (status, 'value="2"' in page, "It was not asked yet" in page) == (200, True, True)
    status, page = await member.post(place, **FORM | {"kind": "cron", "cron": " 30  7 * * 1-5 "})
    assert "Monday to Friday at 07:30" in page
    assert "is paused" in (await member.post(f"{place}pause/"))[1]
    assert "goes on" in (await member.post(f"{place}pause/", on="1"))[1]
    assert "within a few seconds" in (await member.post(f"{place}run-now/"))[1]
    assert "not ended yet" in (await member.post(f"{place}run-now/"))[1]
    assert "Waits for a worker" in (await member.get(place))[1]
    assert "confirm it first" in (await member.post(f"{place}delete/"))[1]
    assert "was deleted" in (await member.post(f"{place}delete/", sure="on"))[1]
    assert (await member.get(place))[0] == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"every": "1", "unit": "minutes"}, "From 300 seconds to 366 days"),
        ({"every": ""}, "This field is required"),
        ({"kind": "cron", "cron": "every day"}, "no cron expression of five fields"),
        ({"kind": "cron", "cron": "*/2 * * * *"}, "At most every 5 minutes"),
        ({"timezone": "Mars/Olympus"}, "Select a valid choice"),
    ],
)
async def test_mistakes_stand_at_their_fields(member: Person, change: dict[str, str], said: str) -> None:
    status, page = await member.post(f"{PLACE}new/", **FORM | change)
    assert status == 200
    assert re.search(rf'class="field-error" role="alert">[^<]*{said}', page), said


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing("", 86_400, "UTC"), ("Every day", "每天")),
        (Timing("", 900, "UTC"), ("Every 15 minutes", "每 15 分钟")),
        (Timing("5 9 * * *", None, "UTC"), ("Every day at 09:05", "每天 09:05")),
        (Timing("0 9 * * 1", None, "UTC"), ("Monday at 09:00", "星期一 09:00")),
        (Timing("0 9 * * 0", None, "UTC"), ("Sunday at 09:00", "星期日 09:00")),
        (Timing("0 */6 1 * *", None, "UTC"), ("By the cron expression 0 */6 1 * *", "按 cron 表达式 0 */6 1 * *")),
    ],
)
def test_when_in_words(timing: Timing, words: tuple[str, str]) -> None:
    for language, said in zip(("en", "zh-hans"), words, strict=True):
        with translation.override(language):
            assert in_words(timing) == said


async def test_what_is_wrong_in_a_field_that_does_not_count_is_no_matter(member: Person, db: Platform) -> None:
    """The page hides the interval from who chose cron, and the other way round."""
    _status, page = await member.post(f"{PLACE}new/", **FORM | {"kind": "cron", "cron": "0 9 * * *", "every": "0"})
    assert "was scheduled" in page
    assert stored(db).cron == "0 9 * * *"
    place = f"{PLACE}{stored(db).id}/"
    _status, page = await member.post(place, **FORM | {"kind": "interval", "cron": "x" * 101})
    assert "was changed" in page
    assert (stored(db).cron, stored(db).every_seconds) == ("", 7200)
