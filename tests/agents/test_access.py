"""The way from a slug to an agent that may be used: who, how fresh, how dear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agents import access, specs
from agents.access import agent_for
from agents.models import Agent
from agents.services import agent_set
from core import clock, remembered
from core.errors import PaasError
from llm.models import ProviderAccount
from llm.services import provider_create, provider_update
from tenants import scope
from tests.conftest import Platform, forget_caches, in_thread

SLUG = "access-test"


@pytest.fixture
def change(db: Platform) -> Any:
    """`change(fn)` runs bound to acme, where an agent `access-test` exists."""

    def bound(work: Callable[[], Any]) -> Any:
        def run() -> Any:
            with scope.bind(db.acme):
                return work()

        return in_thread(run)

    def make() -> None:
        account = ProviderAccount.objects.filter(name="access").first() or provider_create(
            actor="test", name="access", kind="scripted", models={"m": {"input_price": "1", "output_price": "2"}}
        )
        provider_update(account, actor="test", enabled=True)
        agent_set(slug=SLUG, provider=account, model="m", actor="test", fields={"name": "Access", "instructions": "I"})

    bound(make)
    yield bound
    bound(lambda: Agent.objects.filter(slug=SLUG).update(archived_at=clock.now()))
    forget_caches()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(remembered, "clock", lambda: moment[0])
    return moment


async def code_of(actor: Any, slug: str = SLUG) -> str:
    try:
        return (await agent_for(actor, slug)).model
    except PaasError as error:
        return error.code


async def test_a_spec_is_a_value_with_all_that_is_needed(change: Any, actor: Any) -> None:
    spec = await agent_for(actor("member"), SLUG)
    assert (spec.slug, spec.name, spec.model, spec.instructions, spec.provider_name) == (
        SLUG,
        "Access",
        "m",
        "I",
        "access",
    )
    assert (spec.provider.kind, spec.info.input_price, spec.info.output_price) == ("scripted", Decimal(1), Decimal(2))
    with pytest.raises(AttributeError):
        spec.model = "other"  # type: ignore[misc]


async def test_an_edit_is_in_force_within_two_seconds(change: Any, actor: Any, now: list[float]) -> None:
    """Also when another process made it: this one's memory is two seconds at most."""
    assert access.TTL_SECONDS <= 2
    member = actor("member")
    assert await code_of(member) == "m"

    def edit_elsewhere() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(access, "forget_all", lambda: None)
            account = ProviderAccount.objects.get(name="access")
            agent_set(slug=SLUG, provider=account, model="edited", actor="test")

    change(edit_elsewhere)
    now[0] += 1.9
    assert await code_of(member) == "m"
    now[0] += 0.11
    assert await code_of(member) == "edited"
    change(lambda: Agent.objects.filter(slug=SLUG).update(archived_at=clock.now()))
    now[0] += 2.01
    assert await code_of(member) == "agent_not_found"


async def test_an_own_edit_is_in_force_at_once(change: Any, actor: Any) -> None:
    member = actor("member")
    assert await code_of(member) == "m"
    change(lambda: agent_set(slug=SLUG, provider=ProviderAccount.objects.get(name="access"), model="new", actor="t"))
    assert await code_of(member) == "new"


async def test_a_provider_that_is_switched_off(change: Any, actor: Any, now: list[float]) -> None:
    member = actor("member")
    assert await code_of(member) == "m"
    change(lambda: provider_update(ProviderAccount.objects.get(name="access"), actor="test", enabled=False))
    now[0] += 2.01
    assert await code_of(member) == "provider_not_configured"
    change(lambda: provider_update(ProviderAccount.objects.get(name="access"), actor="test", enabled=True))
    assert await code_of(member) == "m", "a failure is not remembered"


async def test_who_may(change: Any, actor: Any, db: Platform) -> None:
    assert await code_of(actor("viewer")) == "permission_denied"
    assert await code_of(actor("rival")) == "agent_not_found"
    key = replace(actor("member"), user_id=None, key_id=None, actions=frozenset({"agents:execute"}))
    assert await code_of(key) == "m"


async def test_the_same_slug_in_two_tenants(change: Any, actor: Any) -> None:
    """The memory is by tenant: nobody gets another's agent out of it."""
    mine, theirs = await agent_for(actor("member"), "assistant"), await agent_for(actor("rival"), "assistant")
    assert mine.agent_id != theirs.agent_id
    assert (await agent_for(actor("member"), "assistant")).agent_id == mine.agent_id


async def test_a_known_agent_costs_no_query(change: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    real = specs.agent_spec

    def counted(slug: str) -> Any:
        nonlocal calls
        calls += 1
        return real(slug)

    monkeypatch.setattr(specs, "agent_spec", counted)
    member = actor("member")
    await asyncio.gather(*(code_of(member) for _ in range(30)))
    assert calls == 1
    for slug in ("nobody", "x" * 61, "UPPER", "a b", "\x00", "'; --"):
        for _ in range(3):
            assert await code_of(member, slug) == "agent_not_found"
    assert calls == 2, "only a name that could be one is looked up, and only once"


async def test_without_a_slug_it_is_the_oldest_agent_in_use(change: Any, actor: Any) -> None:
    assert (await agent_for(actor("member"), "")).slug == "assistant"
