"""Privileged acts and their audit rows: both, or neither (T26). The watch over all other tests is in tests/conftest.py."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import transaction

from accounts import audit, audit_chain, keys, profile, services, tenant_life
from accounts.models import ApiKey, AuditEvent, User
from agents.services import agent_set
from llm.models import ProviderAccount
from llm.services import provider_create, provider_delete, provider_update
from tenants import scope
from tenants.models import Tenant
from tests.conftest import PASSWORD, Platform
from tests.services import Services

Act = Callable[[Any], object]


def of_tenant(tenant: Any) -> Tenant:
    with scope.platform():
        found: Tenant = Tenant.objects.get(pk=tenant.id)
    return found


def named(tenant: Any) -> Any:
    return ProviderAccount.objects.get(name="audited")


def member(role: str) -> Act:
    def act(tenant: Any) -> object:
        with scope.platform():
            found = Tenant.objects.get(pk=tenant.id)
            return services.member_set(tenant=found, email="audited@acme.test", role=role, password=None, actor="t")

    return act


def operator(tenant: Any) -> object:
    with scope.platform():
        return services.operator_set(email="audited-operator@platform.test", password=PASSWORD, actor="command:t")


def new_key(tenant: Any) -> object:
    return keys.key_create(name="audited", scopes=["chat:read"], actor="t")


# In order: each may build on those before. name -> the act, bound to the tenant, and the action of its row.
ACTS: dict[str, tuple[Act, str]] = {
    "provider_create": (lambda _: provider_create(actor="t", name="audited", kind="scripted"), "provider.created"),
    "provider_update": (
        lambda t: provider_update(named(t), actor="t", name="audited", enabled=False),
        "provider.updated",
    ),
    "agent_set, new": (
        lambda t: agent_set(slug="audited", provider=named(t), model="demo", actor="t", fields={"name": "A"}),
        "agent.created",
    ),
    "agent_set, again": (
        lambda t: agent_set(slug="audited", provider=named(t), model="demo", actor="t", fields={"name": "B"}),
        "agent.updated",
    ),
    "key_create": (new_key, "api_key.created"),
    "key_revoke": (lambda _: keys.key_revoke(key=ApiKey.objects.get(name="audited"), actor="t"), "api_key.revoked"),
    "member_set, new": (member("viewer"), "member.set"),
    "member_set, again": (member("admin"), "member.set"),
    "operator_set": (operator, "operator.created"),
    "person_update": (
        lambda _: profile.person_update(
            user_id=User.objects.get(email="viewer@acme.test").pk, actor="t", name=uuid.uuid4().hex
        ),
        "person.updated",
    ),
    "tenant_update": (
        lambda t: tenant_life.tenant_update(tenant=of_tenant(t), actor="t", name="Other"),
        "tenant.updated",
    ),
    "tenant_suspend": (lambda t: tenant_life.tenant_suspend(tenant=of_tenant(t), actor="t"), "tenant.suspended"),
    "tenant_resume": (lambda t: tenant_life.tenant_resume(tenant=of_tenant(t), actor="t"), "tenant.resumed"),
}
TABLES = ("public.tenants_tenant", "public.accounts_user", "public.accounts_membership", "public.accounts_apikey")
TENANT_TABLES = ("llm_provideraccount", "agents_agent", "agents_agentversion")


@pytest.fixture
def state(db: Platform, services: Services) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """Prints of everything that the acts may change, as it was committed."""
    schema = db.acme.schema
    tables = [*TABLES, *(f"{schema}.{table}" for table in TENANT_TABLES)]
    prints = [
        f"(SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY id::text), '')) FROM {name} t)" for name in tables
    ]
    query = f"SELECT {', '.join(prints)}".encode()
    people = "SELECT id FROM public.accounts_user WHERE email LIKE 'audited%'"
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
        yield lambda: tuple(admin.execute(query).fetchone() or ())
        for statement in (
            "SET session_replication_role = replica",  # versions are append-only
            f"DELETE FROM {schema}.agents_agentversion WHERE agent_id IN (SELECT id FROM {schema}.agents_agent"
            " WHERE slug = 'audited')",
            f"DELETE FROM {schema}.agents_agent WHERE slug = 'audited'",
            f"DELETE FROM {schema}.llm_provideraccount WHERE name = 'audited'",
            f"DELETE FROM public.accounts_membership WHERE user_id IN ({people})",
            f"DELETE FROM public.accounts_user WHERE id IN ({people})",
            "UPDATE public.tenants_tenant SET name = 'Acme' WHERE slug = 'acme'",
        ):
            admin.execute(statement.encode())


def rows(tenant: Any) -> list[str]:
    """The actions in the tenant's log and then in the platform's, each in its own order: clocks may be set back."""
    with scope.platform():
        logs = [AuditEvent.objects.filter(tenant_id=owner) for owner in (tenant.id, None)]
        return [action for log in logs for action in log.order_by("seq").values_list("action", flat=True)]


class Undone(Exception):
    """Thrown away with what was done."""


def test_an_act_and_its_row_are_there_together_or_not_at_all(
    db: Platform, state: Callable[[], tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise Undone

    for name, (act, action) in ACTS.items():
        before, told = state(), rows(db.acme)
        with monkeypatch.context() as broken, scope.bind(db.acme), pytest.raises(Undone):
            broken.setattr(audit, "record", fails)
            act(db.acme)
        assert (state(), rows(db.acme)) == (before, told), f"{name}: done without its row"
        with scope.bind(db.acme), pytest.raises(Undone), transaction.atomic():
            act(db.acme)
            raise Undone
        assert (state(), rows(db.acme)) == (before, told), f"{name}: rolled back, and something stayed"
        with scope.bind(db.acme):
            act(db.acme)
        assert state() != before, name
        assert Counter(rows(db.acme)) == Counter([*told, action]), name
    told = rows(db.acme)
    with scope.bind(db.acme):
        provider = named(db.acme)
        with pytest.raises(Exception, match="protected"):
            provider_delete(provider, actor="t")
    assert rows(db.acme) == told, "what was refused is not told as done"
    with scope.platform():
        assert [verdict for verdict in audit_chain.check_all(newest=False) if verdict.problem] == []
