"""Whether people who stay may still be there: many are asked about at once, and each gets the usual answer (T5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import impersonation, sessions, standing
from accounts.authentication import actor_of_cookie
from accounts.models import Session, User
from core import clock
from core.errors import PaasError
from tenants import scope
from tests.accounts.visitors import person, put_back
from tests.conftest import Platform, in_thread
from tests.site import session_cookies

MEMBER = "member@acme.test"


@pytest.fixture
def member(db: Platform) -> Iterator[Any]:
    found = person(MEMBER)
    yield found
    put_back(MEMBER, found.pk)


def cookie_of(email: str, slug: str = "acme") -> str:
    name = settings.SESSION_COOKIE_NAME
    return f"odd=[1; {name}={in_thread(lambda: session_cookies(slug, email))[name]}"


def as_usual(cookie: str) -> Any:
    try:
        return actor_of_cookie(cookie)
    except PaasError as error:
        return error.code


def test_each_gets_the_usual_answer(acme: Any, member: User) -> None:
    there = [cookie_of(email) for email in ("owner@acme.test", "admin@acme.test", "viewer@acme.test", MEMBER)]
    late, changed, acted = cookie_of("owner@acme.test"), cookie_of(MEMBER), cookie_of("owner@acme.test")
    strangers = [cookie_of("rival@globex.test", "globex"), "", "sessionid=", "sessionid=made-up", "x"]

    def found() -> tuple[list[Any], list[Any], int]:
        with scope.platform():
            User.objects.filter(pk=member.pk).update(token_version=member.token_version + 1)
        with scope.bind(acme):
            rows = Session.objects.filter(session_key=late.rpartition("=")[2])
            assert rows.update(expire_date=clock.now() - timedelta(seconds=1)) == 1
            sessions.forget([late.rpartition("=")[2]])
            store = Session.get_session_store_class()(acted.rpartition("=")[2])
            store[impersonation.IN_SESSION] = "01a2b3c4-0000-7000-8000-000000000000"  # one that is not open
            store.save()
            with CaptureQueriesContext(connection) as queries:
                plain = standing.actors_of_cookies(there[:3])
            both = there + [late, changed, acted] + strangers
            mine = [one.code if isinstance(one, PaasError) else one for one in standing.actors_of_cookies(both)]
            return mine, plain, len([one for one in queries if "set_config" not in one["sql"]])

    mine, plain, statements = in_thread(found)
    usual = in_thread(lambda: [usual_in(acme, cookie) for cookie in there + [late, changed, acted] + strangers])
    assert mine == usual
    assert [one.role if one else one for one in mine[:4]] == ["owner", "admin", "viewer", None]
    assert mine[4:] == [None, None, "not_authenticated"] + [None] * len(strangers)
    assert [one.role for one in plain] == ["owner", "admin", "viewer"]
    assert statements == 2


def usual_in(tenant: Any, cookie: str) -> Any:
    with scope.bind(tenant):
        return as_usual(cookie)


async def test_what_is_asked_meanwhile_is_asked_together(acme: Any, globex: Any, monkeypatch: Any) -> None:
    """One that fails fails for its round only; who has left is not asked about."""
    asked: list[tuple[str, list[str]]] = []
    first, go = asyncio.Event(), asyncio.Event()

    async def look(tenant: Any, _fn: Any, cookies: list[str]) -> list[Any]:
        asked.append((tenant.slug, cookies))
        if len(asked) <= standing.AT_ONCE:
            first.set()
            await go.wait()
            raise PaasError("database_unavailable")
        return [PaasError("not_authenticated") if cookie == "out" else f"actor of {cookie}" for cookie in cookies]

    monkeypatch.setattr(scope, "run_in_tenant", look)
    rounds = standing.Rounds()
    begun = [asyncio.create_task(rounds.ask(tenant, "a")) for tenant in (acme, globex)]
    await first.wait()
    later = [asyncio.create_task(rounds.ask(acme, str(number))) for number in range(standing.MOST_TOGETHER + 1)]
    later += [asyncio.create_task(rounds.ask(globex, name)) for name in ("out", "left")]
    await asyncio.sleep(0)
    later.pop().cancel()
    go.set()
    ended = await asyncio.gather(*begun, return_exceptions=True)
    assert [one.code for one in ended if isinstance(one, PaasError)] == ["database_unavailable"] * 2
    found: list[Any] = await asyncio.gather(*later)
    assert found[:-1] == [f"actor of {number}" for number in range(standing.MOST_TOGETHER + 1)]
    assert found[-1].code == "not_authenticated"
    assert sorted((slug, len(cookies)) for slug, cookies in asked[2:]) == [
        ("acme", 1), ("acme", standing.MOST_TOGETHER), ("globex", 1),
    ]  # fmt: skip
