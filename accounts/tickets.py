"""Single-use tickets that open a websocket: 256 random bits, 30 seconds, one tenant (A27)."""

from __future__ import annotations

import secrets
import uuid

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from accounts.actors import Actor
from accounts.keys import actor_of_key
from accounts.selectors import actor_of_user
from core.crypto import token_digest
from core.errors import PaasError

TTL_SECONDS = 30


def _key(ticket: str) -> str:
    return f"ws-ticket:{token_digest(settings.SECRET_KEY, ticket).hex()}"


def issue(actor: Actor) -> str:
    """A ticket for `actor`. Runs bound to its tenant. Raises redis_unavailable, impersonation_forbids."""
    if actor.impersonator is not None:  # a ticket would outlive the session that it came from
        raise PaasError("impersonation_forbids")
    ticket = secrets.token_urlsafe(32)
    try:
        cache.set(_key(ticket), f"{actor.label} {actor.token_mark}", TTL_SECONDS)
    except (RedisError, OSError):
        raise PaasError("redis_unavailable", retry_after=2) from None
    return ticket


def redeem(ticket: str) -> Actor:
    """The Actor that got the ticket; only the first caller has it. Raises ticket_invalid, redis_unavailable."""
    key = _key(ticket)
    try:
        found = cache.get(key)
        first = found is not None and cache.delete(key)  # true for one caller only
    except (RedisError, OSError):
        raise PaasError("redis_unavailable", retry_after=2) from None
    if not first:
        raise PaasError("ticket_invalid")
    label, _, token_mark = found.partition(" ")
    actor = actor_of_label(label)
    # A key that has a new token: what the old one got is worth nothing.
    if actor is None or actor.token_mark != token_mark:
        raise PaasError("ticket_invalid")
    return actor


def actor_of_label(label: str) -> Actor | None:
    """The present Actor of `user:<id>` or `key:<id>` in the bound tenant; None when they may not act any more."""
    kind, _, subject = label.partition(":")
    return actor_of_user(uuid.UUID(subject)) if kind == "user" else actor_of_key(uuid.UUID(subject))
