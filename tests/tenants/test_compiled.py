"""Queries whose SQL is composed once."""

from __future__ import annotations

import uuid

import pytest
from django.db.models import F, QuerySet

from agents.models import Agent
from tenants import scope
from tenants.db.compiled import Compiled
from tests.conftest import Platform


def assistant() -> tuple[Agent, uuid.UUID, uuid.UUID]:
    """The bound tenant's agent, its id and its provider's."""
    agent = Agent.objects.select_related("current").get(slug="assistant")
    assert agent.current is not None and agent.current.provider_id is not None  # noqa: PT018
    return agent, agent.pk, agent.current.provider_id


def test_it_is_composed_once_and_asks_as_whoever_is_bound(db: Platform) -> None:
    composed = []

    def named(pk: uuid.UUID, provider: uuid.UUID) -> QuerySet[Agent]:
        composed.append(pk)
        found = Agent.objects.filter(pk=pk, current__provider_id=provider, archived_at__isnull=True)
        return found.annotate(provider_name=F("current__provider__name")).order_by("slug")

    one = Compiled(named, 2)
    with scope.bind(db.acme):
        agent, *ids = assistant()
        for _ in range(2):
            (found,) = one(*ids)
            assert (found, found.provider_name, found.get_deferred_fields()) == (agent, "scripted", set())
        assert not list(one(*reversed(ids)))
    with scope.bind(db.globex):
        assert not list(one(*ids)), "another tenant's"
        own, *own_ids = assistant()
        assert list(one(*own_ids)) == [own]
    assert len(composed) == 1
    with pytest.raises(ValueError, match="shorter"):
        one(ids[0])
