"""Reads of the audit log: found, paged and named."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from accounts.models import ApiKey, AuditEvent, AuditHead, User
from tenants import scope


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; empty fields ask for nothing.

    actor: a person's address, a key's name, or a label such as `user:<id>`. action: the whole word, or its beginning
    with a dot at its end (`member.`). text: anywhere in action, actor, target and data. since, until: when; until is
    not included.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An audit row, with whom and what it is about by name ("" where nobody here has that id)."""

    event: AuditEvent
    actor_name: str
    target_name: str

    def view(self) -> dict[str, Any]:
        """As JSON."""
        event = self.event
        return {
            "seq": event.seq,
            "id": str(event.id),
            "at": event.at.isoformat(),
            "action": event.action,
            "actor": event.actor,
            "actor_name": self.actor_name,
            "target": event.target,
            "target_name": self.target_name,
            "address": event.address or "",
            "data": event.data,
            "digest": bytes(event.digest or b"").hex(),
        }


def events_of(search: Search, found: QuerySet[AuditEvent] | None = None) -> QuerySet[AuditEvent]:
    """The rows of the bound tenant's log (or of `found`) that match, newest first."""
    rows = AuditEvent.objects.filter(tenant_id=scope.current_tenant().id) if found is None else found
    if search.actor:
        rows = rows.filter(actor__in=_labels(search.actor.strip()))
    if search.action:
        word = search.action.strip()
        rows = rows.filter(action__startswith=word) if word.endswith(".") else rows.filter(action=word)
    if search.target:
        rows = rows.filter(target__icontains=search.target.strip())
    if search.since:
        rows = rows.filter(at__gte=search.since)
    if search.until:
        rows = rows.filter(at__lt=search.until)
    if search.text:
        text = search.text.strip()
        everywhere = Q(action__icontains=text) | Q(actor__icontains=text) | Q(target__icontains=text)
        rows = rows.annotate(as_text=Cast("data", TextField())).filter(everywhere | Q(as_text__icontains=text))
    return rows.order_by("-seq")


def page(search: Search, *, before: int | None = None, limit: int = 50) -> tuple[list[Row], int | None]:
    """Up to `limit` rows older than number `before` of the bound tenant's log, and where the next page begins."""
    rows = events_of(search)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    found = list(rows[: limit + 1])
    following = found[limit - 1].seq if len(found) > limit else None
    return named(found[:limit]), following


def named(events: Iterable[AuditEvent]) -> list[Row]:
    """The rows with names."""
    rows = list(events)
    names = names_of(text for event in rows for text in (event.actor, event.target))
    return [
        Row(event, names.get(event.actor, "") or event.data.get("operator", ""), names.get(event.target, ""))
        for event in rows
    ]


def names_of(labels: Iterable[str]) -> dict[str, str]:
    """The people's addresses and the keys' names for labels such as `user:<id>`, or ids. Bound to a tenant, only its
    own people and keys have one; the others are left out."""
    ids = {label: found for label in set(labels) if (found := _id(label))}
    people = {user.id: user.email for user in User.objects.filter(id__in=_but(ids, "key"))}
    keys = {key.id: key.name for key in ApiKey.objects.filter(id__in=_but(ids, "user", "operator"))}
    names = {**keys, **people}
    return {label: names[found] for label, found in ids.items() if found in names}


def head() -> AuditHead | None:
    """Up to where the bound tenant's log was found whole."""
    return AuditHead.objects.filter(tenant_id=scope.current_tenant().id).first()


def _id(text: str) -> uuid.UUID | None:
    """The id in `user:<id>` or in `<id>` alone."""
    try:
        return uuid.UUID(text.rpartition(":")[2])
    except ValueError:
        return None


def _but(ids: dict[str, uuid.UUID], *kinds: str) -> list[uuid.UUID]:
    """Those that are not of these kinds; where there are none, the query is not made."""
    return [found for label, found in ids.items() if label.partition(":")[0] not in kinds]


def _labels(wanted: str) -> list[str]:
    people = User.objects.filter(email__icontains=wanted).values_list("id", flat=True)[:100]
    keys = ApiKey.objects.filter(name__icontains=wanted).values_list("id", flat=True)[:100]
    labels = [f"{kind}:{one}" for one in people for kind in ("user", "operator")]
    return [wanted, *labels, *(f"key:{one}" for one in keys)]
