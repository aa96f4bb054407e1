"""Drafts: what an agent's next version is to be, out of its callers' sight (agents/editing.py changes them).

Agent.draft is {"content": agents.content, "base": number of the version it was begun from (null: none), "by", "at"}.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from agents import content
from agents.content import Content, Faults
from agents.models import Agent, AgentVersion
from core.errors import PaasError

DRAFT = "draft"  # in a number's place


@dataclass(frozen=True, slots=True)
class Draft:
    """The draft of an agent. begun False: nobody has one, so it says what is published."""

    content: Content
    base: int | None
    begun: bool
    by: str = ""
    at: str = ""

    @property
    def revision(self) -> str:
        """Another one after every change of the draft or of what is published; the ETag of both."""
        said = json.dumps([self.content, self.base, self.begun], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def draft_of(agent: Agent) -> Draft:
    """The agent's draft."""
    stored = agent.draft
    if stored is None:
        current = agent.current
        said = content.content_of(current) if current else content.empty_content()
        shown = {"name": agent.name, "description": agent.description}
        return Draft(shown | said, current.number if current else None, begun=False)
    # Fields that a later release has brought are as they are by themselves.
    said = content.empty_content() | stored["content"]
    return Draft(said, stored["base"], begun=True, by=stored["by"], at=stored["at"])


def differs(agent: Agent) -> bool:
    """Whether publishing the draft would change anything."""
    draft = draft_of(agent)
    if not draft.begun or agent.current is None:
        return draft.begun
    published = content.content_of(agent.current) | {"name": agent.name, "description": agent.description}
    return any(published.get(name) != value for name, value in draft.content.items())


def draft_tried(agent: Agent) -> AgentVersion:
    """The draft (or what is published, without one) as a version that a run can point to; the same one while it says
    the same. Raises validation_failed for a draft that is not whole."""
    draft = draft_of(agent)
    if not draft.begun and agent.current is not None:
        return agent.current
    refuse(content.faults_of(draft.content, slug=agent.slug), "The draft cannot be tried yet.")
    attributes = content.attributes_of(content.settled(draft.content))
    found = AgentVersion.objects.filter(agent=agent, number=0, **attributes).first()
    if found is None:
        found = AgentVersion(agent=agent, number=0, created_by=draft.by, **attributes)
        found.save(force_insert=True)
    return found


def check_revision(draft: Draft, revision: str | None) -> None:
    """Raise edited_meanwhile where `revision` (an ETag, with or without quotes; `*` is any) is not the draft's."""
    if revision is None or revision.strip() == "*":
        return
    if revision.strip().removeprefix("W/").strip('"') != draft.revision:
        raise PaasError("edited_meanwhile", details={"revision": draft.revision})


def refuse(faults: Faults, begin: str = "") -> None:
    """Raise validation_failed with all of them, if there are any."""
    if faults:
        told = " ".join(f"{name}: {' '.join(sentences)}" for name, sentences in sorted(faults.items()))
        raise PaasError("validation_failed", f"{begin} {told}".strip(), details={"fields": faults})
