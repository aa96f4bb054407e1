"""The session store: a row for each signed-in browser, owned by the host's tenant, with Redis in front.

PostgreSQL is what is true: a session that Redis lost is read again from its row, so losing Redis signs nobody out.
Row-level security hides other tenants' rows, and keys in Redis carry the tenant, so a cookie copied from one subdomain
to another finds nothing there (P18); the platform host asks for rows without a tenant only.

What Redis holds is the signed text of the row, for two seconds (docs/adr/0003): the requests of one page cost one
query. Ending a session removes both; should Redis be away at that moment, its copy is worth nothing two seconds later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models import F
from redis.exceptions import RedisError

from core import clock
from core.crypto import token_digest
from tenants import client, scope

CACHED_SECONDS = 2
SEEN_SECONDS = 60  # how exactly the list of sessions says when one was last used


def cache_key(session_key: str) -> str:
    """Where Redis has a session; the cookie's value itself is not written there."""
    from django.conf import settings

    return f"session:{token_digest(settings.SECRET_KEY, session_key).hex()}"


def forget(session_keys: list[str]) -> None:
    """Remove sessions of the present binding from Redis at once."""
    with contextlib.suppress(RedisError, OSError):
        cache.delete_many([cache_key(key) for key in session_keys])


def stored(session_keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """What the sessions of the present binding hold, by key: those that are there now, in one query, past Redis."""
    store, now = SessionStore(), clock.now()
    model = store.get_model_class()
    rows = list(model.objects.filter(session_key__in=session_keys, tenant_id=_tenant_id(), expire_date__gt=now))
    unseen = [row.pk for row in rows if (now - row.last_seen_at).total_seconds() > SEEN_SECONDS]
    if unseen:
        model.objects.filter(pk__in=unseen, tenant_id=_tenant_id()).update(last_seen_at=now)
    return {row.session_key: dict(store.decode(row.session_data)) for row in rows}


def _tenant_id() -> Any:
    tenant = scope.current_binding().tenant
    return tenant.id if tenant else None


class SessionStore(DatabaseStore):
    """Django's database store over `accounts.Session`, bound to the present tenant, read through Redis."""

    @classmethod
    def get_model_class(cls) -> Any:
        from accounts.models import Session

        return Session

    def load(self) -> dict[str, Any]:
        key = self.session_key
        if key is None:
            return {}
        with contextlib.suppress(RedisError, OSError):
            text = cache.get(cache_key(key))
            if text is not None:
                return dict(self.decode(text))
        row = self._get_session_from_db()
        return dict(self.decode(row.session_data)) if row else {}

    async def aload(self) -> dict[str, Any]:
        return await scope.run_bound(self.load)

    def _get_session_from_db(self) -> Any:
        now = clock.now()
        row = (
            self.get_model_class()
            .objects.filter(session_key=self.session_key, tenant_id=_tenant_id(), expire_date__gt=now)
            .first()
        )
        if row is None:
            self._session_key = None
            return None
        if (now - row.last_seen_at).total_seconds() > SEEN_SECONDS:
            self.get_model_class().objects.filter(pk=row.pk).update(last_seen_at=now)
        self._remember(row.session_data, (row.expire_date - now).total_seconds())
        return row

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        data = super()._get_session(no_load=must_create)  # type: ignore[misc]
        row = self.create_model_instance(data)
        if must_create:
            try:
                with transaction.atomic():
                    row.save(force_insert=True)
            except IntegrityError:
                raise CreateError from None
        else:
            changed = {"session_data": row.session_data, "expire_date": row.expire_date, "user_id": row.user_id}
            kept = self.get_model_class().objects.filter(session_key=row.session_key, tenant_id=row.tenant_id)
            if not kept.update(**changed):
                raise UpdateError
        # What is not committed yet must not be read from Redis by others.
        seconds = self.get_expiry_age()
        transaction.on_commit(lambda: self._remember(row.session_data, seconds))
        return None

    async def asave(self, must_create: bool = False) -> None:
        await scope.run_bound(self.save, must_create)

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is None:
            return
        self.get_model_class().objects.filter(session_key=key, tenant_id=_tenant_id()).delete()
        forget([key])

    async def adelete(self, session_key: str | None = None) -> None:
        await scope.run_bound(self.delete, session_key)

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        row.tenant_id = _tenant_id()
        row.user_id = data.get(SESSION_KEY)
        here = client.current()
        row.address, row.user_agent = here.address or None, here.user_agent
        return row

    def _remember(self, text: str, seconds: float) -> None:
        if self.session_key is None or seconds < 1:
            return
        with contextlib.suppress(RedisError, OSError):
            cache.set(cache_key(self.session_key), text, min(CACHED_SECONDS, int(seconds)))


def end_everything(user_id: Any) -> None:
    """End every session and token of a person, on every host."""
    from accounts.models import OneTimeCode, RefreshFamily, Session, User

    with scope.platform(), transaction.atomic():
        User.objects.filter(pk=user_id).update(token_version=F("token_version") + 1)
        RefreshFamily.objects.filter(user_id=user_id, revoked_at=None).update(revoked_at=clock.now())
        Session.objects.filter(user_id=user_id).delete()
        OneTimeCode.objects.filter(user_id=user_id, purpose="handover").delete()
