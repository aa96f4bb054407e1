"""The limits of a tenant with the names of whom they are for, and which of them hold for whoever asks."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Func, UUIDField

from accounts import key_selectors
from accounts.actors import Actor
from accounts.member_selectors import member_names
from accounts.models import ApiKey, Membership
from agents.counts import counted
from agents.models import Agent
from core import clock
from core.errors import PaasError
from tenants import limits, ratelimit, scope
from tenants.limits import Allowances
from tenants.models import Limit
from tenants.ratelimit import Room
from usage.limits import Place
from usage.models import LimitWarning, Reservation
from usage.standings import Standing, standings_of

Names = Mapping[uuid.UUID, str]
NOBODY: Names = {}
UNCOUNTED = ("users", "agents", "storage_bytes", "documents", "pages", "concurrent_runs")
WARNED_FROM = LimitWarning.THRESHOLDS[0]


@dataclass(frozen=True, slots=True)
class Line:
    """A limit as it is shown. name: of the person, key or agent; "" for the workspace, and for whoever has left.

    id: of the row by which it can be removed; None for a plan's and a key's own.
    """

    standing: Standing
    name: str = ""
    id: uuid.UUID | None = None

    def view(self) -> dict[str, Any]:
        """As JSON."""
        found = self.standing.view()
        return found | {"subject_name": self.name or None, "id": str(self.id) if self.id else None}


def lines(known: Names = NOBODY) -> list[Line]:
    """Every limit of the bound tenant: the workspace's own first, then people's, keys' and agents'.

    known: names of some of them that have been read already.
    """
    tenant = scope.current_tenant().id
    rows = list(Limit.objects.filter(tenant_id=tenant))
    allowed = limits.allowances(rows)
    running = _running()
    found = [*standings_of(tenant), *_uncounted(tenant, allowed, running)]
    found += [*_runs(rows, running), *_requests(rows, allowed)]
    names = _names(found, known)
    order = {"tenant": 0, "user": 1, "key": 2, "agent": 3}
    ids = {(one.level, one.subject_id, one.metric, one.period, one.currency): one.pk for one in rows}
    shown = [Line(one, names.get(one.subject_id, ""), ids.get(_place(one))) for one in found]
    return sorted(shown, key=lambda one: (order[one.standing.level], one.name.lower(), str(one.standing.subject_id)))


def lines_of_workspace() -> list[Line]:
    """The bound tenant's own limits, without those of its people, keys and agents."""
    tenant = scope.current_tenant().id
    rows = list(Limit.objects.filter(tenant_id=tenant, level="tenant"))
    allowed = limits.allowances(rows)
    found = [*standings_of(tenant, {tenant}), *_uncounted(tenant, allowed, _running()), *_requests(rows, allowed)]
    return [Line(one) for one in found]


def line_at(place: Place) -> Line:
    """The limit at a place where one was just set."""
    kind = (place.level, place.subject_id, place.metric, place.period, place.currency)
    return next(line for line in lines() if _place(line.standing) == kind)


def lines_for(actor: Actor, *, rooms: bool = False, known: Names = NOBODY) -> list[Line]:
    """The limits that hold for the actor's turns: the workspace's, and their own, or the key's and those above it.

    An agent's own are among them where the actor may use it. rooms: with what is left of the requests a minute.
    known: names that have been read already.
    """
    tenant = actor.tenant.id
    mine = {tenant, *_subjects_of(actor)}
    every = Agent.objects.filter(archived_at=None).values_list("pk", "slug", "name")
    agents = {pk: name for pk, slug, name in every if actor.agents is None or slug in actor.agents}
    rows = list(Limit.objects.filter(tenant_id=tenant))
    allowed = limits.allowances(rows)
    running = _running()
    found = standings_of(tenant, mine | agents.keys())
    runs = [one for one in _runs(rows, running) if one.subject_id in mine]
    runs += _runs_of_plan(actor, allowed, {one.subject_id for one in runs}, running)
    requests = [one for one in _requests(rows, allowed) if one.subject_id in mine | agents.keys()]
    found += [*_uncounted(tenant, allowed, running), *runs, *requests]
    if rooms:
        found = [_with_room(one) if one.metric == "requests" else one for one in found]
    names = _names(found, agents | dict(known))
    return [Line(one, names.get(one.subject_id, "")) for one in found]


def pressing(actor: Actor) -> list[Standing]:
    """Limits that have come to 80 percent and that concern the person: their own, and, for who manages the workspace,
    its own. One query where nothing presses."""
    tenant = actor.tenant.id
    mine = {tenant} if actor.role in ("owner", "admin") else set()
    mine |= {actor.user_id} if actor.user_id else set()
    today = clock.now().date()
    warned = LimitWarning.objects.filter(
        tenant_id=tenant, subject_id__in=mine, starts_on__in=(today, today.replace(day=1))
    ).exclude(metric="overrun")
    if not mine or not warned.exists():
        return []
    return [one for one in standings_of(tenant, mine) if (one.percent or 0) >= WARNED_FROM]


def subject_of(actor: Actor, level: str, subject_id: uuid.UUID) -> uuid.UUID:
    """The id of somebody or something of the tenant that the actor may set limits for. Raises not_found, and for a key
    what key_selectors.changeable_for raises: no key changes itself."""
    if level == "key":
        return key_selectors.changeable_for(actor, subject_id).pk
    if level == "user":
        there = Membership.objects.filter(tenant_id=actor.tenant.id, user_id=subject_id).exists()
    else:
        there = level == "agent" and Agent.objects.filter(pk=subject_id, archived_at=None).exists()
    if not there:
        raise PaasError("not_found")
    return subject_id


def place_of(actor: Actor, limit_id: uuid.UUID) -> Place:
    """A limit that the actor may change, by its id. Raises not_found; the workspace's own are the operator's."""
    found = Limit.objects.filter(pk=limit_id, tenant_id=actor.tenant.id).exclude(level="tenant").first()
    if found is None:
        raise PaasError("not_found")
    if found.level == "key" and ApiKey.objects.filter(pk=found.subject_id, revoked_at=None).exists():
        key_selectors.changeable_for(actor, found.subject_id)
    return Place(actor.tenant, found.level, found.subject_id, found.metric, found.period, found.currency)


def _subjects_of(actor: Actor) -> set[uuid.UUID]:
    if actor.key_id is None:
        return {actor.user_id} if actor.user_id else set()
    found, key = {actor.key_id}, ApiKey.objects.select_related("parent").filter(pk=actor.key_id).first()
    while key is not None and key.parent_id is not None:
        found.add(key.parent_id)
        key = key.parent
    return found


def _place(one: Standing) -> tuple[Any, ...]:
    return one.level, one.subject_id, one.metric, one.period, one.currency


def _names(found: list[Standing], known: Names) -> dict[uuid.UUID, str]:
    """What those are called whom these limits are for. A query for each kind of them of which one is not known."""
    tenant = scope.current_tenant().id
    missing = [one for one in found if one.subject_id not in known]
    ids = {level: {one.subject_id for one in missing if one.level == level} for level in ("user", "key", "agent")}
    names = dict(known)
    if ids["user"]:
        names |= {user_id: name for user_id, name in member_names().items() if user_id in ids["user"]}
    if ids["key"]:
        names |= dict(ApiKey.objects.filter(tenant_id=tenant, pk__in=ids["key"]).values_list("pk", "name"))
    if ids["agent"]:
        names |= dict(Agent.objects.filter(pk__in=ids["agent"]).values_list("pk", "name"))
    return names


def _uncounted(tenant: uuid.UUID, allowed: Allowances, running: Counter[uuid.UUID]) -> list[Standing]:
    """What is not counted over time: people, agents, files, documents and their pages, and runs at once."""
    there = counted() | {"concurrent_runs": running[tenant]}
    if allowed.of("storage_bytes") is not None:
        there["storage_bytes"] = limits.stored_bytes()
    return [
        Standing(
            "tenant",
            tenant,
            metric,
            "",
            "",
            Decimal(most),
            Decimal(there[metric]),
            source="limit" if metric in allowed.own else "plan",
        )
        for metric in UNCOUNTED
        if (most := allowed.of(metric)) is not None
    ]


def _running() -> Counter[uuid.UUID]:
    """How many runs each of the bound tenant's subjects has at once, those that wait for their turn among them."""
    held = Reservation.objects.filter(tenant_id=scope.current_tenant().id, state=Reservation.State.HELD)
    subjects = held.order_by().annotate(subject=Func("subjects", function="unnest", output_field=UUIDField()))
    return Counter(dict(subjects.values_list("subject").annotate(count=Count("*"))))


def _runs(rows: list[Limit], running: Counter[uuid.UUID]) -> list[Standing]:
    """Limits of people, keys and agents on runs at once."""
    return [
        Standing(one.level, one.subject_id, "concurrent_runs", "", "", one.amount, Decimal(running[one.subject_id]))
        for one in rows
        if one.metric == "concurrent_runs" and one.level != "tenant"
    ]


def _runs_of_plan(
    actor: Actor, allowed: Allowances, known: set[uuid.UUID], running: Counter[uuid.UUID]
) -> list[Standing]:
    """What the plan says of each person or key, for who has no limit of their own."""
    plan, subject = allowed.plan, actor.user_id or actor.key_id
    most = plan.max_concurrent_runs_per_user if actor.user_id else plan.max_concurrent_runs_per_key
    if most is None or subject is None or subject in known:
        return []
    level, used = ("user" if actor.user_id else "key"), Decimal(running[subject])
    return [Standing(level, subject, "concurrent_runs", "", "", Decimal(most), used, source="plan")]


def _requests(rows: list[Limit], allowed: Allowances) -> list[Standing]:
    own = [one for one in rows if one.metric == "requests"]
    found = [Standing(one.level, one.subject_id, "requests", "minute", "", one.amount, None) for one in own]
    tenant, whole = scope.current_tenant().id, allowed.plan.requests_per_minute
    if whole is not None and not any(one.level == "tenant" for one in found):
        found.insert(0, Standing("tenant", tenant, "requests", "minute", "", Decimal(whole), None, source="plan"))
    return found


def _with_room(found: Standing) -> Standing:
    """With how many requests of the minute are used: a question to Redis that counts for nothing itself."""
    whose = "tenant" if found.level == "tenant" else f"own:{found.level}:{found.subject_id}"
    room: Room | None = ratelimit.room_of(ratelimit.Limit(whose, max(int(found.limit), 1), 60.0))
    if room is None:
        return found
    return Standing(
        found.level,
        found.subject_id,
        "requests",
        "minute",
        "",
        found.limit,
        found.limit - room.left,
        source=found.source,
    )
