"""Whether people who stay, on sockets and streams, may still be there.

Each open one asks every few seconds. One by one a thousand of them kept every database thread of a process busy, and
new ones were turned away; so what is asked while an answer is on its way is answered together.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils.crypto import constant_time_compare

from accounts import acting, impersonation, selectors, sessions
from accounts.actors import Actor
from accounts.authentication import actor_of_cookie, actor_of_headers, session_key_of
from accounts.credentials import token_of
from accounts.models import User
from core import tracing
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

MOST_TOGETHER = 200
AT_ONCE = 2  # of the process's database threads; the others are for requests

Answer = Actor | PaasError | None


async def still_actor(headers: Mapping[str, str], tenant: TenantRef | None) -> Actor:
    """As `actor_of_headers`, for headers that have let somebody in already: what became of them since."""
    if tenant is None or token_of(headers) is not None:
        return await actor_of_headers(headers, tenant)
    found = await _rounds.ask(tenant, headers.get("cookie", ""))
    if isinstance(found, PaasError):
        raise found
    if found is None:
        raise PaasError("not_authenticated")
    found.require_factor()
    return found


class Rounds:
    """Questions that wait, by tenant. While one round is answered, the next gathers."""

    def __init__(self) -> None:
        self._waiting: dict[TenantRef, list[tuple[str, asyncio.Future[Answer]]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, tenant: TenantRef, cookie: str) -> Answer:
        """The present Actor of a cookie header. Raises what asking the database raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.setdefault(tenant, []).append((cookie, answer))
        if sum(task.get_loop() is loop for task in self._working) < AT_ONCE:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await answer

    async def _work(self) -> None:
        tracing.detach()
        loop = asyncio.get_running_loop()
        while self._waiting:
            tenant = next(iter(self._waiting))
            asked = self._waiting.pop(tenant)
            if rest := asked[MOST_TOGETHER:]:
                self._waiting[tenant] = rest
            # Who has left does not wait any more; nor does who asked on a loop that has ended.
            open_ = [one for one in asked[:MOST_TOGETHER] if not one[1].done() and one[1].get_loop() is loop]
            await _answered(tenant, open_)


async def _answered(tenant: TenantRef, asked: Sequence[tuple[str, asyncio.Future[Answer]]]) -> None:
    try:
        found = await scope.run_in_tenant(tenant, actors_of_cookies, [cookie for cookie, _ in asked])
    except Exception as error:
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(error)
        return
    for (_, answer), actor in zip(asked, found, strict=True):
        if not answer.done():
            answer.set_result(actor)


_rounds = Rounds()


def actors_of_cookies(cookies: Sequence[str]) -> list[Answer]:
    """What `actor_of_cookie` gives, or raises, for each: a query for all sessions and one for all their people.

    Only who is plainly still there is told by these two; everybody else is asked about the usual way. Bound to the
    tenant.
    """
    keys = [session_key_of(cookie) for cookie in cookies]
    held = sessions.stored({key for key in keys if key})
    people = selectors.members_of({uuid.UUID(data[SESSION_KEY]) for data in held.values() if SESSION_KEY in data})
    return [_plain(held.get(key or ""), people) or _usual(cookie) for key, cookie in zip(keys, cookies, strict=True)]


def _plain(data: dict[str, Any] | None, people: Mapping[uuid.UUID, User]) -> Actor | None:
    """The Actor of a person's own session, where its words and the person's agree."""
    if not data or SESSION_KEY not in data or impersonation.IN_SESSION in data:
        return None
    user = people.get(uuid.UUID(data[SESSION_KEY]))
    if user is None or data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    if not constant_time_compare(data.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
        return None
    with acting.serving(None):
        return selectors.actor_of_member(user)


def _usual(cookie: str) -> Answer:
    try:
        return actor_of_cookie(cookie)
    except PaasError as error:
        return error
