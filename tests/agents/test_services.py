"""Agents and their immutable versions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.utils import ProgrammingError

from accounts.models import AuditEvent
from agents.models import Agent, AgentVersion
from agents.services import agent_set
from agents.specs import agent_spec
from core.errors import PaasError
from llm.models import ProviderAccount
from llm.services import provider_create, provider_update
from tenants import scope
from tests.conftest import Platform, forget_caches

_numbers = itertools.count(1)


@pytest.fixture
def slug(db: Platform) -> Iterator[str]:
    """A name that no agent has; whoever takes it is archived afterwards."""
    found = f"made-{next(_numbers)}"
    with scope.bind(db.acme):
        yield found
        from core import clock

        Agent.objects.filter(slug=found).update(archived_at=clock.now())
    forget_caches()


@pytest.fixture
def provider(slug: str) -> ProviderAccount:
    return provider_create(actor="test", name=f"for-{slug}", kind="scripted")


def put(slug: str, provider: ProviderAccount, model: str = "m", **fields: Any) -> str:
    return agent_set(slug=slug, provider=provider, model=model, actor="test", fields=fields)


def test_created_updated_unchanged(slug: str, provider: ProviderAccount) -> None:
    assert put(slug, provider, name="A", instructions="Be brief.", parameters={"temperature": 0}) == "created"
    assert put(slug, provider, name="A", instructions="Be brief.", parameters={"temperature": 0}) == "unchanged"
    assert put(slug, provider, name="B") == "updated"
    agent = Agent.objects.get(slug=slug)
    assert (agent.name, [version.number for version in agent.versions.all()]) == ("B", [1])
    assert put(slug, provider, "other") == "updated"
    agent = Agent.objects.select_related("current").get(slug=slug)
    assert agent.current is not None
    assert (agent.current.number, agent.current.model, agent.current.instructions) == (2, "other", "Be brief.")
    assert agent.current.parameters == {"temperature": 0}
    assert agent.versions.get(number=1).model == "m", "a version stays what it was"
    actions = [event.action for event in AuditEvent.objects.filter(target=slug)]
    assert actions == ["agent.updated", "agent.updated", "agent.created"]


def test_setting_an_archived_agent_brings_it_back(slug: str, provider: ProviderAccount) -> None:
    put(slug, provider)
    Agent.objects.filter(slug=slug).update(archived_at="2026-01-01T00:00:00Z")
    assert put(slug, provider) == "updated"
    assert Agent.objects.get(slug=slug).archived_at is None


@pytest.mark.parametrize("wrong", ["", "Upper", "-a", "a-", "a b", "a/b", "ä", "x" * 61, "a\x00b", "../x", "a\n"])
def test_names_that_are_none(provider: ProviderAccount, wrong: str) -> None:
    before = Agent.objects.count()
    with pytest.raises(ValidationError):
        put(wrong, provider)
    assert Agent.objects.count() == before


@pytest.mark.parametrize(
    "parameters",
    [
        {"tools": []},
        {"model": "x"},
        ["temperature"],
        "temperature",
        {"temperature": "hot"},
        {"temperature": 3},
        {"temperature": True},
        {"top_p": -0.1},
        {"frequency_penalty": 9},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": "100"},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"seed": "x"},
        {"stop": [1]},
        {"stop": {}},
    ],
    ids=str,
)
def test_parameters_that_no_model_takes(slug: str, provider: ProviderAccount, parameters: Any) -> None:
    """A mistake in a file is found when it is applied, not by everybody who asks the agent."""
    with pytest.raises(ValidationError):
        put(slug, provider, parameters=parameters)
    assert not Agent.objects.filter(slug=slug).exists()


def test_parameters_that_are_fine(slug: str, provider: ProviderAccount) -> None:
    parameters = {
        "temperature": 0.7, "top_p": 1, "max_tokens": 100, "frequency_penalty": -2, "presence_penalty": 2,
        "seed": 7, "stop": ["x"], "thinking": {"type": "disabled"},
    }  # fmt: skip
    assert put(slug, provider, parameters=parameters) == "created"
    assert put(slug, provider, parameters=parameters | {"stop": "x", "max_tokens": None}) == "updated"


def test_a_failed_change_leaves_nothing(slug: str, provider: ProviderAccount) -> None:
    put(slug, provider, name="A")
    with pytest.raises(ValidationError):
        put(slug, provider, "x" * 200, name="B")
    agent = Agent.objects.select_related("current").get(slug=slug)
    assert agent.current is not None
    assert (agent.name, agent.current.model, agent.versions.count()) == ("A", "m", 1)


def test_a_version_is_never_changed(slug: str, provider: ProviderAccount, db: Platform, services: Any) -> None:
    """By a trigger, for whoever asks."""
    put(slug, provider)
    version = AgentVersion.objects.get(agent__slug=slug)
    with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
        AgentVersion.objects.filter(pk=version.pk).update(model="other")
    with (
        psycopg.connect(services.postgres.admin_url, dbname="paas") as superuser,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        superuser.execute(f"UPDATE {db.acme.schema}.agents_agentversion SET model = 'x'".encode())
    version.refresh_from_db()
    assert version.model == "m"


def test_agents_are_their_tenants(slug: str, provider: ProviderAccount, db: Platform) -> None:
    put(slug, provider)
    with scope.bind(db.globex):
        assert not Agent.objects.filter(slug=slug).exists()


def test_a_model_that_the_account_does_not_allow(slug: str, provider: ProviderAccount) -> None:
    put(slug, provider)
    provider_update(provider, actor="test", allowed_models=["other"])
    with pytest.raises(PaasError) as refused:
        agent_spec(slug)  # what is there already is not asked any more
    assert refused.value.code == "model_not_found"
    with pytest.raises(ValidationError):
        put(slug, provider, "third")
    assert put(slug, provider, "other") == "updated"
    assert agent_spec(slug) is not None


def test_tools_and_limits_of_a_version(slug: str, provider: ProviderAccount) -> None:
    put(
        slug,
        provider,
        tools=["calculator", {"name": "clock", "settings": {"timezone": "Asia/Shanghai", "approval": "always"}}],
        limits={"steps": 3},
    )
    assert put(slug, provider, instructions="Be brief.") == "updated"
    current = Agent.objects.select_related("current").get(slug=slug).current
    assert current is not None
    assert [tool["name"] for tool in current.tools] == ["calculator", "clock"]
    spec = agent_spec(slug)
    assert spec is not None
    assert (spec.limits.steps, spec.limits.tool_calls) == (3, 20)
    assert spec.tools[1].settings == {"timezone": "Asia/Shanghai"}
    assert [one.approval for one in spec.tools] == ["tainted", "always"]
    bad: list[Any] = [
        "calculator",
        [1],
        ["nowhere"],
        ["clock", "clock"],
        [{"name": "clock", "settings": 1}],
        [{"name": "clock", "settings": {"approval": "never"}}],
        [{"x": 1}],
    ]
    for tools in bad:
        with pytest.raises(ValidationError):
            put(slug, provider, tools=tools)
    for limits in ({"steps": 0}, {"steps": True}, {"x": 1}, [1]):
        with pytest.raises(ValidationError):
            put(slug, provider, limits=limits)
    provider_update(provider, actor="test", models={"m": {"features": []}})
    with pytest.raises(ValidationError, match="not known to use tools"):
        put(slug, provider, tools=["clock"])
