"""Who knocks: the cast, keys of every scope, and everybody who is nobody (any more)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import PASSWORD, Platform, in_thread

GONE, OPERATOR, STAFF, PAST = "gone@acme.test", "root@platform.test", "staff@platform.test", "past@platform.test"


@pytest.fixture
def extras(db: Platform) -> Iterator[None]:
    """Beside the cast: a deactivated admin of acme, an operator, a former operator, and staff without any right."""
    from accounts.models import User
    from accounts.services import member_set
    from tenants import scope
    from tenants.models import Tenant

    def make() -> None:
        with scope.platform():
            acme = Tenant.objects.get(pk=db.acme.id)
            member_set(tenant=acme, email=GONE, role="admin", password=PASSWORD, actor="test")
            User.objects.create_superuser(OPERATOR, PASSWORD)
            User.objects.create_superuser(PAST, PASSWORD)
            User.objects.create_user(STAFF, PASSWORD)
            User.objects.filter(email=STAFF).update(is_staff=True)

    def remove() -> None:
        with scope.platform():
            User.objects.filter(email__in=(GONE, OPERATOR, STAFF, PAST)).delete()

    in_thread(make)
    yield
    in_thread(remove)


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch, long_memory: None) -> None:
    """The matrix asks more often than anybody may."""
    from tenants import ratelimit

    async def admitted(*limits: Any, **options: Any) -> None: ...

    monkeypatch.setattr(ratelimit, "check", lambda *limits, **options: None)
    monkeypatch.setattr(ratelimit, "acheck", admitted)


@pytest.fixture
def people(db: Platform, extras: None) -> list[Any]:
    """Everybody who knocks at acme's host."""
    from core import clock
    from tests.attack.knocking import deactivate, key_of, session_of, tokens_of
    from tests.contracts import access
    from tests.contracts.declaring import Identity

    nothing = frozenset[str]()
    found = [
        Identity(role, access.of_role(role), True, session_of(db.acme, f"{role}@acme.test"))
        for role in ("viewer", "member", "admin", "owner")
    ]
    found += [
        Identity(f"key {name}", access.of_scope(name), token=key_of(db.acme, name))
        for name in (*access.SINGLE_SCOPES, "*")
    ]
    token, refresh = tokens_of(db.acme, "member@acme.test")
    found.append(Identity("member's token", access.of_role("member"), token=token))
    past = clock.now() - timedelta(seconds=1)
    gone, stranger = session_of(db.acme, GONE), session_of(db.acme, "stranger@nowhere.test")
    deactivate(GONE)
    found += [
        Identity("anonymous"),
        Identity("deactivated", session=gone),
        Identity("stranger", session=stranger),
        Identity("rival's session", session=session_of(db.globex, "rival@globex.test")),
        Identity("rival here", session=session_of(db.acme, "rival@globex.test")),
        Identity("operator's session", session=session_of(None, OPERATOR)),
        Identity("owner's platform session", session=session_of(None, "owner@acme.test")),
        Identity("rival's key", token=key_of(db.globex, "*")),
        Identity("expired key", token=key_of(db.acme, "*", expires_at=past)),
        Identity("revoked key", token=key_of(db.acme, "*", revoked_at=past)),
        Identity("rival's token", token=tokens_of(db.globex, "rival@globex.test")[0]),
        Identity("refresh token", token=refresh),
        Identity("ended token", token=tokens_of(db.acme, "owner@acme.test", end=True)[0]),
        Identity("made-up key", token=f"ak_{uuid.uuid4().hex}"),
    ]
    assert nothing not in [one.actions for one in found], "an identity without any right tells nothing"
    return found


@pytest.fixture
def callers(db: Platform, extras: None) -> list[Any]:
    """Everybody who knocks at the platform's host; only who is signed in there has `browser`."""
    from tests.attack.knocking import deactivate, key_of, session_of
    from tests.contracts.declaring import OPERATOR as ACTION
    from tests.contracts.declaring import Identity

    past = session_of(None, PAST)
    found = [
        Identity("anonymous"),
        Identity("owner", frozenset(), True, session_of(None, "owner@acme.test")),
        Identity("staff", frozenset(), True, session_of(None, STAFF)),
        Identity("operator", frozenset({ACTION}), True, session_of(None, OPERATOR)),
        Identity("owner's tenant session", session=session_of(db.acme, "owner@acme.test")),
        Identity("former operator", session=past),
        Identity("key *", token=key_of(db.acme, "*")),
    ]
    deactivate(PAST)
    return found
