"""Who asks again although a rate is used up is refused before it costs anything (T16).

Django's refusal costs as much as a small answer, so one tenant that asks fifty times as much as the others would hold
them up by being refused. So each process remembers, for the credential that was told to wait, what it had asked for and
until when, and answers here, in front of Django: no look at Redis or the database, no thread.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import parse_cookie

from accounts.credentials import token_of
from tenants import client
from tenants.ratelimit import RateLimited

clock = time.monotonic
LONGEST_SECONDS = 2.0  # a rate that is raised, or a credential that ends, is noticed after that
MOST_REMEMBERED = 10_000

Asked = tuple[bytes, str, str, str]  # who (a digest), at which host, by which method, for what
_told: OrderedDict[Asked, tuple[float, RateLimited]] = OrderedDict()


def remember(connection: Mapping[str, Any], error: RateLimited) -> None:
    """This request was refused with `error`.

    For as long as it would be, and no longer: what its rate has for it goes through evenly, not in heaps.
    """
    asked = _asked(connection)
    _told[asked] = clock() + min(error.wait, LONGEST_SECONDS), error
    _told.move_to_end(asked)
    while len(_told) > MOST_REMEMBERED:
        _told.popitem(last=False)


def refusal(connection: Mapping[str, Any]) -> RateLimited | None:
    """Why this request goes no further; None when it does. Under the client's address."""
    if not _told or (found := _told.get(asked := _asked(connection))) is None:
        return None
    until, error = found
    left = until - clock()
    if left > 0:
        return error
    del _told[asked]
    return None


def forget_all() -> None:
    """Forget who was told to wait (between tests)."""
    _told.clear()


def _asked(connection: Mapping[str, Any]) -> Asked:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in connection["headers"]}
    who = token_of(headers) or parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
    if not who:
        who = f"address:{client.network_of(client.current().address)}"
    digest = hashlib.blake2b(who.encode("utf-8", "replace"), digest_size=16).digest()
    return digest, headers.get("host", ""), connection.get("method", ""), connection["path"]
