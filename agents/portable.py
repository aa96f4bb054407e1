"""An agent as a file: one document that another workspace, or another platform, can take in. No secret is in it.

{"format": "agent/1", "slug", "name", "description", "provider": {"name", "kind"}, "model", ...} with every field of
agents.content. A provider is found by its name, or, where there is none of that name, as the only one of its kind. The
members of a team are named without their versions, and must be there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from django.db import transaction
from django.utils.translation import gettext

from accounts.actors import Actor
from accounts.policies import AGENTS_MANAGE
from agents import content, drafts, editing, releases
from agents.content import FIELDS, SHOWN, Content, Faults
from agents.models import SLUG, Agent, AgentVersion
from agents.teams import unpinned
from core.errors import PaasError
from llm.models import ProviderAccount

FORMAT = "agent/1"
FAMILY = "agent/"
DEEPEST = 50  # a parameter's schema of a tool is the deepest part of a file, and far below that


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do. what: `created`, `drafted` (the agent's draft says it now) or `unchanged`."""

    slug: str
    what: str
    draft: Content
    changes: list[dict[str, Any]]


def agent_document(agent: Agent, which: str = "") -> Content:
    """One of the agent's versions as a document; which: a number, `draft`, or "" (what is published, else the draft).

    Raises validation_failed, not_found.
    """
    if not which:
        which = str(agent.current.number) if agent.current else drafts.DRAFT
    shown = {"name": agent.name, "description": agent.description}
    said: Content = shown | releases.said_by(agent, which, "version")
    account = ProviderAccount.objects.filter(pk=said["provider"]).first() if said["provider"] else None
    provider = {"name": account.name, "kind": account.kind} if account else None
    document = content.shown(said) | {"team": unpinned(said["team"]), "provider": provider}
    return {"format": FORMAT, "slug": agent.slug} | document


def document_of(text: str) -> Any:
    """The document in a file, YAML or JSON. Raises validation_failed for what is neither, or is more than JSON says."""
    try:
        _look_at(text)
        return json.loads(json.dumps(yaml.safe_load(text), allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise PaasError("validation_failed", gettext("This is not an agent's file: it is no YAML or JSON.")) from None


def _look_at(text: str) -> None:
    """Raise for what a small file could cost much with, before it is read: references, and brackets in brackets, of
    which each takes milliseconds."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise PaasError("validation_failed", gettext("The file nests deeper than any agent's file does."))
        if isinstance(event, yaml.AliasEvent):
            raise PaasError("validation_failed", gettext("The file has YAML references, which no agent's file has."))


class _DryRun(Exception):
    """Rolls a transaction back."""


def agent_import(*, actor: Actor, document: Any, dry_run: bool = False) -> Imported:
    """Take a document in: a new agent, not published yet, or the draft of the one that has its slug, in the place of
    the draft that it has. What is published stays as it is.

    Raises permission_denied, plan_limit_reached, already_exists (an archived or a built-in agent has the slug), or
    validation_failed with everything that is wrong with the document in `details.fields`.
    """
    slug, fields = _read(actor, document)
    done: Imported | None = None
    try:
        with transaction.atomic():
            done = _take_in(actor, slug, fields)
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    assert done is not None
    return done


def _take_in(actor: Actor, slug: str, fields: Content) -> Imported:
    if not Agent.objects.filter(slug=slug, kind="", archived_at=None).exists():
        agent = editing.agent_create(actor=actor, slug=slug, fields=fields)
        draft = drafts.draft_of(agent).content
        return Imported(slug, "created", content.shown(draft), [])
    before = drafts.draft_of(editing.agent_locked(actor, slug))
    after = drafts.draft_of(editing.draft_update(actor=actor, slug=slug, fields=fields))
    texts = content.shown(before.content), content.shown(after.content)
    what = "unchanged" if before == after else "drafted"
    return Imported(slug, what, texts[1], content.differences(*texts))


def _read(actor: Actor, document: Any) -> tuple[str, Content]:
    """(slug, fields as agents.content takes them) of a document that is right from end to end."""
    actor.require(AGENTS_MANAGE)
    if not isinstance(document, dict):
        raise PaasError("validation_failed", gettext("An agent's document is an object."))
    faults: Faults = {}
    given, known = document.get("format"), {"format", "slug", *SHOWN, *FIELDS}
    if given != FORMAT:
        later = isinstance(given, str) and given.startswith(FAMILY)
        faults["format"] = [f"This platform reads {FORMAT}{', and no later one' if later else ''}."]
    faults |= {str(name): ["Not a field of an agent."] for name in document if name not in known}
    slug = document.get("slug")
    if not isinstance(slug, str) or not SLUG.match(slug):
        faults["slug"] = ["Use 1 to 60 small letters, digits, and inner . _ or -."]
        slug = ""
    fields = {name: value for name, value in document.items() if name in (*SHOWN, *FIELDS)}
    # What the document leaves out is as it is by itself, and not as an earlier draft has it.
    fields = {"name": slug or "-", "description": ""} | content.empty_content() | fields
    named = fields.pop("provider")
    wanted, found = content.taken(fields, slug)
    faults |= found
    unasked = AgentVersion(team=wanted.get("team") or {}).unasked
    provider, problem = (None, "") if named is None and unasked else _provider(named)
    if problem:
        faults["provider"] = [problem]
    whole = content.faults_of(wanted | {"provider": str(provider.pk) if provider else None}, slug=slug)
    faults |= {name: told for name, told in whole.items() if name not in faults}
    drafts.refuse(faults, "The document cannot be imported.")
    return slug, fields | {"provider": provider.name if provider else None}


def _provider(said: Any) -> tuple[ProviderAccount | None, str]:
    """(the account that is meant, or why there is none)."""
    if not isinstance(said, dict) or not all(isinstance(said.get(name), str) for name in ("name", "kind")):
        return None, "This is to be an object with the name and the kind of a provider."
    usable = list(ProviderAccount.objects.filter(kind=said["kind"], enabled=True).order_by("created_at"))
    named = [one for one in usable if one.name == said["name"]]
    if len(found := named or usable) == 1:
        return found[0], ""
    which = "several, and none of them is called" if found else "none, and so none called"
    return None, f"Of the providers of kind {said['kind'][:40]!r} there are {which} {said['name'][:60]!r}."
