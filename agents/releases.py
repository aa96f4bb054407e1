"""Published versions: publishing a draft, going back, archiving; and what versions there are and how they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.actors import Actor
from agents import access, content, drafts
from agents.content import Content
from agents.drafts import DRAFT
from agents.editing import agent_locked
from agents.models import Agent, AgentVersion
from core import clock
from core.errors import PaasError
from core.storable import storable
from tenants import limits

MOST_NOTE_CHARS = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """What whoever publishes has seen: the draft (its ETag), and the number of the version that is published.

    None is not asked about. Without `base`, what is published must still be what the draft was begun from.
    """

    revision: str | None = None
    base: int | None = None


@transaction.atomic
def agent_publish(*, actor: Actor, slug: str, note: str = "", seen: Seen | None = None) -> tuple[Agent, bool]:
    """Make the draft the agent's next version, current at once; (agent, whether there is a new version: none where
    nothing but the name or the description differs).

    Raises permission_denied, agent_not_found, edited_meanwhile, or validation_failed where there is no draft, or with
    what is wrong with it in `details.fields`.
    """
    seen, agent = seen or Seen(), agent_locked(actor, slug)
    _check_note(note)
    draft = drafts.draft_of(agent)
    drafts.check_revision(draft, seen.revision)
    if not draft.begun:
        raise PaasError("validation_failed", "There is no draft to publish. Change something first.")
    number = agent.current.number if agent.current else None
    if (draft.base if seen.base is None else seen.base) != number:
        raise PaasError(
            "edited_meanwhile",
            "Another version was published since this draft was begun. Look at what differs, then publish with its "
            "number as `base`.",
            details={"revision": draft.revision, "current": number},
        )
    drafts.refuse(content.faults_of(draft.content, slug=slug), "The draft cannot be published yet.")
    said = content.settled(draft.content)
    agent.name, agent.description = said["name"], said["description"]
    fresh = agent.current is None or any(content.content_of(agent.current)[one] != said[one] for one in content.FIELDS)
    if fresh:
        agent.current = _new_version(agent, content.attributes_of(said), actor, note)
    agent.draft = None
    agent.save(update_fields=["name", "description", "current", "draft"])
    audit.record(
        "agent.published",
        actor=actor.label,
        target=slug,
        version=agent.current.number if agent.current else None,
        before=number,
        **({"note": note} if note else {}),
    )
    transaction.on_commit(access.forget_all)
    return agent, fresh


@transaction.atomic
def agent_roll_back(*, actor: Actor, slug: str, number: int, note: str = "") -> tuple[Agent, bool]:
    """Publish once more what version `number` said, under the next number: versions tell in order what was in force.

    A draft stays as it is. (agent, whether there is a new version: none where it says the same as the current one).
    Raises permission_denied, agent_not_found, not_found, validation_failed for one that cannot be used any more.
    """
    agent = agent_locked(actor, slug)
    _check_note(note)
    old = version_of(agent, number)
    said = content.content_of(old)
    if agent.current is not None and content.content_of(agent.current) == said:
        return agent, False
    faults = content.faults_of(said | {"name": agent.name, "description": agent.description}, slug=slug)
    drafts.refuse(faults, f"Version {number} cannot be used any more.")
    before = agent.current.number if agent.current else None
    agent.current = _new_version(agent, content.attributes_of(said), actor, note, restores=number)
    agent.save(update_fields=["current"])
    audit.record(
        "agent.rolled_back",
        actor=actor.label,
        target=slug,
        version=agent.current.number,
        restores=number,
        before=before,
        **({"note": note} if note else {}),
    )
    transaction.on_commit(access.forget_all)
    return agent, True


@transaction.atomic
def agent_archive(*, actor: Actor, slug: str) -> None:
    """Take an agent out of use, pinned versions too; `agent_restore` undoes it. Raises permission_denied,
    agent_not_found."""
    agent = agent_locked(actor, slug)
    agent.archived_at = clock.now()
    agent.save(update_fields=["archived_at"])
    audit.record("agent.archived", actor=actor.label, target=slug)
    transaction.on_commit(access.forget_all)


@transaction.atomic
def agent_restore(*, actor: Actor, slug: str) -> Agent:
    """Bring an archived agent back as it was. Raises permission_denied, agent_not_found, plan_limit_reached."""
    agent = agent_locked(actor, slug, archived=True)
    limits.one_at_a_time("agents")
    limits.check_agents(Agent.objects.filter(archived_at=None, kind="").count())
    agent.archived_at = None
    agent.save(update_fields=["archived_at"])
    audit.record("agent.restored", actor=actor.label, target=slug)
    transaction.on_commit(access.forget_all)
    return agent


def version_of(agent: Agent, number: int) -> AgentVersion:
    """One published version. Raises not_found."""
    found = AgentVersion.objects.select_related("provider").filter(agent=agent, number=number, number__gt=0).first()
    if found is None:
        raise PaasError("not_found", f"The agent {agent.slug} has no version {number}.")
    return found


def versions_before(agent: Agent, before: int | None, limit: int) -> list[AgentVersion]:
    """Published versions, newest first; only those below `before`."""
    found = AgentVersion.objects.select_related("provider").filter(agent=agent, number__gt=0)
    return list((found.filter(number__lt=before) if before else found)[:limit])


def agent_diff(agent: Agent, before: str, after: str) -> dict[str, Any]:
    """How two of an agent's versions differ; each is a number, `draft`, or "" (what is published, what is drafted).

    Raises validation_failed, not_found.
    """
    current = str(agent.current.number) if agent.current else ""
    sides = (before or current, after or DRAFT)
    texts = [content.shown(said_by(agent, side, place)) for side, place in zip(sides, ("from", "to"), strict=True)]
    return {"from": _told(sides[0]), "to": _told(sides[1]), "changes": content.differences(*texts)}


def said_by(agent: Agent, side: str, place: str) -> Content:
    """What one of an agent's versions says: a number, `draft`, or "" (nothing yet). place: how the caller names it.

    Raises validation_failed, not_found.
    """
    if side == DRAFT:
        return drafts.draft_of(agent).content
    shown = {"name": agent.name, "description": agent.description}
    if not side:  # nothing was published yet
        return {"name": "", "description": ""} | content.empty_content()
    if not (side.isascii() and side.isdigit() and len(side) < 10):
        raise PaasError("validation_failed", f"{place} is a version's number, or draft.", details={"param": place})
    said = content.content_of(version_of(agent, int(side)))
    # The name is the agent's and no version's: between a draft and what is published it may differ.
    return shown | said if agent.current is not None and agent.current.number == int(side) else said


def _told(side: str) -> int | str | None:
    return int(side) if side.isdigit() else side or None


def _new_version(
    agent: Agent, attributes: dict[str, Any], actor: Actor, note: str, *, restores: int | None = None
) -> AgentVersion:
    last = AgentVersion.objects.filter(agent=agent).values_list("number", flat=True).first() or 0
    version = AgentVersion(
        agent=agent, number=last + 1, created_by=actor.label, note=note, restores=restores, **attributes
    )
    version.full_clean(exclude=version.unasked)
    version.save(force_insert=True)
    return version


def _check_note(note: str) -> None:
    if len(note) > MOST_NOTE_CHARS or not storable(note):
        drafts.refuse({"note": [f"At most {MOST_NOTE_CHARS} characters, all of which can be stored."]})
