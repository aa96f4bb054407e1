"""What a version of an agent says, as JSON: drafts, differences and files are made of it.

The fields are those of AgentVersion but for its own (number, note, ...), so a field that is added there is drafted,
compared, published and exported without a word here. A provider stands in it by its id, or by its name where people
and files see it. `name` and `description` are the agent's; those of a draft come into force when it is published.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext

from agents.charges import charged_info
from agents.fallbacks import fallbacks_checked, fallbacks_shown
from agents.models import Agent, AgentVersion
from agents.output import checked_schema
from agents.parameters import FALLBACKS, parameter_problems
from agents.runtime.team import delegation_name
from agents.teams import checked_team, joins, names_in, pinned, slug_of, supervised
from agents.tools.choice import checked_knowledge, checked_limits, checked_tools
from core.errors import PaasError
from core.storable import storable
from llm.features import TOOLS
from llm.models import ProviderAccount
from llm.selectors import provider_named, provider_ref

Content = dict[str, Any]
Faults = dict[str, list[str]]
# Those of the bound tenant, where they have been read already.
Accounts = Sequence[ProviderAccount] | None

_ABOUT = {"id", "agent", "number", "note", "restores", "created_by", "created_at"}
FIELDS = tuple(one.name for one in AgentVersion._meta.concrete_fields if one.name not in _ABOUT)
SHOWN = ("name", "description")
Checks = tuple[tuple[str, Callable[[Any], Any]], ...]
_CHECKS: Checks = (
    ("tools", checked_tools),
    ("knowledge", checked_knowledge),
    ("limits", checked_limits),
    ("output_schema", checked_schema),
)
MOST_LINES = 2000  # of a text whose lines are compared: the time grows with their square


def content_of(version: AgentVersion) -> Content:
    """What a version says."""
    # By its id: the account itself would be a query more for each version.
    return {name: _text(version.provider_id) if name == "provider" else getattr(version, name) for name in FIELDS}


def empty_content() -> Content:
    """What a new agent's draft begins with."""
    return content_of(AgentVersion())


def attributes_of(content: Content) -> dict[str, Any]:
    """The same as AgentVersion takes it."""
    found = {name: content[name] for name in FIELDS if name in content and name != "provider"}
    provider = content.get("provider")
    return found | {"provider_id": uuid.UUID(provider) if provider else None}


def settled(content: Content) -> Content:
    """Content as it is published: a team with its members' versions."""
    return content | {"team": pinned(content.get("team") or {})}


def shown(content: Content, accounts: Accounts = None) -> Content:
    """Content for people: the provider by its name, null where it is none of this workspace's any more."""
    provider = _account(content, accounts)
    ordered = {name: content[name] for name in (*SHOWN, *FIELDS) if name in content}
    if kept := (ordered.get("parameters") or {}).get(FALLBACKS):
        ordered["parameters"] = ordered["parameters"] | {FALLBACKS: fallbacks_shown(kept, accounts)}
    return ordered | {"provider": provider.name if provider else None} if "provider" in content else ordered


def taken(asked: Content, slug: str = "") -> tuple[Content, Faults]:
    """(what somebody asked for, with the provider by id; what is wrong with it, by field). slug: of the agent.

    Only the fields that are there are judged: a draft may be unfinished.
    """
    faults: Faults = {name: ["Not a field of an agent."] for name in asked if name not in (*SHOWN, *FIELDS)}
    wanted = {name: value for name, value in asked.items() if name not in faults}
    for name, value in wanted.items():
        if problem := _type_problem(name, value):
            faults[name] = [problem]
    if wanted.get("provider") and "provider" not in faults:
        account = provider_named(wanted["provider"])
        if account is None:
            faults["provider"] = [
                gettext("There is no provider %(name)r in this workspace.") % {"name": wanted["provider"][:100]}
            ]
        else:
            wanted["provider"] = str(account.pk)
    checks: Checks = (*_CHECKS, ("team", partial(checked_team, slug=slug)))
    for name, check in checks:
        if name in wanted and name not in faults:
            try:
                wanted[name] = check(wanted[name])
            except ValidationError as error:
                faults[name] = error.messages
    if "parameters" not in faults and FALLBACKS in (wanted.get("parameters") or {}):
        try:
            kept = fallbacks_checked(wanted["parameters"][FALLBACKS])
            wanted["parameters"] = wanted["parameters"] | {FALLBACKS: kept}
        except ValidationError as error:
            faults["parameters"] = error.messages
    given = {name for name in wanted if name not in faults}
    # An empty provider or model is one that is still to come.
    given -= {name for name in ("provider", "model", *SHOWN) if not wanted.get(name)}
    return wanted, faults | faults_of(wanted, given)


def faults_of(content: Content, names: set[str] | None = None, slug: str = "", accounts: Accounts = None) -> Faults:
    """What is wrong with these fields (all of them: is it whole?), a list of sentences for each. slug: of the agent."""
    judged = set(FIELDS) | set(SHOWN) if names is None else names
    found: Faults = {}
    version = AgentVersion(number=1, **attributes_of(content if names is None else _only(content, judged)))
    account = _account(content, accounts) if "provider" in judged else None
    others = [one.name for one in AgentVersion._meta.concrete_fields if one.name not in judged]
    others += ["provider"] if account is not None else []
    _collect(found, version, [*others, *version.unasked])
    agent = Agent(slug="x", **{name: content[name] for name in SHOWN if name in content})
    _collect(found, agent, [one.name for one in Agent._meta.concrete_fields if one.name not in judged & set(SHOWN)])
    if "parameters" in judged and (problems := parameter_problems(content.get("parameters") or {})):
        found["parameters"] = problems
    if names is None:
        found |= team_faults(content, slug)
        if account is not None and not version.unasked:
            found |= model_faults(content, account)
    return found


def model_faults(content: Content, account: ProviderAccount) -> Faults:
    """What is wrong with a whole version's own model, of that account."""
    found: Faults = {}
    model = content.get("model", "")
    if account.of_platform:
        found |= _platform_faults(account, model)
    elif not account.enabled:
        found["provider"] = [gettext("The provider %(name)r is switched off.") % {"name": account.name}]
    elif not account.allows(model):
        found["model"] = [
            gettext("The provider %(name)r does not allow the model %(model)r.")
            % {"name": account.name, "model": model}
        ]
    if TOOLS not in charged_info(account, model).features:
        refused = [gettext("The model %(model)r is not known to use tools.") % {"model": model}]
        found |= {name: refused for name in ("tools", "memory", "knowledge") if content.get(name)}
        if supervised(content.get("team") or {}):
            sentence = gettext("The model %(model)r is not known to use tools, and so cannot be a supervisor.")
            found["model"] = [sentence % {"model": model}]
    return found


def _platform_faults(account: ProviderAccount, model: str) -> Faults:
    try:
        provider_ref(account, model)
    except PaasError as error:
        return {"model" if error.code == "model_not_found" else "provider": [error.message]}
    return {}


def team_faults(content: Content, slug: str) -> Faults:
    """What is wrong with a whole version's team."""
    try:
        team = checked_team(content.get("team"), slug)
    except ValidationError as error:
        return {"team": error.messages}
    if team and content.get("memory"):
        return {"memory": ["A team remembers nobody. Give it to an agent that people ask themselves."]}
    if content.get("output_schema") and (team.get("mode") == "iterative" or joins(team)):
        return {
            "output_schema": ["Nobody in this team writes its answer in a form. Give it a combiner or a supervisor."]
        }
    if supervised(team):
        own = {one["name"] for one in content.get("tools") or []}
        if clash := own & {delegation_name(slug_of(one)) for one in names_in(team)}:
            return {"tools": [f"A supervisor asks a member by the name {min(clash)}; no tool can be called so."]}
    elif team:
        if content.get("tools"):
            return {"tools": ["Only a team with a supervisor has tools of its own. Give them to its members."]}
        if (content.get("parameters") or {}).get(FALLBACKS):
            return {"parameters": ["Only a team with a supervisor has fallbacks of its own. Give them to its members."]}
    return {}


def differences(before: Content, after: Content) -> list[dict[str, Any]]:
    """What differs, field by field, as {field, from, to}; instructions as {field, diff}, a unified diff."""
    found: list[dict[str, Any]] = []
    for name in (*SHOWN, *FIELDS):
        if name not in before or name not in after or before[name] == after[name]:
            continue
        if name == "instructions" and (diff := _unified(before[name], after[name])):
            found.append({"field": name, "diff": diff})
        else:
            found.append({"field": name, "from": before[name], "to": after[name]})
    return found


def _unified(before: str, after: str) -> str:
    """ "" where it would take too long, or only the ends of lines differ."""
    lines = before.splitlines(), after.splitlines()
    if max(map(len, lines)) > MOST_LINES:
        return ""
    return "\n".join(difflib.unified_diff(lines[0], lines[1], fromfile="from", tofile="to", lineterm=""))


def _collect(faults: Faults, row: models.Model, exclude: list[str]) -> None:
    try:
        row.full_clean(exclude=exclude, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for name, sentences in error.message_dict.items():
            faults.setdefault("provider" if name == "__all__" else name, []).extend(sentences)


def _type_problem(name: str, value: Any) -> str | None:
    field = (Agent if name in SHOWN else AgentVersion)._meta.get_field(name)
    assert isinstance(field, models.Field)
    if value is None:
        return None if field.null else "This is not to be null."
    if not storable(value):
        return "This has characters that cannot be stored."
    if isinstance(field, models.JSONField):
        default = field.get_default()
        fits = default is None or type(value) is type(default)
        return None if fits else f"This is to be {'a list' if isinstance(default, list) else 'an object'}."
    if isinstance(field, models.BooleanField):
        return None if isinstance(value, bool) else "This is true or false."
    if isinstance(field, models.IntegerField):
        return None if type(value) is int else "This is a whole number."
    return None if isinstance(value, str) else "This is a text."


def _account(content: Content, accounts: Accounts) -> ProviderAccount | None:
    wanted = content.get("provider")
    if not wanted:
        return None
    if accounts is None:
        return ProviderAccount.objects.filter(pk=wanted).first()
    return next((one for one in accounts if str(one.pk) == wanted), None)


def _only(content: Content, names: set[str]) -> Content:
    return {name: value for name, value in content.items() if name in names}


def _text(value: uuid.UUID | None) -> str | None:
    return None if value is None else str(value)
