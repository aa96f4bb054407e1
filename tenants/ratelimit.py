"""Rate limits: GCRA in Redis, one command a request (P40).

GCRA (ITU-T I.371, the "leaky bucket as a meter") keeps one number for each subject, the theoretical arrival time: a
request is admitted when that time is no further ahead of now than the burst allows, and moves it on by one interval.
So `burst` requests at once and `rate` in each `period` are admitted, never more, however many processes ask at once.
Redis's own clock is used; clocks of processes do not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.exceptions import RedisError

from core.errors import PaasError
from core.redis_client import client
from tenants import scope

# KEYS: one for each limit. ARGV: for each limit rate, period in microseconds, cost, burst. All are admitted, or none
# moves.
# Returns {0, number of the limit with the least left, how many are left, microseconds until all are} or
# {number of the limit that refused (1..), microseconds to wait}.
GCRA = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local moved, tight, least, full = {}, 0, math.huge, 0
for i = 1, #KEYS do
    local rate, period, cost, burst = unpack(ARGV, 4*i-3, 4*i)
    local interval = period / rate
    local most = interval * burst
    local arrival = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now) + interval * cost
    local ahead = arrival - now - most
    if ahead > 0 then return {i, math.ceil(ahead)} end
    moved[i] = arrival
    local left = math.floor((most - (arrival - now)) / interval + 0.000001)
    if left < least then tight, least, full = i, left, arrival - now end
end
for i = 1, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.0f', moved[i]), 'PX', math.ceil((moved[i] - now) / 1000) + 1)
end
return {0, tight, least, math.ceil(full)}
"""
# One request less for each of KEYS; ARGV as above.
GIVE_BACK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 1, #KEYS do
    local arrival = tonumber(redis.call('GET', KEYS[i]) or now) - ARGV[4*i-2] / ARGV[4*i-3] * ARGV[4*i-1]
    if arrival > now then
        redis.call('SET', KEYS[i], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
    else
        redis.call('DEL', KEYS[i])
    end
end
"""
TIMEOUT_SECONDS = 1.0
# A Redis that does not answer is left alone for so long: only one request in that time waits for it (A45).
AWAY_SECONDS = 2.0
MOST_LOCAL = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `rate` in `period` seconds for `subject`.

    subject: what is counted, such as `sign-in:203.0.113.7`; the bound tenant is put before it. cost: how much this
    request takes. burst: how many of them may come at once; None: all.
    """

    subject: str
    rate: int
    period: float
    cost: int = 1
    burst: int | None = None

    @property
    def at_once(self) -> int:
        return self.rate if self.burst is None else self.burst


@dataclass(frozen=True, slots=True)
class Room:
    """What a request that was admitted leaves: of the tightest of its limits, how many more, and the seconds until none
    counts any more."""

    limit: int
    left: int
    full_after: float


@cache
def _clients() -> tuple[Any, Any]:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
    return client, client.register_script(GCRA)


def check(*limits: Limit, fail_closed: bool = False) -> Room | None:
    """Count this request against `limits`, all or none; what is left then. Raises rate_limited with the time to wait.

    While Redis is away the process counts by itself (so each process admits the rate), or, with `fail_closed`,
    refuses with redis_unavailable.
    """
    if _is_away():
        return _without_redis(limits, fail_closed)
    try:
        return _judge(_clients()[1](keys=_keys(limits), args=_arguments(limits)), limits)
    except (RedisError, OSError):
        _went_away()
        return _without_redis(limits, fail_closed)


def room_of(limit: Limit) -> Room | None:
    """What is left of a limit now, without counting anything; None while Redis is away."""
    if _is_away():
        return None
    try:
        return _judge(_clients()[1](keys=_keys((limit,)), args=_arguments((replace(limit, cost=0),))), (limit,))
    except (RedisError, OSError):
        return None
    except PaasError:  # the rate was lowered meanwhile
        return Room(limit.rate, 0, limit.period)


def give_back(*limits: Limit) -> None:
    """Uncount one request that `check` admitted: what turned out harmless. Does nothing while Redis is away."""
    if limits:
        with contextlib.suppress(RedisError, OSError):
            _clients()[0].eval(GIVE_BACK, len(limits), *_keys(limits), *_arguments(limits))


_asynchronous: dict[asyncio.AbstractEventLoop, Any] = {}


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connections for `acheck` on the running event loop (the process's lifespan)."""
    loop = asyncio.get_running_loop()
    made = client(settings.REDIS_URL, patience=TIMEOUT_SECONDS)
    _asynchronous[loop] = made.register_script(GCRA)
    try:
        yield
    finally:
        del _asynchronous[loop]
        await made.aclose()


async def acheck(*limits: Limit, fail_closed: bool = False) -> Room | None:
    """`check` for code on the event loop; in a thread where no connections are `opened`."""
    script = _asynchronous.get(asyncio.get_running_loop())
    if script is None:
        return await scope.run_bound(check, *limits, fail_closed=fail_closed)
    if _is_away():
        return _without_redis(limits, fail_closed)
    try:
        return _judge(await script(keys=_keys(limits), args=_arguments(limits)), limits)
    except (RedisError, OSError):
        _went_away()
        return _without_redis(limits, fail_closed)


_away_until = 0.0


def _is_away() -> bool:
    return time.monotonic() < _away_until


def _went_away() -> None:
    global _away_until
    _away_until = time.monotonic() + AWAY_SECONDS


def _keys(limits: tuple[Limit, ...]) -> list[str]:
    prefix = scope.current_binding().key_prefix
    return [f"{prefix}:rate:{limit.subject}" for limit in limits]


def _arguments(limits: tuple[Limit, ...]) -> list[int]:
    return [
        number for limit in limits for number in (limit.rate, int(limit.period * 1_000_000), limit.cost, limit.at_once)
    ]


def _judge(answer: list[int], limits: tuple[Limit, ...]) -> Room:
    if answer[0]:
        raise RateLimited(limits[answer[0] - 1], answer[1] / 1_000_000)
    return Room(limits[answer[1] - 1].rate, answer[2], answer[3] / 1_000_000)


class RateLimited(PaasError):
    """rate_limited. wait (s): exactly how long until one more is admitted; clients are told whole seconds.

    of_address: an address was counted, and nobody whom a tenant knows.
    """

    def __init__(self, limit: Limit, wait: float) -> None:
        told = max(1, round(wait + 0.5))
        super().__init__(
            "rate_limited",
            f"Too many requests. Try again in {told} seconds.",
            retry_after=told,
            details={"limit": limit.rate, "seconds": limit.period},
        )
        self.wait = wait
        self.of_address = ":address:" in limit.subject


_arrivals: OrderedDict[str, float] = OrderedDict()


def _without_redis(limits: tuple[Limit, ...], fail_closed: bool) -> Room | None:
    if fail_closed:
        raise PaasError("redis_unavailable", retry_after=2) from None
    now, room = time.monotonic(), None
    for key, limit in zip(_keys(limits), limits, strict=True):
        interval = limit.period / limit.rate
        arrival, most = max(_arrivals.get(key, now), now) + interval * limit.cost, interval * limit.at_once
        if arrival - now > most:
            raise RateLimited(limit, arrival - now - most) from None
        _arrivals[key] = arrival
        _arrivals.move_to_end(key)
        while len(_arrivals) > MOST_LOCAL:
            _arrivals.popitem(last=False)
        left = int((most - (arrival - now)) / interval + 1e-6)
        if room is None or left < room.left:
            room = Room(limit.rate, left, arrival - now)
    return room


def forget_all() -> None:
    """Forget what was counted without Redis, and that it was away (between tests)."""
    global _away_until
    _away_until = 0.0
    _arrivals.clear()
