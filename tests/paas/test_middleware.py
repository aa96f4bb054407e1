"""Which of a request's steps take a thread."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from paas.middleware import WAITING
from tests.accounts.factors import send
from tests.conftest import PASSWORD


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to a thread from the event loop."""
    found: list[str] = []
    send_there = asyncio.BaseEventLoop.run_in_executor

    def counted(self: Any, executor: Any, func: Any, *args: Any) -> Any:
        found.append(repr(func))
        return send_there(self, executor, func, *args)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", counted)
    return found


async def test_a_small_page_takes_few_trips_to_threads(site: Any, trips: list[str]) -> None:
    client = site.client("acme")
    for _ in range(2):
        trips.clear()
        async with client.get("/login/") as answer:
            assert answer.status == 200
    # Django's CSRF check of the view, the view, two signals' receivers, and its thread's end; nineteen more without.
    assert len(trips) <= 6, trips


def test_every_middleware_that_would_take_threads_is_looked_at() -> None:
    listed = [import_string(name) for name in settings.MIDDLEWARE]
    mixins = {one for one in listed if isinstance(one, type) and issubclass(one, MiddlewareMixin)}
    answering = {one for one in mixins if hasattr(one, "process_request") or hasattr(one, "process_response")}
    assert answering == set(WAITING)


async def test_a_changed_session_is_stored(site: Any) -> None:
    client = site.client("acme")
    assert (await send(client, "/login/", email="member@acme.test", password=PASSWORD))[0] == 302
    async with client.get("/api/v1/me") as answer:
        assert answer.status == 200


async def test_a_message_that_was_shown_is_not_shown_again(site: Any) -> None:
    client = await site.signed_in("member")
    assert (
        await send(client, "/profile/", **{"form": "person", "person-name": "Another Name", "person-language": ""})
    )[0] == 302
    shown = []
    for _ in range(2):
        async with client.get("/profile/") as page:
            shown.append('class="notice success' in await page.text())
    assert shown == [True, False]
