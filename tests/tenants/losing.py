"""Acme with something to lose: the fixture of everybody who tries to get at it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.files.storage import default_storage
from yarl import URL

from accounts import codes
from accounts.invitations import invitation_create
from accounts.models import IdentityProvider, Session, User
from accounts.selectors import actor_of_user
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tenants.models import Limit
from tests.chat.rows import owners_file
from tests.conftest import Platform, in_thread
from tests.direct import Direct
from tests.knowledge.rows import base_with_document
from tests.site import Site
from tests.usage.entries import free, issued_invoice

MARK = "nobody-elses-business"


@dataclass
class Acme:
    """What acme has, and how its owner looks at it."""

    ids: dict[str, str]
    owner: Direct
    cookies: dict[str, str]  # the owner's
    tenant: Any

    @property
    def csrf(self) -> dict[str, str]:
        """The header with which the owner's pages write."""
        return {"X-CSRFToken": self.cookies["csrftoken"]}

    def state(self) -> Any:
        """All of acme's rows that somebody might have changed."""
        from accounts.models import Invitation, Membership
        from agents.models import Agent
        from chat.models import Conversation, Feedback, Message, Response, Run
        from knowledge.models import Document, KnowledgeBase

        def read() -> Any:
            with scope.bind(self.tenant):
                return (
                    sorted(map(str, Conversation.objects.values_list("id", "title", "deleted_at", "updated_at"))),
                    sorted(map(str, Run.objects.values_list("id", "status"))),
                    sorted(map(str, Response.objects.values_list("run_id", "stored"))),
                    Message.objects.count(),
                    sorted(map(str, Agent.objects.values_list("slug", "archived_at", "draft", "current_id"))),
                    Feedback.objects.count(),
                    sorted(map(str, KnowledgeBase.objects.values_list("slug", "name"))),
                    sorted(map(str, Document.objects.values_list("id", "title", "state", "version"))),
                    sorted(map(str, Membership.objects.values_list("user_id", "role"))),
                    sorted(map(str, Invitation.objects.values_list("id", "role", "revoked_at", "accepted_at"))),
                    list(IdentityProvider.objects.values_list("id", "name", "client_id")),
                )

        return in_thread(read)


@pytest.fixture
async def acme(db: Platform, site: Site, long_memory: None) -> AsyncIterator[Acme]:
    """A conversation, a deleted one, a finished run, one that is still answering, and an agent of its own."""
    from accounts.keys import key_create
    from agents.models import Agent, AgentVersion, McpServer
    from agents.services import agent_set
    from chat.models import Conversation, Schedule
    from llm.models import ProviderAccount
    from llm.selectors import provider_named
    from llm.services import provider_create

    secret_agent = f"secret-{uuid.uuid4().hex[:8]}"

    made: dict[str, str] = {"archived_agent": f"archived-{uuid.uuid4().hex[:8]}", "agent_version": "904715"}

    def set_up() -> None:
        with scope.bind(db.acme):
            made["api_key"] = str(key_create(name=MARK, scopes=["chat:read"], actor="test")[0].pk)
            provider: Any = provider_named("scripted")
            for slug in (secret_agent, made["archived_agent"]):
                agent_set(slug=slug, provider=provider, model="demo", actor="test", fields={"name": MARK})
            own = Agent.objects.get(slug=secret_agent)
            AgentVersion.objects.create(agent=own, number=int(made["agent_version"]), provider=provider, model="demo")
            Agent.objects.filter(slug=made["archived_agent"]).update(archived_at="2026-01-01T00:00:00Z")
            made["provider"] = str(provider_create(name=MARK, kind="scripted", enabled=False, actor="test").pk)
            server = McpServer.objects.create(name="own", url="https://mcp.invalid/mcp", secret=MARK)
            made["mcp_server"] = str(server.pk)
            made["tool_name"] = "owners"

    in_thread(set_up)
    invoice = in_thread(lambda: issued_invoice(db, model=MARK, **free("1.50"))).label
    owner = await site.signed_in("owner", "acme")
    conversations, runs = [], []
    for _ in range(2):
        async with owner.post("/api/v1/runs", json={"agent": "assistant", "message": MARK}) as answer:
            started = await answer.json()
        async with owner.get(f"/api/v1/runs/{started['run']['id']}/events") as answer:
            assert MARK in await answer.text()
        conversations.append(started["conversation"]["id"])
        runs.append(started["run"]["id"])
    cookies = {one.key: one.value for one in owner.cookie_jar.filter_cookies(URL(site.url("acme"))).values()}
    csrf = {"X-CSRFToken": cookies["csrftoken"]}
    async with owner.delete(f"/api/v1/conversations/{conversations[1]}", headers=csrf) as answer:
        assert answer.status == 204
    async with owner.get(f"/api/v1/conversations/{conversations[0]}/messages") as answer:
        made["answer"] = (await answer.json())["messages"][-1]["id"]
    async with owner.post("/v1/responses", json={"model": "assistant", "input": MARK}) as answer:
        response = (await answer.json())["id"]
    gate = asyncio.Event()
    ScriptedModel.enqueue([MARK, gate, "end"])
    async with owner.post("/api/v1/runs", json={"agent": "assistant", "message": MARK}) as answer:
        live = (await answer.json())["run"]["id"]
    acme_file = in_thread(lambda: owners_file(db.acme, conversations[0], MARK))
    yield Acme(
        {
            "conversation": conversations[0],
            "deleted_conversation": conversations[1],
            "run": runs[0],
            "live_run": live,
            "response": response,
            "agent_slug": secret_agent,
            "invoice": invoice,
            **in_thread(lambda: someone(db.acme)),
            **in_thread(lambda: owners_links(db.acme)),
            "schedule": in_thread(lambda: owners_schedule(db.acme)),
            "file": acme_file,
            "memory": in_thread(lambda: owners_memory(db.acme)),
            **in_thread(lambda: base_with_document(db.acme, MARK)),
            "approval": in_thread(lambda: owners_approval(db.acme, runs[0])),
            **made,
        },
        site.direct("acme", cookies=cookies, Origin=site.url("acme")),
        cookies,
        db.acme,
    )
    gate.set()
    async with owner.get(f"/api/v1/runs/{live}/events") as answer:
        assert "run.completed" in await answer.text(), "nobody has stopped it"

    def tear_down() -> None:
        with scope.bind(db.acme):
            Conversation.objects.all().delete()
            Schedule.objects.all().delete()
            ProviderAccount.objects.filter(name=MARK).delete()
            McpServer.objects.all().delete()
            default_storage.delete(f"{db.acme.id}/{acme_file}")
            Agent.objects.filter(slug=secret_agent).update(archived_at="2026-01-01T00:00:00Z")

    in_thread(tear_down)


def owners_approval(tenant: Any, run_id: str) -> str:
    """A call of a run of the owner's that waits for a person."""
    from chat.models import Approval, Run

    with scope.bind(tenant):
        run = Run.objects.get(id=run_id)
        call = {"call_id": "c", "name": MARK, "effect": "write", "arguments": "{}", "arguments_hash": "0"}
        return str(Approval.objects.create(run=run, user_id=run.user_id, **call, expires_at=run.created_at).pk)


def someone(tenant: Any) -> dict[str, str]:
    """A person of acme, an invitation that waits, a tool, and a token that is none."""
    from agents.models import Tool

    with scope.bind(tenant):
        owner = actor_of_user(User.objects.get(email="owner@acme.test").pk)
        assert owner is not None
        made = invitation_create(actor=owner, email="somebody@new.test", role="viewer")
        viewer = User.objects.get(email="viewer@acme.test")
        limit = Limit.objects.create(
            tenant_id=tenant.id, level="user", subject_id=viewer.pk, metric="tokens", period="day", amount=1000,
            set_by=owner.label,
        )  # fmt: skip
        return {
            "person": str(viewer.pk),
            "invitation": str(made.pk),
            "invitation_link": uuid.uuid4().hex,
            "limit": str(limit.pk),
            "tool": str(Tool.objects.create(name="owners", description="x", url="https://example.com/").pk),
        }


def owners_schedule(tenant: Any) -> str:
    """A schedule of acme's owner."""
    from chat.schedules import schedule_create

    with scope.bind(tenant):
        actor = actor_of_user(User.objects.get(email="owner@acme.test").pk)
        assert actor is not None
        fields = {"name": MARK, "agent": "assistant", "prompt": MARK, "every_seconds": 86_400}
        return str(schedule_create(actor=actor, fields=fields).pk)


def owners_memory(tenant: Any) -> str:
    """What an agent noted about acme's owner."""
    from agents.models import Agent, Memory

    with scope.bind(tenant):
        owner = User.objects.get(email="owner@acme.test").pk
        agent = Agent.objects.get(slug="assistant")
        return str(Memory.objects.create(user_id=owner, agent=agent, text=MARK, run_id=uuid.uuid4()).pk)


def owners_links(tenant: Any) -> dict[str, str]:
    """The session of acme's owner, and codes that were mailed to them."""
    with scope.bind(tenant):
        owner = User.objects.get(email="owner@acme.test")
        session = Session.objects.filter(user=owner).latest("created_at")
        provider = IdentityProvider.objects.create(
            tenant_id=tenant.id, name="SSO", issuer="https://login.invalid", client_id=MARK, enabled=False
        )
        about: dict[str, Any] = {"seconds": 3600, "user": owner, "tenant_id": tenant.id}
        return {
            "session": str(session.public_id),
            "identity_provider": str(provider.pk),
            "email_code": codes.issue("email", email="elsewhere@acme.test", **about),
            "reset_code": codes.issue("password", **about),
        }
