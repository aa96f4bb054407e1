"""Fills the demo workspace of a new installation as one looks after three months of work: for pictures of its pages
(bench/gallery.py) and for measuring them (bench/pages.py). Never run it on an installation that somebody uses.

    python manage.py shell -c "from bench.showcase import fill; fill()"
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from asgiref.sync import async_to_sync

from accounts import invitations, keys
from accounts.actors import Actor
from accounts.models import User
from accounts.selectors import actor_of_user
from accounts.services import member_set
from agents.editing import draft_update
from agents.models import Agent, Tool
from agents.services import agent_set
from agents.tools.http_services import tool_save
from chat.models import Conversation, Message, Run
from chat.schedules import schedule_create
from core import clock
from knowledge import ingest
from knowledge.bases import base_create
from knowledge.documents import Labels, documents_add, text_source
from tenants import scope
from tenants.models import Tenant
from usage import chain, summaries
from usage.limits import Place, limit_set
from usage.models import UsageRecord

DAYS = 90
PEOPLE = (("anna@acme.test", "Anna Berger", "admin"), ("bo@acme.test", "Bo Lindqvist", "member"),
          ("chen@acme.test", "陈静", "member"), ("dana@acme.test", "Dana Okafor", "viewer"))  # fmt: skip
AGENTS = (
    ("research", "Researcher", "Searches the web and answers with its sources.", "gpt-4o-mini"),
    ("translator", "翻译", "Translates between Chinese and English.", "glm-4-flash"),
    ("support", "Support desk", "Answers customers from the handbook.", "claude-3-5-haiku"),
)
OTHER_WORDS = {
    "Answer customers from the handbook. Be brief.", "Website, staging", "Nightly report", "Looks an order up.",
    "Of the order", "Morning news", "Olga Marin", "What is new about our competitors?",
}  # fmt: skip
PAID = {"cost": "0.00041", "currency": "USD"}
BASE = ("Handbook", "How things are done here.")
HANDBOOK = (
    "Holidays",
    "# Holidays\n\nEverybody has thirty days a year. Days that are left over are carried over until March.",
)
QUESTIONS = (
    (
        "Draft a polite reminder for an unpaid invoice",
        "Here is a draft:\n\nDear ...,\n\nour invoice 1042 is still open.",
    ),
    ("Summarise yesterday's support tickets", "There were 14 tickets. Most of them were about **delivery dates**."),
    ("把会议纪要翻译成英文", "Minutes of the meeting of Tuesday: ..."),
    ("Which of our suppliers are in Portugal?", "Three: Cortiça Lda, Porto Metal, and Azul Têxteis."),
    ("Explain our travel policy in five sentences", "1. Book early. 2. Take the train below 600 km."),
    ("Write a job advert for a data engineer", "# Data engineer\n\nWe look for somebody who likes tidy pipelines."),
)


def fill(slug: str = "acme", *, days: int = DAYS, seed: int = 7) -> None:
    """People, agents, conversations, keys, a tool, a schedule, limits, and a ledger of so many days."""
    chance = random.Random(seed)
    with scope.platform():
        tenant = Tenant.objects.get(slug=slug)
        for email, name, role in PEOPLE:
            member_set(
                tenant=tenant, email=email, name=name, role=role, password="showcase-only-0000", actor="showcase"
            )
        User.objects.filter(email=f"owner@{slug}.test").update(name="Olga Marin")
    with scope.bind(tenant.ref()):
        owner = _actor(f"owner@{slug}.test")
        _furnish(owner)
        _shelve(owner)
        people = [_actor(email) for email, _name, role in PEOPLE if role != "viewer"]
        _converse([owner, *people], chance)
        _use([owner, *people], days, chance)
    with scope.platform():
        chain.seal_all()
        summaries.fold_all()


def _actor(email: str) -> Actor:
    found = actor_of_user(User.objects.get(email=email).pk)
    assert found is not None
    return found


def words() -> set[str]:
    """What of it people read, as opposed to texts of the platform."""
    agents = {text for _slug, name, description, _model in AGENTS for text in (name, description)}
    asked = {text for question, answer in QUESTIONS for text in (question, *answer.splitlines())}
    shelved = {*BASE, *HANDBOOK[1].replace("# ", "").split("\n\n")}
    return agents | asked | shelved | {name for _email, name, _role in PEOPLE} | OTHER_WORDS


def _furnish(owner: Actor) -> None:
    first = Agent.objects.select_related("current__provider").get(slug="assistant").current
    assert first is not None
    for slug, name, description, _model in AGENTS:
        said = {"name": name, "description": description, "instructions": description}
        agent_set(slug=slug, provider=first.provider, model=first.model, actor=owner.label, fields=said)
    draft_update(actor=owner, slug="support", fields={"instructions": "Answer customers from the handbook. Be brief."})
    parent, _token = keys.key_create(
        name="Website", scopes=["chat:read", "chat:write", "agents:execute"], actor=owner.label,
        created_by=owner.user_id, tokens_per_month=5_000_000, agents=["support"],
    )  # fmt: skip
    keys.key_create(name="Website, staging", scopes=["chat:write"], actor=owner.label, parent=parent)
    keys.key_create(name="Nightly report", scopes=["usage:read"], actor=owner.label, created_by=owner.user_id)
    invitations.invitation_create(actor=owner, email="erik@acme.test", role="member")
    tool_save(Tool(), actor=owner.label, fields={
        "name": "orders", "description": "Looks an order up.", "method": "GET",
        "url": "https://shop.example.com/orders/{number}",
        "parameters": [
            {"name": "number", "in": "path", "type": "string", "description": "Of the order", "required": True}
        ],
    })  # fmt: skip
    schedule_create(actor=owner, fields={
        "name": "Morning news", "agent": "research", "prompt": "What is new about our competitors?",
        "cron": "0 8 * * 1-5", "timezone": "Europe/Berlin",
    })  # fmt: skip
    assert owner.user_id is not None
    place = Place(owner.tenant, "user", owner.user_id, "tokens", "month", "")
    limit_set(place=place, amount=Decimal(2_000_000), actor=owner.label)


def _shelve(owner: Actor) -> None:
    """A knowledge base, read and searchable."""
    name, description = BASE
    base_create(actor=owner, slug="handbook", fields={"name": name, "description": description})
    title, text = HANDBOOK
    documents_add(
        actor=owner, slug="handbook", sources=[text_source(title, text)], labels=Labels(["hr"], {"year": 2026})
    )
    while async_to_sync(ingest.turn)(owner.tenant):
        pass


def _converse(people: list[Actor], chance: random.Random) -> None:
    agents = list(Agent.objects.select_related("current").filter(kind="", current__isnull=False))
    for number, (asked, answered) in enumerate(QUESTIONS * 3):
        agent, at = chance.choice(agents), clock.now() - timedelta(hours=7 * number + 1)
        who = people[number // len(QUESTIONS)]
        talk = Conversation.objects.create(
            agent=agent, user_id=who.user_id, title=asked[:200], created_at=at, updated_at=at
        )
        tokens = {"input_tokens": chance.randint(40, 900), "output_tokens": chance.randint(30, 700)}
        assert agent.current is not None
        run = Run.objects.create(
            conversation=talk, agent=agent, version=agent.current, user_id=who.user_id, door="websocket",
            status="failed" if number == 11 else "completed", finish_reason="stop", created_at=at, finished_at=at,
            first_ms=int(chance.lognormvariate(6.1, 0.6)),
            usage=tokens | {"cached_tokens": 0, "reasoning_tokens": 0, "counted": False} | PAID,
        )  # fmt: skip
        said = Message.objects.create(conversation=talk, run=run, role="user", content=asked, created_at=at)
        answer = Message.objects.create(
            conversation=talk, run=run, role="assistant", content=answered, parent_id=said.id, created_at=at
        )
        Conversation.objects.filter(pk=talk.pk).update(leaf_id=answer.id)


def _use(people: list[Actor], days: int, chance: random.Random) -> None:
    weights = {slug: weight for (slug, *_rest), weight in zip(AGENTS, (5, 3, 2), strict=True)}
    today = clock.now()
    for before in range(days):
        at = today - timedelta(days=before, hours=0 if before == 0 else 3)
        busy = 0.25 if at.weekday() >= 5 else 1.0
        number = int(chance.randint(25, 60) * busy * (1.4 - before / days))
        entries = [_entry(people, chance, weights) for _ in range(number)]
        _store(entries, at)


def _entry(people: list[Actor], chance: random.Random, weights: dict[str, int]) -> dict[str, Any]:
    slug = chance.choices(list(weights), list(weights.values()))[0]
    model = next(model for one, _name, _description, model in AGENTS if one == slug)
    read, written = chance.randint(200, 4000), chance.randint(50, 900)
    cost = (Decimal(read) * Decimal("0.15") + Decimal(written) * Decimal("0.6")) / 1_000_000
    return {
        "run_id": uuid.uuid4(), "user_id": chance.choice(people).user_id, "agent": slug, "provider": "vendor",
        "model": model, "input_tokens": read, "output_tokens": written, "counted": False,
        "input_price": Decimal("0.15"), "output_price": Decimal("0.6"), "cost": cost,
    }  # fmt: skip


def _store(entries: list[dict[str, Any]], at: datetime) -> None:
    tenant = scope.current_tenant().id
    with patch("django.utils.timezone.now", return_value=at):  # the ledger dates its entries itself
        UsageRecord.objects.bulk_create([UsageRecord(tenant_id=tenant, **one) for one in entries])
