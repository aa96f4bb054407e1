"""What is left, at the doors: headers, refusals, what programs are told; and limits of requests on every level."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from accounts import rates
from chat import limit_headers
from tests.chat.ledger import eventually

CALL = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0ms"), (0.0124, "12ms"), (1, "1s"), (59.6, "1m0s"), (360, "6m0s"), (3661, "1h1m1s"), (-5, "0ms")],
)
def test_durations_as_openai_writes_them(seconds: float, said: str) -> None:
    assert limit_headers.duration(seconds) == said


async def test_a_call_says_what_is_left(site: Any, api_key: Any, ledger: Any) -> None:
    """Whole and streamed, of tokens with this very call held; and 429 says when."""
    program = site.client("acme", token=api_key())
    ledger.limit(500, period="day")
    for stream in (False, True):
        async with program.post("/v1/chat/completions", json=CALL | {"stream": stream}) as answer:
            assert answer.status == 200
            said = {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}
            await answer.read()
        assert said["x-ratelimit-limit-tokens"] == "500"
        left = int(said["x-ratelimit-remaining-tokens"])
        assert 400 < left < 480
        assert re.fullmatch(r"(\d+h)?(\d+m)?\d+(s|ms)", said["x-ratelimit-reset-tokens"])
        assert int(said["x-ratelimit-remaining-requests"]) < int(said["x-ratelimit-limit-requests"])
    async with program.post("/api/v1/runs", json={"message": "hi"}) as answer:
        assert answer.status == 202
        assert answer.headers["x-ratelimit-limit-tokens"] == "500"
    await eventually(lambda: not ledger.left_behind())
    ledger.limit(1, period="day")
    async with program.post("/v1/chat/completions", json=CALL) as answer:
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (429, "quota_exceeded")
        assert (answer.headers["x-ratelimit-limit-tokens"], answer.headers["x-ratelimit-remaining-tokens"]) == (
            "1",
            "0",
        )
        assert 0 < int(answer.headers["Retry-After"]) <= 86_400
        assert "of tokens a day leaves 0 of 1" in body["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [{"max_tokens": -1}, {"max_tokens": 0}, {"max_tokens": 10**30}, {"max_tokens": 1.5}, {"max_tokens": "9"}, {"n": 100},
     {"temperature": "NaN"}],
)  # fmt: skip
async def test_nonsense_is_refused_before_anything_is_held(site: Any, api_key: Any, ledger: Any, body: Any) -> None:
    """A38; what is only huge is cut to what the model can write and the limits leave."""
    program = site.client("acme", token=api_key())
    async with program.post("/v1/chat/completions", json=CALL | body) as answer:
        found = await answer.json()
    if answer.status == 200:
        assert body["max_tokens"] == 10**30
    else:
        assert (answer.status, found["error"]["code"]) == (400, "validation_failed")
        assert ledger.value("SELECT count(*) FROM usage_reservation") == 0


@pytest.mark.parametrize("level", ["user", "key", "agent", "tenant"])
async def test_requests_a_minute_of_one(site: Any, api_key: Any, ledger: Any, monkeypatch: Any, level: str) -> None:
    """P40 for limits of their own: exactly five of twelve, whatever door; others are not kept back."""
    monkeypatch.setattr(rates, "PERIOD_SECONDS", 3600.0)
    person = await site.signed_in("member")
    program = site.client("acme", token=api_key())
    subjects = {
        "user": "SELECT id FROM accounts_user WHERE email = 'member@acme.test'",
        "key": "SELECT id FROM accounts_apikey ORDER BY created_at DESC LIMIT 1",
        "agent": "SELECT id FROM agents_agent WHERE slug = 'assistant'",
        "tenant": "SELECT id FROM tenants_tenant WHERE slug = 'acme'",
    }
    ledger.limit(5, "requests", "minute", level=level, subject=ledger.value(subjects[level]))
    await _forget()
    asker, other = (person, program) if level != "key" else (program, person)

    async def ask(client: Any) -> int:
        async with client.post("/api/v1/runs", json={"agent": "assistant", "message": "hi"}) as answer:
            return int(answer.status)

    found = await asyncio.gather(*(ask(asker) for _ in range(12)))
    assert sorted(found) == [202] * 5 + [429] * 7
    assert await ask(other) == (202 if level in ("user", "key") else 429)
    if level == "agent":
        async with asker.get("/api/v1/me") as answer:
            assert answer.status == 200


async def _forget() -> None:
    from accounts import keys
    from agents import access
    from tenants import resolve

    for memory in (keys, access, resolve):
        memory.forget_all()
