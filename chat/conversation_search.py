"""Finding conversations: one's own by what was said in them, and all of a workspace by who, with what and when.

Whoever looks after a workspace sees that people talked, with whom, and what it cost; what was said they do not: no
title and no text of another's conversation leaves this file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.actors import Actor
from accounts.policies import USAGE_READ
from chat import selectors
from chat.models import UNFINISHED, Conversation, Message, Run


@dataclass(frozen=True, slots=True)
class Search:
    """text: in the title or in what was said, in any case. agent: its slug. since, until: days (UTC) on which it was
    last written in. deleted: those out of sight. who: `user:<id>` or `key:<id>`, of a workspace's. Empty: any."""

    text: str = ""
    agent: str = ""
    since: date | None = None
    until: date | None = None
    deleted: bool = False
    who: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a conversation's runs used together. amounts: by currency, of the runs that have a price."""

    runs: int
    tokens: int
    amounts: dict[str, Decimal]


def own_conversations(actor: Actor, search: Search, cursor: str, limit: int) -> tuple[list[Conversation], str | None]:
    """The actor's own, last written in first, and the cursor of the next page. Raises permission_denied, and
    validation_failed for a cursor that is not ours."""
    found = Conversation.objects.select_related("agent").filter(selectors.own_rows(actor))
    if search.text:
        said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=search.text)
        found = found.filter(Q(title__icontains=search.text) | Exists(said))
    return selectors.one_page(_narrowed(found, search).order_by("-updated_at", "-id"), cursor, limit)


def all_conversations(
    actor: Actor, search: Search, before: uuid.UUID | None, limit: int
) -> tuple[list[Conversation], uuid.UUID | None]:
    """Those of everybody, last begun first, without titles, and the id before which the next page begins.

    Raises permission_denied for who may not read the workspace's usage.
    """
    actor.require(USAGE_READ)
    found = Conversation.objects.select_related("agent").defer("title", "config", "meta", "agent__draft")
    kind, _colon, id_ = search.who.partition(":")
    if search.who:
        found = found.filter(**{f"{kind}_id": id_})
    if before is not None:
        found = found.filter(id__lt=before)
    page = list(_narrowed(found, search).order_by("-id")[: limit + 1])
    return page[:limit], page[limit - 1].id if len(page) > limit else None


def _narrowed(found: QuerySet[Conversation], search: Search) -> QuerySet[Conversation]:
    running = Run.objects.filter(conversation=OuterRef("pk"), status__in=UNFINISHED)
    found = found.filter(deleted_at__isnull=not search.deleted).annotate(active=Exists(running))
    if search.agent:
        found = found.filter(agent__slug=search.agent)
    if search.since:
        found = found.filter(updated_at__gte=_midnight(search.since))
    if search.until and search.until.year < 9999:
        found = found.filter(updated_at__lt=_midnight(search.until + timedelta(days=1)))
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def totals_of(conversations: Iterable[Conversation]) -> dict[uuid.UUID, Totals]:
    """What each of these used, by id. One query."""
    runs = Run.objects.filter(conversation__in=[one.id for one in conversations])
    found: dict[uuid.UUID, Totals] = {}
    for id_, usage in runs.values_list("conversation_id", "usage"):
        assert id_ is not None
        before = found.get(id_, Totals(0, 0, {}))
        used = usage or {}
        amounts = dict(before.amounts)
        for currency, cost in (used.get("costs") or {used.get("currency"): used.get("cost")}).items():
            if cost is not None:
                amounts[currency] = amounts.get(currency, Decimal(0)) + Decimal(cost)
        tokens = used.get("input_tokens", 0) + used.get("output_tokens", 0)
        found[id_] = Totals(before.runs + 1, before.tokens + tokens, amounts)
    return found
