"""Which agents name a tool or ask a provider, in what is published or in their draft; bound to the tenant."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from agents import content, drafts
from agents.content import Content
from agents.models import Agent
from agents.parameters import FALLBACKS


@dataclass(frozen=True, slots=True)
class Mention:
    """An agent that names it. published: what its callers get does; otherwise its draft alone."""

    agent: Agent
    published: bool


def agents_with_tool(name: str) -> list[Mention]:
    """Those that are given the tool."""
    return _where(lambda said: any(one["name"] == name for one in said["tools"]))


def agents_asking(provider_id: uuid.UUID) -> list[Mention]:
    """Those that ask a model of the account, also where it only stands in for another."""
    key = str(provider_id)
    return _where(lambda said: said["provider"] == key or any(one["provider"] == key for one in fallbacks(said)))


def fallbacks(said: Content) -> list[dict[str, str]]:
    """The models that stand in, each with the id of its account."""
    return list((said.get("parameters") or {}).get(FALLBACKS) or [])


def models_asked(provider_id: uuid.UUID) -> set[str]:
    """The models of the account that published agents ask, or that stand in for others."""
    key, found = str(provider_id), set()
    for mention in agents_asking(provider_id):
        if mention.published and mention.agent.current is not None:
            said = content.content_of(mention.agent.current)
            found |= {one["model"] for one in fallbacks(said) if one["provider"] == key}
            found |= {said["model"]} if said["provider"] == key else set()
    return found


def _where(says: Callable[[Content], bool]) -> list[Mention]:
    found = []
    for agent in Agent.objects.select_related("current").filter(kind="", archived_at=None).order_by("slug"):
        published = agent.current is not None and says(content.content_of(agent.current))
        if published or (agent.draft is not None and says(drafts.draft_of(agent).content)):
            found.append(Mention(agent, published))
    return found
