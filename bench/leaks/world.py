"""Tenants with equal names for everything and a canary in every text, so that a foreign row shows itself."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from tenants.scope import TenantRef

AGENT, GREETING, FILE = "assistant", "greeting", "notes.txt"


@dataclass(eq=False, slots=True)
class Customer:
    """A tenant and what is needed to act in it. sealed: a secret as it is stored, encrypted."""

    ref: TenantRef
    canary: str
    email: str
    session: str
    token: str
    conversation: uuid.UUID
    run: uuid.UUID
    file: str
    sealed: str
    recent_runs: list[uuid.UUID] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The tenant's host name."""
        return f"{self.ref.slug}.localhost"


@dataclass(slots=True)
class World:
    """All of them."""

    customers: list[Customer]

    def canary_of(self, tenant_id: uuid.UUID | None) -> str:
        """The canary that stands for a row which names its tenant only by id."""
        return next((one.canary for one in self.customers if one.ref.id == tenant_id), "")

    def to_json(self) -> list[dict[str, Any]]:
        """As values, to hand to another process."""
        return [asdict(customer) for customer in self.customers]

    @classmethod
    def from_json(cls, stored: list[dict[str, Any]]) -> World:
        """The inverse of `to_json`, after JSON made texts of the ids."""
        customers = []
        for fields in stored:
            ids = {name: uuid.UUID(fields[name]) for name in ("conversation", "run")}
            ref = TenantRef(**fields["ref"] | {"id": uuid.UUID(fields["ref"]["id"])})
            customers.append(Customer(**fields | ids | {"ref": ref, "recent_runs": []}))
        return cls(customers)


def make(count: int) -> World:
    """`count` new tenants with people, keys, agents, conversations, sessions, files and cached values.

    Needs the paas_owner login (it provisions).
    """
    return World([_customer() for _ in range(count)])


def content_of(name: str) -> bytes:
    """A stored file, which is closed also where it should not have been opened."""
    from django.core.files.storage import default_storage

    with default_storage.open(name) as found:
        content: bytes = found.read()
    return content


def _customer() -> Customer:
    from accounts.services import member_set
    from tenants import provisioning, scope

    canary = f"canary{secrets.token_hex(8)}"
    slug = f"leak-{canary[-12:]}"
    tenant = provisioning.tenant_create(slug=slug, name=canary, plan="pro")
    ref, email = tenant.ref(), f"owner@{slug}.test"
    with scope.platform():
        member_set(tenant=tenant, email=email, role="owner", password=None, actor=canary, name=canary)
    with scope.bind(ref):
        return _contents(ref, canary, email)


def _contents(ref: TenantRef, canary: str, email: str) -> Customer:
    from django.core.cache import cache
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.db import connection

    from accounts.keys import key_create
    from accounts.models import User
    from usage.models import Quota

    user = User.objects.get(email=email)
    _, token = key_create(name="ci", scopes=["*"], actor=canary)
    conversation, run = _talk(canary, user)
    Quota.objects.create(tenant_id=ref.id, level="user", subject_id=user.pk, month="2026-01-01", allowance=None)
    cache.set(GREETING, canary, None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM llm_provideraccount")
        sealed = cursor.fetchone()[0]
    return Customer(
        ref=ref,
        canary=canary,
        email=email,
        session=session_of(user, canary),
        token=token,
        conversation=conversation,
        run=run,
        file=default_storage.save(FILE, ContentFile(canary)),
        sealed=sealed,
    )


def _talk(canary: str, user: Any) -> tuple[uuid.UUID, uuid.UUID]:
    """An agent and a finished conversation with it."""
    from agents.models import Agent
    from agents.services import agent_set
    from chat.log import encode_events
    from chat.models import Conversation, Message, Run, RunSegment
    from llm.services import provider_create

    account = provider_create(actor=canary, name="vendor", kind="scripted", api_key=canary)
    fields = {"name": canary, "description": canary, "instructions": f"You are {canary}."}
    agent_set(slug=AGENT, provider=account, model="demo", actor=canary, fields=fields)
    agent: Any = Agent.objects.get(slug=AGENT)
    conversation = Conversation.objects.create(agent=agent, user_id=user.pk, title=canary)
    run = Run.objects.create(
        conversation=conversation, agent=agent, version=agent.current, user_id=user.pk,
        door="sse", status="completed", last_seq=1, usage={"canary": canary},
    )  # fmt: skip
    for role in ("user", "assistant"):
        Message.objects.create(conversation=conversation, run=run, role=role, content=canary)
    events = encode_events([("run.completed", {"usage": {"canary": canary}})])
    RunSegment.objects.create(run=run, first_seq=1, last_seq=1, events=events)
    return conversation.id, run.id


def session_of(user: Any, canary: str) -> str:
    """A signed-in session's key: what its cookie holds."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from accounts.sessions import SessionStore

    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "accounts.backends.EmailBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store["canary"] = canary
    store.create()
    return str(store.session_key)
