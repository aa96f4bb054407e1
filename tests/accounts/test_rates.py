"""How many requests a minute: exactly as many as allowed, whoever asks at the same time (P40)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts import keys, rate_gate, rates
from accounts.models import ApiKey
from core.errors import PaasError
from paas import env
from tenants import client, gate, ratelimit, resolve, scope
from tenants.client import Client
from tenants.models import Plan
from tenants.ratelimit import RateLimited
from tests.conftest import Platform, in_thread


@pytest.fixture
def limits(monkeypatch: Any) -> Callable[..., None]:
    """`limits(read=20)`: the rates, an hour's, so that nothing comes back while a test runs."""
    monkeypatch.setattr(rates, "PERIOD_SECONDS", 3600.0)

    def change(**given: int) -> None:
        monkeypatch.setattr(settings, "RATE_LIMITS", dict.fromkeys(rates.CLASSES, 0) | given)

    return change


async def status(session: Any, method: str, path: str, body: Any = None, **headers: str) -> int:
    async with session.request(method, path, json=body, headers=headers) as answer:
        await answer.read()
        return int(answer.status)


@pytest.mark.exhaustive
async def test_two_hundred_at_once_on_a_limit_of_twenty(site: Any, api_key: Any, limits: Any) -> None:
    """P40: exactly 20, at the streaming doors and at Django's, which share the bucket."""
    limits(read=20)
    program = site.client("acme", token=api_key())
    paths = ["/v1/models", "/api/v1/me"] * 100
    found = Counter(await asyncio.gather(*(status(program, "GET", path) for path in paths)))
    assert found == {200: 20, 429: 180}
    assert await status(site.client("acme", token=api_key("globex")), "GET", "/v1/models") == 401


@pytest.mark.parametrize("away", [False, True])
def test_a_minutes_requests_do_not_come_at_once(actor: Any, limits: Any, away: bool) -> None:
    """T16: of a class five seconds' worth, or sixty; a limit that somebody set is not cut. With and without Redis."""
    if away:
        ratelimit._went_away()
    limits(read=90, write=72_000)
    person = actor("member")
    for count, kind in ((60, "read"), (100, "write")):
        for _ in range(count):
            rates.admit_now(person, kind)
    with pytest.raises(RateLimited) as refused:
        rates.admit_now(person, "read")
    assert 39 < refused.value.wait <= 40, "until one more is due, not all"
    assert refused.value.details == {"limit": 90, "seconds": 3600.0}
    whole = replace(person, rates=(("user:x", 90),))
    limits()
    for _ in range(90):
        rates.admit_now(whole, "read")
    with pytest.raises(RateLimited):
        rates.admit_now(whole, "read")


async def test_a_hundred_spoofed_addresses_share_a_bucket(site: Any, limits: Any) -> None:
    """P40: what a client writes into X-Forwarded-For counts for nothing."""
    limits(anonymous=10)
    stranger = site.client("acme")
    spoofed = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(100)]
    found = await asyncio.gather(*(status(stranger, "GET", "/api/v1/me", **one) for one in spoofed))
    assert Counter(found) == {401: 10, 429: 90}
    wrong = site.client("acme", token="ak_" + "x" * 30)
    assert await status(wrong, "GET", "/v1/models") == 429, "wrong keys are strangers too"


async def test_an_ipv6_network_is_one_stranger(db: Platform, limits: Any) -> None:
    limits(anonymous=5)
    refused = 0
    for number in range(8):
        with client.serving(Client(f"2001:db8:1:2::{number + 1}")), scope.bind(db.acme):
            try:
                await rates.admit(None, "anonymous")
            except PaasError as error:
                assert error.code == "rate_limited"
                refused += 1
    assert refused == 3
    with client.serving(Client("2001:db8:1:3::1")), scope.bind(db.acme):
        await rates.admit(None, "anonymous")


async def test_each_class_person_and_key_has_its_own(site: Any, api_key: Any, limits: Any, db: Platform) -> None:
    limits(read=2, write=1, turn=1)
    people = [await site.signed_in(name) for name in ("owner", "member")]
    program = site.client("acme", token=api_key())
    for session in (*people, program):
        assert [await status(session, "GET", "/api/v1/me") for _ in range(3)] == [200, 200, 429]
    turn = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    assert [await status(program, "POST", "/v1/chat/completions", turn) for _ in range(2)] == [200, 429]
    assert await status(program, "POST", "/api/v1/ws-ticket") == 201


async def test_who_asks_on_is_refused_in_front_of_django(
    site: Any, api_key: Any, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T16: the same request by the same credential, for two seconds. Anything else is judged by itself."""
    limits(read=1)
    asked: list[str] = []
    real = rates.admit_now
    monkeypatch.setattr(rates, "admit_now", lambda actor, kind: [asked.append(kind), real(actor, kind)])
    loud, other, person = (
        site.client("acme", token=api_key()),
        site.client("acme", token=api_key(name="other")),
        await site.signed_in("member"),
    )
    assert [await status(loud, "GET", "/api/v1/me") for _ in range(10)] == [200] + [429] * 9
    assert asked == ["read", "read"]
    async with loud.get("/api/v1/me") as answer:
        assert (await answer.json())["error"]["code"] == "rate_limited"
        assert int(answer.headers["Retry-After"]) > 3000
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert await status(loud, "GET", "/api/v1/agents") == 429
    assert await status(loud, "POST", "/api/v1/ws-ticket") == 201
    assert [await status(one, "GET", "/api/v1/me") for one in (other, person)] == [200, 200]
    assert len(asked) == 6
    limits()
    monkeypatch.setattr(rate_gate, "clock", lambda: time.monotonic() + rate_gate.LONGEST_SECONDS)
    assert await status(loud, "GET", "/api/v1/me") == 200


async def test_a_tenant_does_not_answer_for_strangers_at_its_host(
    site: Any, acme: Any, api_key: Any, limits: Any
) -> None:
    """T16: what an address is refused slows nobody of the tenant's; what a key of its own is refused does."""
    limits(anonymous=1, read=1)
    over = gate.of_process._over
    for path in ("/api/v1/me", "/v1/models"):
        stranger, ours = site.client("acme", token="ak_nobodys"), site.client("acme", token=api_key(name=path))
        assert await status(stranger, "GET", path) in (401, 429)
        assert [await status(stranger, "GET", path) for _ in range(3)] == [429] * 3
        assert over == {}
        assert [await status(ours, "GET", path) for _ in range(3)] == [200, 429, 429]
        assert list(over) == [acme.id]
        over.clear()


async def test_who_asks_on_for_turns_is_refused_from_memory(
    site: Any, api_key: Any, limits: Any, rates_asked: list[str]
) -> None:
    """T16: at the streaming doors too, in the door's own shape; what an agent's own rate refuses is not remembered."""
    limits(turn=1)
    loud, other = site.client("acme", token=api_key()), site.client("acme", token=api_key(name="other"))
    turn = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    assert [await status(loud, "POST", "/v1/chat/completions", turn) for _ in range(6)] == [200] + [429] * 5
    assert rates_asked == ["turn", "turn"]
    async with loud.post("/v1/chat/completions", json=turn) as answer:
        assert (await answer.json())["error"]["code"] == "rate_limited"
        assert int(answer.headers["Retry-After"]) > 3000
    assert await status(loud, "GET", "/v1/models") == 200
    assert await status(other, "POST", "/v1/chat/completions", turn) == 200


async def test_keys_below_a_key_share_its_bucket(site: Any, db: Platform, limits: Any) -> None:
    """Making more keys makes nobody faster."""
    limits(read=3)

    def make() -> list[str]:
        with scope.bind(db.acme):
            parent, token = keys.key_create(name="parent", scopes=["*"], actor="test")
            children = [
                keys.key_create(name=f"child {n}", scopes=["*"], actor="test", parent=parent)[1] for n in range(3)
            ]
            return [token, *children]

    found = [await status(site.client("acme", token=token), "GET", "/v1/models") for token in in_thread(make)]
    assert found == [200, 200, 200, 429]


async def test_the_whole_tenant_has_what_its_plan_says(site: Any, api_key: Any, limits: Any) -> None:
    """On its own host and on the platform's, all people and keys together; no other tenant feels it."""
    limits()

    def plans(change: dict[str, int | None] | None = None) -> dict[str, int | None]:
        with scope.platform():
            for plan in Plan.objects.all():
                if change is not None:
                    Plan.objects.filter(pk=plan.pk).update(requests_per_minute=change[plan.pk])
            return dict(Plan.objects.values_list("pk", "requests_per_minute"))

    before = in_thread(plans)
    others, programs = site.client("globex", token=api_key("globex")), [site.client("acme", token=api_key())]
    programs.append(site.client("", token=programs[0].headers["Authorization"].partition(" ")[2]))
    person = await site.signed_in("member")
    in_thread(lambda: plans(dict.fromkeys(before, 4)))
    resolve.forget_all()
    keys.forget_all()
    try:
        found = [await status(session, "GET", "/v1/models") for session in (*programs, person) for _ in range(2)]
        assert found == [200] * 4 + [429] * 2
        assert await status(others, "GET", "/v1/models") == 200
    finally:
        in_thread(lambda: plans(before))
        resolve.forget_all()


async def test_what_a_refusal_says(site: Any, api_key: Any, limits: Any) -> None:
    """Each protocol in its own shape, with the time to wait."""
    limits(read=1, turn=1, stream=1)
    program = site.client("acme", token=api_key())
    for path, shape in (("/v1/models", "openai"), ("/api/v1/agents", "native")):
        await status(program, "GET", path)
        async with program.get(path) as answer:
            assert answer.status == 429
            error = (await answer.json())["error"]
            assert error["code"] == "rate_limited"
            assert ("type" in error) == (shape == "openai")
            wait = int(answer.headers["Retry-After"])
            assert 1 <= wait <= 3600
            assert answer.headers["RateLimit-Reset"] == str(wait)
            assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("1", "0")
            assert answer.headers["RateLimit-Policy"] == "1;w=3600"
    async with program.ws_connect("/ws/chat/") as socket:
        assert (await socket.receive_json())["type"] == "ready"
        frame = {"type": "turn.start", "ref": "r", "message": "hi"}
        await socket.send_json(frame)
        assert (await socket.receive_json())["type"] == "turn.accepted"
        await socket.send_json(frame | {"ref": "again"})
        while (said := await socket.receive_json(timeout=10)).get("ref") != "again":
            pass
        assert (said["type"], said["code"]) == ("error", "rate_limited")
        assert said["retry_after"] >= 1
    async with program.ws_connect("/ws/chat/") as socket:
        message = await socket.receive()
        assert (message.data, message.extra) == (4429, "rate_limited")


async def test_without_redis_a_process_counts_by_itself_and_sign_in_waits(
    db: Platform, limits: Any, monkeypatch: Any
) -> None:
    """P40, A45: and a Redis that is away is not asked by every request."""
    limits(read=3, auth=3)
    monkeypatch.setattr(settings, "REDIS_URL", "unix:///nonexistent/redis.sock")
    asked = 0

    def went() -> None:
        nonlocal asked
        asked += 1
        real()

    real = ratelimit._went_away
    monkeypatch.setattr(ratelimit, "_went_away", went)
    ratelimit.forget_all()
    actor = _actor(db)
    async with ratelimit.opened():
        for _ in range(3):
            await rates.admit(actor, "read")
        with pytest.raises(PaasError) as error:
            await rates.admit(actor, "read")
        assert error.value.code == "rate_limited"
        with client.serving(Client("203.0.113.1")), scope.bind(db.acme), pytest.raises(PaasError) as error:
            await rates.admit(None, "auth")
        assert error.value.code == "redis_unavailable"
    assert asked == 1


def _actor(db: Platform) -> Any:
    def make() -> Any:
        with scope.bind(db.acme):
            keys.key_create(name="k", scopes=["*"], actor="test")
            return keys.actor_of_key(ApiKey.objects.get().pk)

    return in_thread(make)


async def test_0_is_no_limit_and_costs_no_call(db: Platform, limits: Any, monkeypatch: Any) -> None:
    limits()

    async def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ratelimit, "acheck", never)
    actor = _actor(db)
    unlimited = type(actor)(scope.TenantRef(db.acme.id, "acme"), None, actor.key_id, "key", frozenset())
    await rates.admit(unlimited, "read")


def test_the_variable(monkeypatch: Any) -> None:
    default = {"read": 1, "turn": 2}
    assert env.rates("RATES_OF_A_TEST", default) == default
    monkeypatch.setenv("RATES_OF_A_TEST", "turn=5, read=0")
    assert env.rates("RATES_OF_A_TEST", default) == {"read": 0, "turn": 5}
    for wrong in ("reed=3", "read", "read=-1", "read=many", "read=1.5"):
        monkeypatch.setenv("RATES_OF_A_TEST", wrong)
        with pytest.raises(ImproperlyConfigured, match="RATES_OF_A_TEST"):
            env.rates("RATES_OF_A_TEST", default)


def test_every_class_has_a_rate() -> None:
    from paas.settings import base

    assert set(base.RATE_LIMITS) == set(rates.CLASSES)
