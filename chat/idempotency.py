"""Idempotency keys: a turn that is asked for twice under one key is begun once (A36, P45).

The decision is the database's (`turn_of_key`, inside `start_turn`). A key belongs to its caller, a person or an API
key, and is remembered for at least KEEP_HOURS after its first use.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from typing import Any

import orjson

from chat.models import UNFINISHED, IdempotencyKey, RunTask
from core import clock
from core.errors import PaasError
from tenants import scope

KEEP_HOURS = 24
MOST_CHARS = 255
HEADER = "idempotency-key"
REPLAYED = {"Idempotent-Replayed": "true"}  # on answers to a key that was used before


def key_of(headers: Mapping[str, str]) -> str:
    """The key of a request, "" when it has none. Raises validation_failed."""
    return checked(headers.get(HEADER, ""), "Idempotency-Key")


def checked(key: Any, param: str) -> str:
    """The key, if it is a text of at most MOST_CHARS printable ASCII characters. Raises validation_failed."""
    if not isinstance(key, str) or len(key) > MOST_CHARS or not (key.isascii() and (not key or key.isprintable())):
        raise PaasError(
            "validation_failed", f"{param} has up to {MOST_CHARS} printable ASCII characters.", details={"param": param}
        )
    return key


def digest_of(request: Any) -> str:
    """SHA-256 of a parsed TurnRequest: equal for requests that ask for the same.

    What is as it is by default is left out, so that a release with another field still knows the requests of before.
    """
    asked: dict[str, Any] = {}
    for one in fields(request):
        value = getattr(request, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name != "idempotency_key" and value != default:
            asked[one.name] = value
    encoded = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.sha256(encoded).hexdigest()


def refusal(code: str) -> PaasError:
    """What is answered when a key cannot be used; see turn_of_key."""
    return PaasError(code, retry_after=1 if code == "idempotency_in_progress" else None)


def made_at(identity: uuid.UUID) -> float:
    """When a UUIDv7 was made, in seconds since 1970: so that the same turn is told of in the same words again."""
    return (identity.int >> 80) / 1000


def forget_old() -> int:
    """Remove the bound tenant's keys that are old enough, and what ended runs were to do; returns how many keys."""
    RunTask.objects.exclude(run__status__in=UNFINISHED).delete()
    old = IdempotencyKey.objects.filter(created_at__lt=clock.now() - timedelta(hours=KEEP_HOURS))
    return old.delete()[0]


def forget_everywhere() -> int:
    """`forget_old` in every active tenant."""
    return sum(forget_old() for _ in scope.each_tenant())
