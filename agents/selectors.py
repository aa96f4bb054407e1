"""Reads of agents, bound to their tenant."""

from __future__ import annotations

import re
from datetime import datetime

from accounts.actors import Actor
from agents.models import Agent, AgentVersion


def agents() -> list[Agent]:
    """The tenant's own agents that can be used, oldest first."""
    own = Agent.objects.select_related("current").filter(kind="")
    return list(own.filter(archived_at=None, current__isnull=False))


def agents_for(actor: Actor) -> list[Agent]:
    """Those of `agents` that the actor may use."""
    return [one for one in agents() if one.current is not None and actor.may_use(one.slug, one.current.model)]


def version_made_at(slug: str, pin: str) -> datetime | None:
    """When the version `pin` of an agent that is in use was published; None where there is none."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", pin):
        return None
    own = AgentVersion.objects.filter(agent__slug=slug, agent__kind="", agent__archived_at=None, number=int(pin))
    return own.values_list("created_at", flat=True).first()
