"""How far a new workspace has come: what its people have done already, read from what is there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef

from accounts.models import ApiKey, Invitation, Membership
from agents.models import Agent
from chat.models import Run
from llm.models import ProviderAccount
from tenants import scope
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """provider: a model account that may be used; agent: one that is published; tried: a person got an answer;
    people: somebody else is there or invited; key: there is an API key. hidden: the workspace put the list away."""

    provider: bool
    agent: bool
    tried: bool
    people: bool
    key: bool
    hidden: bool


def first_steps(asked_by: uuid.UUID) -> FirstSteps:
    """Of the bound tenant, for one of its people. One query."""
    own = {"tenant": OuterRef("pk")}
    others = Membership.objects.filter(**own).exclude(user_id=asked_by)
    found = (
        Tenant.objects.filter(pk=scope.current_tenant().id)
        .annotate(
            provider=Exists(ProviderAccount.objects.filter(enabled=True)),
            agent=Exists(Agent.objects.filter(kind="", archived_at=None, current__isnull=False)),
            tried=Exists(Run.objects.filter(user_id__isnull=False, status=Run.Status.COMPLETED).exclude(door="import")),
            people=Exists(others) | Exists(Invitation.objects.filter(**own)),
            key=Exists(ApiKey.objects.filter(**own, revoked_at=None)),
            hidden=F("guide_hidden"),
        )
        .values("provider", "agent", "tried", "people", "key", "hidden")
        .get()
    )
    return FirstSteps(**found)
