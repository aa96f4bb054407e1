"""Single-use tickets that open a websocket: 256 random bits, 30 seconds, one tenant (A27)."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from accounts.actors import Actor
from accounts.keys import actor_of_key
from accounts.models import RefreshFamily, Session
from accounts.selectors import actor_of_user
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
    rests_on = actor.session_id
    if session_key is not None:
        rests_on = Session.objects.filter(session_key=session_key).values_list("public_id", flat=True).first()
    ticket = secrets.token_urlsafe(32)
    try:
        cache.set(_key(ticket), [actor.label, actor.token_version, str(rests_on or "")], TTL_SECONDS)
    except (RedisError, OSError):
        raise PaasError("redis_unavailable", retry_after=2) from None
    return ticket


def redeem(ticket: str) -> Actor:
    """The Actor that got the ticket; only the first caller has it. Raises ticket_invalid, redis_unavailable."""
    key = _key(ticket)
    try:
        kept = cache.get(key)
        first = kept is not None and cache.delete(key)  # true for one caller only
    except (RedisError, OSError):
        raise PaasError("redis_unavailable", retry_after=2) from None
    if not first:
        raise PaasError("ticket_invalid")
    label, token_version, rests_on = kept
    actor = _present(label, token_version, uuid.UUID(rests_on) if rests_on else None)
    if actor is None:
        raise PaasError("ticket_invalid")
    return actor


def still(actor: Actor) -> Actor | None:
    """The present Actor of who came with a ticket; None when they may not act any more, or when the session that the
    ticket was asked for with has ended (A13)."""
    return _present(actor.label, actor.token_version, actor.session_id)


def _present(label: str, token_version: int, session_id: uuid.UUID | None) -> Actor | None:
    kind, _, subject = label.partition(":")
    if kind != "user":
        return actor_of_key(uuid.UUID(subject))
    actor = actor_of_user(uuid.UUID(subject))
    if actor is None or actor.token_version != token_version or not _stands(uuid.UUID(subject), session_id):
        return None
    return replace(actor, session_id=session_id)


def _stands(user_id: uuid.UUID, session_id: uuid.UUID | None) -> bool:
    """Whether the person's session, or sign-in by token, has not ended."""
    if session_id is None:
        return True
    now = clock.now()
    if Session.objects.filter(user_id=user_id, public_id=session_id, expire_date__gt=now).exists():
        return True
    return RefreshFamily.objects.filter(pk=session_id, user_id=user_id, revoked_at=None, expires_at__gt=now).exists()
