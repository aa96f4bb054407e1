"""What a program is told in front of everything is what it would be told further inside (T15)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test.utils import override_settings

from core import metrics
from paas import turned_away
from paas.headers import SecureHeaders
from tenants.asgi import refuse
from tenants.gate import Busy


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/runs"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_it_is_the_answer_of_further_inside(path: str, scheme: str) -> None:
    sent: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await refuse(scope, receive, send, Busy())

    async def send(message: Any) -> None:
        sent.append(message)

    turned_away.answer.cache_clear()
    with override_settings(SECURE_HSTS_SECONDS=60):
        scope = {"type": "http", "path": path, "scheme": scheme, "headers": [], "method": "POST"}
        await SecureHeaders(inside)(scope, None, send)
        found = turned_away.TurnedAway(SimpleNamespace(turns_away=lambda scope: True)).refusal(scope)  # type: ignore[arg-type]
    turned_away.answer.cache_clear()
    assert found is not None
    head, _, body = found.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    assert status == b"HTTP/1.1 429 Too Many Requests"
    assert [tuple(line.split(b": ", 1)) for line in lines] == [tuple(one) for one in sent[0]["headers"]]
    assert body == sent[1]["body"]
    assert (b"strict-transport-security" in head) == (scheme == "https")


def test_people_are_told_further_inside_and_who_has_room_nothing() -> None:
    everybody = turned_away.TurnedAway(SimpleNamespace(turns_away=lambda scope: True))  # type: ignore[arg-type]
    nobody = turned_away.TurnedAway(SimpleNamespace(turns_away=lambda scope: False))  # type: ignore[arg-type]
    asked = {"type": "http", "method": "GET", "scheme": "http", "headers": []}
    assert everybody.refusal(asked | {"path": "/settings/agents/"}) is None
    assert nobody.refusal(asked | {"path": "/api/v1/me"}) is None


def test_it_is_counted() -> None:
    everybody = turned_away.TurnedAway(SimpleNamespace(turns_away=lambda scope: True))  # type: ignore[arg-type]
    asked = {"type": "http", "method": "GET", "scheme": "http", "headers": [], "path": "/api/v1/me"}
    counted = metrics.REQUESTS.labels("api", "429")
    before = counted._value.get()
    everybody.refusal(asked)
    assert counted._value.get() == before + 1
