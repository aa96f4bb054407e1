"""Which agents name a tool or a knowledge base, or ask a provider, in what is published or in their draft; bound to
the tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
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
    return agents_with_tools().get(name, [])


def agents_with_tools() -> dict[str, list[Mention]]:
    """For each tool that is named at all, those that are given it."""
    found: dict[str, list[Mention]] = {}
    for agent, published, drafted in _agents():
        named = [{one["name"] for one in said["tools"]} if said else set() for said in (published, drafted)]
        for name in named[0] | named[1]:
            found.setdefault(name, []).append(Mention(agent, name in named[0]))
    return found


def agents_with_knowledge(slug: str) -> list[Mention]:
    """Those that answer from the knowledge base of this name."""
    found = []
    for agent, published, drafted in _agents():
        named = [said is not None and slug in said["knowledge"] for said in (published, drafted)]
        if any(named):
            found.append(Mention(agent, named[0]))
    return found


def agents_asking(provider_id: uuid.UUID) -> list[Mention]:
    """Those that ask a model of the account, also where it only stands in for another."""
    key = str(provider_id)
    asking = [(agent, _asks(published, key), _asks(drafted, key)) for agent, published, drafted in _agents()]
    return [Mention(agent, bool(published)) for agent, published, drafted in asking if published or drafted]


def models_asked(provider_id: uuid.UUID) -> set[str]:
    """The models of the account that published agents ask, or that stand in for others."""
    return {model for _, published, _ in _agents() for model in _asks(published, str(provider_id))}


def _asks(said: Content | None, provider: str) -> set[str]:
    """The models of an account that are asked, or stand in."""
    if said is None:
        return set()
    own = {said["model"]} if said["provider"] == provider else set()
    others = (said["parameters"] or {}).get(FALLBACKS) or []
    return own | {one["model"] for one in others if one["provider"] == provider}


def _agents() -> Iterator[tuple[Agent, Content | None, Content | None]]:
    """Each agent that is in use, with what is published and what is drafted."""
    for agent in Agent.objects.select_related("current").filter(kind="", archived_at=None).order_by("slug"):
        published = content.content_of(agent.current) if agent.current else None
        yield agent, published, drafts.draft_of(agent).content if agent.draft is not None else None
