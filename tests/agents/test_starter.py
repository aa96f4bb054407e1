"""What a workspace begins with that somebody made for themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connections

from accounts import tenant_life
from accounts.models import AuditEvent
from agents import starter
from agents.selectors import agents
from tenants import scope
from tests.services import Services
from tests.tenants import life


@pytest.fixture(autouse=True)
def place(db: object, services: Services) -> Iterator[None]:
    with life.cleaned(services):
        yield
        connections.close_all()


@pytest.fixture
def local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LOCAL_MODEL_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(settings, "LOCAL_MODEL_NAME", "small-1")


def test_with_a_local_model_there_is_an_assistant(local_model: None) -> None:
    tenant = life.made()
    with scope.bind(tenant.ref()):
        assert [(agent.slug, agent.current.model) for agent in agents() if agent.current] == [("assistant", "small-1")]
    with scope.platform():
        actions = AuditEvent.objects.filter(tenant_id=tenant.id).values_list("action", "actor")
        assert {("provider.created", starter.ACTOR), ("agent.created", starter.ACTOR)} <= set(actions)


def test_without_one_there_is_none() -> None:
    tenant = life.made()
    with scope.bind(tenant.ref()):
        assert agents() == []


def test_a_workspace_is_furnished_or_not_made(
    services: Services, local_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A77: what fails while it is furnished leaves no schema, and the next try makes all of it."""

    def broken() -> None:
        raise RuntimeError("no furniture")

    tenant = life.request()
    with monkeypatch.context() as patched:
        patched.setattr(tenant_life, "FURNISHED_BY", [starter.furnish, broken])
        with pytest.raises(RuntimeError):
            tenant_life.tenant_build(tenant.id)
        assert life.about(services, tenant) == ["creating"]
    assert tenant_life.tenant_build(tenant.id)
    with scope.bind(life.fresh(tenant).ref()):
        assert len(agents()) == 1
