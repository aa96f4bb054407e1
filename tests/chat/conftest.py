"""A vendor on a real socket, agents that ask it, and the books."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from bench.vendor import Vendor
from tests.chat.ledger import Ledger
from tests.conftest import forget_caches, in_thread

_numbers = itertools.count(1)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """The stand-in vendor (bench/answers.py: the model's name says what it does)."""
    async with Vendor() as running:
        yield running


@pytest.fixture
def ledger(db: Any, services: Any) -> Iterator[Ledger]:
    """The books of acme."""
    found = Ledger(services.postgres.admin_url, db.acme.schema)
    yield found
    found.close()


@pytest.fixture
def agents(db: Any) -> Iterator[Callable[..., str]]:
    """`agents("bench-0-0-20", base_url=...)`: the slug of a new agent of acme; gone from sight afterwards."""
    made: list[tuple[Any, str]] = []

    def make(model: str, *, tenant: Any = None, provider: dict[str, Any] | None = None, **fields: Any) -> str:
        from agents.services import agent_set
        from llm.services import provider_create
        from tenants import scope

        number, owner = next(_numbers), tenant or db.acme
        slug = fields.pop("slug", f"agent-{number}")

        def create() -> None:
            with scope.bind(owner):
                account = provider_create(
                    actor="test", by_operator=True, name=f"provider-{number}", **(provider or {"kind": "scripted"})
                )
                agent_set(slug=slug, provider=account, model=model, actor="test", fields=fields)

        in_thread(create)
        made.append((owner, slug))
        return slug

    yield make

    def hide() -> None:
        from agents.models import Agent
        from core import clock
        from tenants import scope

        for owner, slug in made:
            with scope.bind(owner):
                Agent.objects.filter(slug=slug).update(archived_at=clock.now())

    if made:
        in_thread(hide)
        forget_caches()


@pytest.fixture
def agent(agents: Callable[..., str], vendor: Vendor) -> Callable[..., str]:
    """`agent("bench-0-0-20")`: an agent of acme that asks the stand-in vendor for that model."""

    def make(model: str, *, models: dict[str, Any] | None = None, **fields: Any) -> str:
        account = {"kind": "openai_compatible", "base_url": vendor.base_url, "models": models or {}}
        return agents(model, provider=account, **fields)

    return make


EMBEDDINGS = {
    "embed-4": {"embeddings": True, "embedding_price": "0.02", "currency": "USD"},
    "embed-silent-4": {"embeddings": True},
    "fault-500": {"embeddings": True},
    "fault-hang": {"embeddings": True, "embedding_price": "1"},
    "bench-0-0-1": {"context_tokens": 100},
}


@pytest.fixture
def embedder(db: Any, vendor: Vendor) -> Iterator[None]:
    """An account `vectors` of acme with embeddings models; gone afterwards."""
    from llm.services import provider_create, provider_delete
    from tenants import scope

    def create() -> Any:
        with scope.bind(db.acme):
            return provider_create(
                actor="test", by_operator=True, name="vectors", kind="openai_compatible", base_url=vendor.base_url, models=EMBEDDINGS
            )  # fmt: skip

    def delete(account: Any) -> None:
        with scope.bind(db.acme):
            provider_delete(account, actor="test")

    account = in_thread(create)
    forget_caches()
    yield
    in_thread(lambda: delete(account))
    forget_caches()
