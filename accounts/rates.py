"""How many requests a minute a person, a key, a tenant or an unknown address may make, by class of route (P40).

Everybody has one bucket for each class in their tenant; keys below a key share its bucket, so that making more keys
makes nobody faster. Beside it stands one bucket for all requests of the tenant, of the size its plan or a limit of its
own gives, and one for each limit of the person's or key's own. Who cannot be identified is counted by address. One
Redis command a request asks all of it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts import rate_gate
from accounts.actors import Actor
from tenants import client, ratelimit, scope
from tenants.ratelimit import Limit, RateLimited, Room

# `turn` asks a model. `stream` opens one to follow. `admin` changes the workspace. `auth` proves who somebody is,
# `anonymous` is everybody who did not, or could not; both by address.
CLASSES = ("turn", "stream", "read", "write", "admin", "auth", "anonymous")
PERIOD_SECONDS = 60.0
# Of a minute's requests of a class, as many may come at once: with a whole minute's, one who asks for all that a web
# process can do held up everybody else for as long (T16). A page asks for some ten.
BURST_SECONDS, LEAST_BURST = 5.0, 60
FAIL_CLOSED = frozenset({"auth"})


def limits_for(actor: Actor | None, rate_class: str) -> tuple[Limit, ...]:
    """The buckets that a request takes from; None: nobody that is known. A rate of 0 in the settings is no limit."""
    rate = settings.RATE_LIMITS[rate_class]
    if actor is None:
        who = f"address:{client.network_of(client.current().address)}"
        return (Limit(f"{rate_class}:{who}", rate, PERIOD_SECONDS),) if rate else ()
    subject = f"key:{actor.root_key_id or actor.key_id}" if actor.key_id else f"user:{actor.user_id}"
    burst = min(rate, max(LEAST_BURST, int(rate * BURST_SECONDS / PERIOD_SECONDS)))
    found: tuple[Limit, ...] = (Limit(f"{rate_class}:{subject}", rate, PERIOD_SECONDS, burst=burst),) if rate else ()
    found += tuple(Limit(f"own:{whose}", max(own, 1), PERIOD_SECONDS) for whose, own in actor.rates)
    whole = actor.tenant.requests_per_minute
    return found if whole is None else (*found, Limit("tenant", max(whole, 1), PERIOD_SECONDS))


async def admit(actor: Actor | None, rate_class: str) -> Room | None:
    """Count a request of `actor` at a streaming door; what is left afterwards, where it is known.

    Raises rate_limited; `auth` without Redis: redis_unavailable.
    """
    if limits := limits_for(actor, rate_class):
        # On the platform host too: a tenant has one bucket, whichever door it comes by.
        with scope.use(scope.binding_for(actor.tenant) if actor else scope.bound_or_none()):
            return await ratelimit.acheck(*limits, fail_closed=rate_class in FAIL_CLOSED)
    return None


async def admit_to_agent(actor: Actor, agent_id: uuid.UUID, rate: int | None) -> None:
    """Count a turn with an agent that has a limit of its own. Raises rate_limited."""
    if rate is not None:
        with scope.use(scope.binding_for(actor.tenant)):
            await ratelimit.acheck(Limit(f"own:agent:{agent_id}", max(rate, 1), PERIOD_SECONDS))


def admit_now(actor: Actor | None, rate_class: str) -> None:
    """`admit` for Django's threads."""
    if limits := limits_for(actor, rate_class):
        with scope.use(scope.binding_for(actor.tenant) if actor else scope.bound_or_none()):
            ratelimit.check(*limits, fail_closed=rate_class in FAIL_CLOSED)


class RouteThrottle(BaseThrottle):
    """DRF: a view's `rate_class`, and without one `read` or `write` by the method."""

    def allow_request(self, request: Request, view: Any) -> bool:
        given = getattr(view, "rate_class", None)
        actor = request.auth if isinstance(request.auth, Actor) else None
        if given != "auth" and actor is None:
            given = "anonymous"
        try:
            admit_now(actor, given or ("read" if request.method in ("GET", "HEAD", "OPTIONS") else "write"))
        except RateLimited as error:
            rate_gate.remember(request._request.scope, error)  # type: ignore[attr-defined]  # an ASGIRequest
            raise
        return True
