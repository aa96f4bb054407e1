"""What a version of an agent says of its team: `{"mode", "members": [{"agent", "role"}], "rounds", "combiner"}`.

An agent is named by its slug or, as one version of it, as `slug@3`. Publishing pins: what is published names versions,
so that a member's next version changes no team before somebody publishes the team again. Built-in agents have no
versions. Bound to the tenant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, get_args

from django.core.exceptions import ValidationError
from django.db.models import Q

from accounts.actors import Actor
from agents import registry
from agents.models import SLUG, Agent, AgentVersion
from agents.runtime.spec import Mode
from agents.runtime.team import delegation_name

Team = dict[str, Any]

MODES: tuple[str, ...] = get_args(Mode)
FIELDS = {"mode", "members", "rounds", "combiner"}
MOST_MEMBERS = 20
ROUNDS, MOST_ROUNDS = 5, 20
MOST_DEPTH = 3  # teams within teams, the outermost one counted
MOST_ROLE_CHARS = 2000
NAME = re.compile(r"([^@]+)(?:@([1-9][0-9]{0,8}))?")
# Where a run of a team ends at the latest, where it does not say so itself: its members' calls count, too.
LIMITS = {"steps": 100, "tool_calls": 200, "seconds": 900}


def names_in(team: Team) -> list[str]:
    """The agents of a team, as it names them; the combiner last."""
    return [*(one["agent"] for one in team.get("members", ())), *([team["combiner"]] if "combiner" in team else [])]


def slug_of(name: str) -> str:
    """The agent that a name with or without a version means."""
    return name.partition("@")[0]


def versions_named(names: Iterable[str]) -> dict[str, AgentVersion]:
    """The tenant's own agents' versions with these names, archived ones' too; without a number, those that are
    published now."""
    asked = {name: NAME.fullmatch(name) for name in names}
    pins = {name: (found[1], int(found[2])) for name, found in asked.items() if found and found[2]}
    found: dict[str, AgentVersion] = {}
    if pins:
        wanted = reduce(or_, (Q(agent__slug=slug, number=number) for slug, number in pins.values()))
        rows = AgentVersion.objects.select_related("agent", "provider").filter(wanted, agent__kind="")
        known = {(row.agent.slug, row.number): row for row in rows}
        found |= {name: known[pin] for name, pin in pins.items() if pin in known}
    if slugs := [name for name in asked if name not in pins]:
        own = Agent.objects.select_related("current__agent", "current__provider")
        for agent in own.filter(kind="", slug__in=slugs, current__isnull=False):
            if agent.current is not None:
                found[agent.slug] = agent.current
    return found


def pinned(team: Team) -> Team:
    """The team with the versions that its members have now."""
    if not team:
        return team
    found = versions_named(names_in(team))

    def name(given: str) -> str:
        return f"{found[given].agent.slug}@{found[given].number}" if given in found else given

    return _renamed(team, name)


def unpinned(team: Team) -> Team:
    """The team with its members' slugs alone: numbers of versions mean nothing in another workspace."""
    return _renamed(team, slug_of) if team else team


def checked_team(value: Any, slug: str = "") -> Team:
    """A team as it is kept; `{}` is none. slug: of the agent whose team it is.

    Raises ValidationError in the field `team`.
    """
    if not value and value in (None, {}):
        return {}
    try:
        team = _shaped(value)
        _check_members(team, [slug] if slug else [])
    except ValidationError as error:
        raise ValidationError({"team": error.messages}) from None
    return team


def supervised(team: Team) -> bool:
    """Whether the model of the agent itself asks the members."""
    return team.get("mode") == "supervisor"


def joins(team: Team) -> bool:
    """Whether the results of its members are joined to the answer."""
    return team.get("mode") == "parallel" and "combiner" not in team


def problem_for(actor: Actor, team: Any) -> str | None:
    """Why the actor may not make this team: their key is not for one of its agents."""
    if actor.agents is None or not isinstance(team, dict):
        return None
    foreign = [name for name in names_in(team) if slug_of(name) not in actor.agents]
    return _missing(foreign[0]) if foreign else None


# --- the shape ------------------------------------------------------------------------------------
def _shaped(value: Any) -> Team:
    if not isinstance(value, dict) or set(value) - FIELDS or value.get("mode") not in MODES:
        raise ValidationError(
            f"A team is an object with mode ({', '.join(MODES)}), members, and where it has them rounds and combiner."
        )
    mode, members = value["mode"], value.get("members")
    if not isinstance(members, list) or not 1 <= len(members) <= MOST_MEMBERS:
        raise ValidationError(f"A team has 1 to {MOST_MEMBERS} members.")
    team: Team = {"mode": mode, "members": [_member(one) for one in members]}
    rounds, combiner = value.get("rounds"), value.get("combiner")
    if rounds is not None:
        if mode != "iterative" or type(rounds) is not int or not 1 <= rounds <= MOST_ROUNDS:
            raise ValidationError(f"rounds is a whole number from 1 to {MOST_ROUNDS}, of an iterative team.")
        team["rounds"] = rounds
    if combiner is not None:
        if mode != "parallel" or not _is_name(combiner):
            raise ValidationError("combiner is the name of an agent, in a parallel team.")
        team["combiner"] = combiner
    tools = [delegation_name(slug_of(one["agent"])) for one in team["members"]]
    if supervised(team) and len(set(tools)) != len(tools):
        raise ValidationError("A supervisor has each member once.")
    return team


def _member(value: Any) -> dict[str, str]:
    entry = {"agent": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or set(entry) - {"agent", "role"} or not _is_name(entry.get("agent")):
        raise ValidationError("A member is the name of an agent (slug, or slug@3), or an object with agent and role.")
    role = entry.get("role") or ""
    if not isinstance(role, str) or len(role) > MOST_ROLE_CHARS:
        raise ValidationError(f"The role of a member is a text of at most {MOST_ROLE_CHARS:,} characters.")
    return {"agent": entry["agent"]} | ({"role": role} if role else {})


def _is_name(value: Any) -> bool:
    found = NAME.fullmatch(value) if isinstance(value, str) else None
    return found is not None and SLUG.match(found[1]) is not None


def _renamed(team: Team, name: Any) -> Team:
    found = team | {"members": [one | {"agent": name(one["agent"])} for one in team["members"]]}
    return found | ({"combiner": name(team["combiner"])} if "combiner" in team else {})


# --- the members ----------------------------------------------------------------------------------
def _check_members(team: Team, above: Sequence[str], depth: int = 1) -> None:
    """above: the slugs of the team and those around it, as far as they are known. depth: of the team, from 1."""
    found = versions_named(names_in(team))
    for name in names_in(team):
        slug, version = slug_of(name), found.get(name)
        if slug in above:
            raise ValidationError(f"{slug} would be a member of itself.")
        if version is None:
            built = registry.builtin(slug) if slug == name else None
            if built is None:
                raise ValidationError(_missing(name))
            continue
        if version.agent.archived_at is not None:
            raise ValidationError(f"The agent {slug} is archived.")
        if version.provider is None and not version.team:
            raise ValidationError(f"The agent {name} has no model.")
        if version.team:
            if depth == MOST_DEPTH:
                raise ValidationError(f"Teams are at most {MOST_DEPTH} deep, and {slug} is one team too many.")
            _check_members(version.team, [*above, slug], depth + 1)


def _missing(name: str) -> str:
    return f"There is no agent {name[:80]!r} in this workspace that is published."
