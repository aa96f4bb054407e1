"""The product with its own filters taken out: PostgreSQL alone still shows no foreign row (T1, peers' mutation).

Here the application's checks are the mutation, and the database's are under test; test_leak_fuzz.py does the
opposite.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
from django.db.models import Q

from bench.leaks import world as worlds
from bench.leaks.fuzz import running
from bench.leaks.world import World
from tenants import resolve, scope
from tests.conftest import Platform, in_thread
from tests.services import Services
from tests.tenants.test_leak_fuzz import remove

PATHS = ("/api/v1/me", "/api/v1/agents", "/api/v1/conversations", "/v1/models", "/chat/")


@pytest.fixture(scope="module")
def world(platform: Platform, services: Services) -> Iterator[World]:
    made: World = in_thread(lambda: worlds.make(3))
    yield made
    remove(made, services)


def without_filters(stack: ExitStack) -> None:
    """Take out what the application filters by: the actor's own rows, memberships and sessions by tenant."""
    from accounts import selectors as people
    from accounts.models import Membership
    from accounts.sessions import SessionStore
    from chat import selectors as chats

    def any_membership(**wanted: Any) -> Any:
        return Membership.objects.filter(user_id__in=wanted["user_id__in"])

    class Anybody:
        @staticmethod
        def select_related(*names: str) -> Any:
            class Query:
                filter = staticmethod(lambda **wanted: any_membership(**wanted).select_related(*names))

            return Query

    class AnyMembership:
        objects = Anybody

    def any_session(self: Any) -> Any:
        found = self.get_model_class().objects.filter(session_key=self.session_key)
        if scope.current_binding().tenant is None:  # the platform sees all rows by design
            found = found.filter(tenant_id=None)
        return found.first()

    stack.enter_context(patch.object(chats, "own_rows", lambda actor: Q()))
    stack.enter_context(patch.object(people, "Membership", AnyMembership))
    stack.enter_context(patch.object(SessionStore, "_get_session_from_db", any_session))


def test_without_the_applications_filters_nothing_leaks(world: World) -> None:
    async def run() -> dict[str, Any]:
        async with running(world, seed=3) as fuzz:
            kinds = ["pages_and_api", "foreign_ids", "stolen_credentials", "websockets", "sessions"]
            await fuzz.run(1.5, favour=kinds, enough=lambda ledger: all(ledger.operations[kind] > 3 for kind in kinds))
            return fuzz.ledger.summary()

    with ExitStack() as stack:
        without_filters(stack)
        report = asyncio.run(run())
    assert report["wrong_rows"] == 0, report
    assert report["leaks"] == [], report
    assert report["by_kind"]["foreign_ids"] > 3, report


async def _answers(world: World, port: int) -> list[tuple[int, str]]:
    """What the first tenant gets on its own host, with its session and its key."""
    import aiohttp

    own, answers = world.customers[0], []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for credential in ({"Cookie": f"sessionid={own.session}"}, {"Authorization": f"Bearer {own.token}"}):
            for path in PATHS:
                headers = {"Host": f"{own.host}:{port}", **credential}
                url = f"http://127.0.0.1:{port}{path}"
                async with client.get(url, headers=headers, allow_redirects=False) as answer:
                    answers.append((answer.status, await answer.text()))
    return answers


@pytest.fixture
def answers(world: World) -> Any:
    """`answers(patches...)`: the answers while something is patched."""

    def ask(*patches: Any) -> list[tuple[int, str]]:
        async def run() -> list[tuple[int, str]]:
            async with running(world) as fuzz:
                with ExitStack() as stack:
                    for one in patches:
                        stack.enter_context(one)
                    return await _answers(world, fuzz.port)

        resolve.forget_all()
        found = asyncio.run(run())
        resolve.forget_all()
        return found

    return ask


def _canaries(world: World, answers: list[tuple[int, str]]) -> set[str]:
    text = " ".join(body for _, body in answers)
    return {one.canary for one in world.customers if one.canary in text or one.ref.slug in text}


def test_as_it_is_everything_answers(world: World, answers: Any) -> None:
    found = answers()
    assert {status for status, _ in found} <= {200, 302}
    assert _canaries(world, found) == {world.customers[0].canary}


def test_where_the_middleware_binds_nothing_no_page_answers(
    world: World, answers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    found = answers(patch.object(scope, "bind", lambda tenant: nullcontext()))
    # /v1 binds for itself whom the key names; everything that relied on the middleware ends in an error.
    assert _canaries(world, found) <= {world.customers[0].canary}
    assert [status for status, _ in found[:3]] == [500, 500, 500]


def test_where_the_wrong_tenant_is_bound_nobody_is_known(world: World, answers: Any) -> None:
    async def wrong(host: str) -> Any:
        return world.customers[1].ref

    found = answers(patch.object(resolve, "tenant_of_host", wrong))
    assert _canaries(world, found) == set()
    assert {status for status, _ in found} <= {401, 302}  # the page sends strangers to sign in
