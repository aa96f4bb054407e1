"""Tries at passwords, counted before anything is hashed (P39, P40, A17).

Three limits hold for somebody we have never seen: by network, by e-mail address over all networks, and by the pair.
Whoever attacks an address uses up that address's tries, so its owner has tries of their own: a browser that signed
in before carries a signed cookie and is counted by that alone, and a network from which the address signed in before
is not held by the limit over all networks. All hosts share the counts, because they share the password; while Redis
is away nobody is admitted.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from redis.exceptions import RedisError

from core.crypto import token_digest
from core.errors import PaasError
from tenants import client, ratelimit, scope
from tenants.ratelimit import Limit

PER_NETWORK = (100, 600.0)  # successes count too: each costs a quarter of a second of a core
PER_MAILBOX = (20, 3600.0)
PER_PAIR = (10, 900.0)
PER_DEVICE = (20, 900.0)

DEVICE_COOKIE = "device"
DEVICE_SECONDS = 180 * 24 * 3600
DEVICE_PEOPLE = 4  # so many share a browser
REMEMBERED_SECONDS = 30 * 24 * 3600
MOST_HELD = 10_000  # networks that a process remembers to have used up their tries
SALT = "accounts.device"


@dataclass(frozen=True, slots=True)
class Try:
    """One try that was admitted. returned: what it gets back when the password is right."""

    mailbox: str
    pair: str
    returned: tuple[Limit, ...] = field(default=())


def admit(email: str, device: str) -> Try:
    """Count a try for `email` (lower case) from the present client with this device cookie.

    Raises rate_limited with the time to wait, redis_unavailable.
    """
    mailbox, network = _short(email), client.network_of(client.current().address)
    pair = _short(f"{network} {email}")
    with scope.platform():
        name = _device_of(device, mailbox)
        if name:
            ratelimit.check(Limit(f"sign-in-device:{name}", *PER_DEVICE), fail_closed=True)
            return Try(mailbox, pair)
        returned = [Limit(f"sign-in-pair:{pair}", *PER_PAIR)]
        if not _is_remembered(pair):
            returned.append(Limit(f"sign-in-mail:{mailbox}", *PER_MAILBOX))
        try:
            ratelimit.check(Limit(f"sign-in-net:{network}", *PER_NETWORK), *returned, fail_closed=True)
        except PaasError as error:
            if (error.details.get("limit"), error.details.get("seconds")) == PER_NETWORK:
                _hold(network, error.retry_after or 0)
            raise
    return Try(mailbox, pair, tuple(returned))


_held: OrderedDict[str, float] = OrderedDict()  # network -> until when (monotonic) no try of its is admitted


def _hold(network: str, seconds: float) -> None:
    _held[network] = time.monotonic() + seconds - 1  # the time to wait is rounded up
    _held.move_to_end(network)
    while len(_held) > MOST_HELD:
        _held.popitem(last=False)


def held(device: str) -> PaasError | None:
    """What `admit` would say to the present client, from memory and without a look at the address that is tried.

    None: nothing is known, or a browser is asking that somebody signed in with. So whoever shares a network with a
    flood and comes with a new browser waits, even where the network is known to their address.
    """
    until = _held.get(client.network_of(client.current().address))
    left = until - time.monotonic() if until is not None else 0
    if left <= 0 or _read(device)[0]:
        return None
    wait = round(left + 1)
    return PaasError("rate_limited", f"Too many requests. Try again in {wait} seconds.", retry_after=wait)


def forget_all() -> None:
    """Forget which networks are held (between tests)."""
    _held.clear()


def succeeded(admitted: Try) -> None:
    """The password was right: the network is known to the address now, and the try does not count against it."""
    with scope.platform(), contextlib.suppress(RedisError, OSError):
        cache.set(f"sign-in-known:{admitted.pair}", 1, REMEMBERED_SECONDS)
        ratelimit.give_back(*admitted.returned)


def remember_device(request: Any, response: Any, email: str) -> None:
    """Give this browser tries of its own for `email`, for half a year from now."""
    name, mailboxes = _read(request.COOKIES.get(DEVICE_COOKIE, ""))
    mailbox = _short(email.strip().lower())
    kept = [mailbox, *(other for other in mailboxes if other != mailbox)][:DEVICE_PEOPLE]
    response.set_cookie(
        DEVICE_COOKIE,
        signing.dumps([name or secrets.token_hex(8), *kept], salt=SALT),
        max_age=DEVICE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def _device_of(cookie: str, mailbox: str) -> str:
    """The device's name when it is known to the mailbox, otherwise "". Each person on a browser is counted alone."""
    name, mailboxes = _read(cookie)
    return f"{name}:{mailbox}" if mailbox in mailboxes else ""


def _read(cookie: str) -> tuple[str, list[str]]:
    if not cookie or len(cookie) > 1000:
        return "", []
    try:
        name, *mailboxes = signing.loads(cookie, salt=SALT, max_age=DEVICE_SECONDS)
    except signing.BadSignature:
        return "", []
    return name, mailboxes


def _is_remembered(pair: str) -> bool:
    with contextlib.suppress(RedisError, OSError):
        return cache.get(f"sign-in-known:{pair}") is not None
    return False


def _short(text: str) -> str:
    """No address lies in Redis in the clear."""
    return token_digest(settings.SECRET_KEY, text).hex()[:32]
