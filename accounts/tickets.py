"""Single-use tickets that open a websocket: 256 random bits, 30 seconds, one tenant (A27)."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from accounts.actors import Actor, TokenSession
from accounts.keys import actor_of_key
from accounts.models import Session
from accounts.selectors import actor_of_user
from accounts.tokens import actor_of_session
from core import clock
from core.crypto import token_digest
from core.errors import PaasError

TTL_SECONDS = 30


def _key(ticket: str) -> str:
    return f"ws-ticket:{token_digest(settings.SECRET_KEY, ticket).hex()}"


def issue(actor: Actor, session_key: str | None = None) -> str:
    """A ticket for `actor`. Runs bound to its tenant. Raises redis_unavailable, impersonation_forbids.

    session_key: the session that it was asked for with; what the ticket opens ends with it.
    """
    if actor.impersonator is not None:  # a ticket would outlive the session that it came from
        raise PaasError("impersonation_forbids")
    if session_key is not None:
        rows = Session.objects.filter(session_key=session_key)
        actor = replace(actor, session_id=rows.values_list("public_id", flat=True).first())
    ticket = secrets.token_urlsafe(32)
    try:
        kept = (actor.label, actor.token, actor.token_version, actor.session_id, actor.token_mark)
        cache.set(_key(ticket), kept, TTL_SECONDS)
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
    actor = _present(*found)
    if actor is None:
        raise PaasError("ticket_invalid")
    actor.require_factor()
    return actor


def still(actor: Actor) -> Actor | None:
    """The present Actor of who came with a ticket; None when they may not act any more, or when what the ticket was
    asked for with has ended: the session (A13), the access token (P36), or the key's token."""
    return _present(actor.label, actor.token, actor.token_version, actor.session_id, actor.token_mark)


def _present(
    label: str, token: TokenSession | None, version: int, session_id: uuid.UUID | None, token_mark: str
) -> Actor | None:
    kind, _, subject = label.partition(":")
    if kind != "user":
        key = actor_of_key(uuid.UUID(subject))
        # A key that has a new token: what the old one got is worth nothing.
        return key if key is not None and key.token_mark == token_mark else None
    user_id = uuid.UUID(subject)
    if token is not None:
        return actor_of_session(user_id, token)
    actor = actor_of_user(user_id)
    if actor is None or actor.token_version != version:
        return None
    if session_id is not None:
        rows = Session.objects.filter(user_id=user_id, public_id=session_id, expire_date__gt=clock.now())
        if not rows.exists():
            return None
    return replace(actor, session_id=session_id)
