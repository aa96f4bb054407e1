"""What a version says of its team: checked, drafted, pinned when it is published, exported, declared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from agents import access, editing, portable, releases
from agents.access import agent_for
from agents.models import Agent
from agents.runtime.spec import AgentSpec
from agents.services import agent_set
from agents.teams import checked_team
from core.errors import PaasError
from llm.models import ProviderAccount
from tenants import scope
from tests.conftest import Platform, in_thread

_numbers = itertools.count(1)


@pytest.fixture
def admin(actor: Any) -> Any:
    return actor("admin")


@pytest.fixture
def bound(db: Platform) -> Iterator[None]:
    with scope.bind(db.acme):
        yield


def plain(admin: Any, **fields: Any) -> str:
    """A published agent of the tenant's."""
    slug = f"teamed-{next(_numbers)}"
    editing.agent_create(actor=admin, slug=slug, fields={"provider": "scripted", "model": "demo"} | fields)
    releases.agent_publish(actor=admin, slug=slug)
    return slug


def team(admin: Any, mode: str, *members: Any, fields: dict[str, Any] | None = None, **more: Any) -> str:
    own: dict[str, Any] = (
        {"provider": "scripted", "model": "demo"} if mode == "supervisor" else {"provider": None, "model": ""}
    )
    return plain(admin, team={"mode": mode, "members": list(members)} | more, **own, **(fields or {}))


def edited(admin: Any, slug: str, **fields: Any) -> None:
    editing.draft_update(actor=admin, slug=slug, fields=fields)
    releases.agent_publish(actor=admin, slug=slug)


def said(slug: str) -> Any:
    current = Agent.objects.select_related("current").get(slug=slug).current
    assert current is not None
    return current.team


def faults(work: Any, field: str = "team") -> str:
    with pytest.raises(PaasError) as caught:
        work()
    assert caught.value.code == "validation_failed"
    return " ".join(caught.value.details["fields"][field])


def spec_of(db: Platform, actor: Any, name: str) -> AgentSpec:
    """From a loop of its own, as a door would ask."""
    import asyncio

    def look() -> AgentSpec:
        access.forget_all()
        return asyncio.run(agent_for(actor, name))

    return in_thread(look)  # type: ignore[no-any-return]


BAD = [
    ("chat", "A team is an object"),
    ({"mode": "vote", "members": ["x"]}, "A team is an object"),
    ({"mode": "parallel"}, "1 to 20 members"),
    ({"mode": "parallel", "members": ["x"] * 21}, "1 to 20 members"),
    ({"mode": "parallel", "members": [{"agent": "x", "rol": ""}]}, "A member is the name"),
    ({"mode": "parallel", "members": ["X y"]}, "A member is the name"),
    ({"mode": "parallel", "members": ["x@0"]}, "A member is the name"),
    ({"mode": "parallel", "members": [{"agent": "x", "role": "y" * 2001}]}, "The role"),
    ({"mode": "parallel", "members": ["x"], "rounds": 2}, "rounds is"),
    ({"mode": "iterative", "members": ["x"], "rounds": 21}, "rounds is"),
    ({"mode": "iterative", "members": ["x"], "rounds": True}, "rounds is"),
    ({"mode": "iterative", "members": ["x"], "combiner": "x"}, "combiner is"),
    ({"mode": "supervisor", "members": ["a.b", "a_b"]}, "each member once"),
    ({"mode": "parallel", "members": ["nobody"]}, "There is no agent 'nobody'"),
    ({"mode": "parallel", "members": ["assistant@99"]}, "There is no agent 'assistant@99'"),
    ({"mode": "parallel", "members": ["echo_agent@1"]}, "There is no agent 'echo_agent@1'"),
]


def test_what_is_no_team(bound: None) -> None:
    for given, told in BAD:
        with pytest.raises(ValidationError) as error:
            checked_team(given)
        assert told in " ".join(error.value.message_dict["team"]), given
    assert checked_team(None) == checked_team({}) == {}
    assert checked_team({"mode": "parallel", "members": ["assistant", {"agent": "echo_agent", "role": "x"}]}) == {
        "mode": "parallel", "members": [{"agent": "assistant"}, {"agent": "echo_agent", "role": "x"}],
    }  # fmt: skip


def test_nobody_is_in_a_team_of_its_own_and_teams_are_not_endless(bound: None, admin: Any) -> None:
    one = plain(admin)
    inner = team(admin, "sequential", one)
    middle = team(admin, "parallel", inner, one)
    outer = team(admin, "iterative", middle)
    assert "one team too many" in faults(lambda: team(admin, "sequential", outer))
    for member in (inner, middle, outer, f"{inner}@1"):
        said = {"mode": "sequential", "members": [member]}
        edit = lambda said=said: editing.draft_update(actor=admin, slug=inner, fields={"team": said})  # noqa: E731
        assert "a member of itself" in faults(edit), member
    with pytest.raises(ValidationError):
        agent_set(slug=inner, provider=None, model="", actor="test", fields={"team": {"mode": "parallel", "members": [outer]}})  # fmt: skip
    releases.agent_archive(actor=admin, slug=one)
    assert "archived" in faults(lambda: team(admin, "sequential", one))


def test_a_supervisor_needs_a_model_that_uses_tools_and_the_others_need_none(bound: None, admin: Any) -> None:
    one = plain(admin)
    assert team(admin, "sequential", one)
    blank = {"provider": None, "model": "", "team": {"mode": "supervisor", "members": [one]}}
    assert faults(lambda: plain(admin, **blank), "provider")
    ProviderAccount.objects.filter(name="scripted").update(models={"mute": {"features": []}})
    mute = blank | {"provider": "scripted", "model": "mute"}
    assert "cannot be a supervisor" in faults(lambda: plain(admin, **mute), "model")
    ProviderAccount.objects.filter(name="scripted").update(models={})
    tools = {"provider": None, "model": "", "team": {"mode": "parallel", "members": [one]}, "tools": ["clock"]}
    assert "Only a team with a supervisor" in faults(lambda: plain(admin, **tools), "tools")
    forms = {"provider": None, "model": "", "team": {"mode": "parallel", "members": [one]}}
    assert "in a form" in faults(lambda: plain(admin, **forms, output_schema={"type": "object"}), "output_schema")
    assert "remembers nobody" in faults(lambda: plain(admin, **forms, memory=True), "memory")


def test_publishing_pins_and_only_publishing_again_moves_on(bound: None, db: Platform, admin: Any) -> None:
    one = plain(admin, instructions="First.")
    slug = team(admin, "parallel", one, "echo_agent", combiner=one)
    assert said(slug) == {
        "mode": "parallel", "members": [{"agent": f"{one}@1"}, {"agent": "echo_agent"}], "combiner": f"{one}@1",
    }  # fmt: skip
    edited(admin, one, instructions="Second.")
    spec = spec_of(db, admin, slug)
    assert spec.team is not None
    assert [member.spec.instructions for member in spec.team.members] == ["First.", ""]
    edited(admin, slug, team={"mode": "parallel", "members": [one]})
    assert said(slug)["members"] == [{"agent": f"{one}@2"}]
    assert [one["field"] for one in releases.agent_diff(Agent.objects.get(slug=slug), "1", "2")["changes"]] == ["team"]
    spec = spec_of(db, admin, f"{slug}@1")
    assert spec.team is not None
    assert (spec.team.members[0].spec.instructions, spec.team.combiner is not None) == ("First.", True)
    editing.draft_update(actor=admin, slug=slug, fields={"team": {"mode": "sequential", "members": [one]}})
    tried = spec_of(db, admin, f"{slug}@draft")
    assert tried.team is not None
    assert (tried.team.mode, spec_of(db, admin, slug).team.mode) == ("sequential", "parallel")  # type: ignore[union-attr]
    _, fresh = releases.agent_roll_back(actor=admin, slug=slug, number=1)
    assert (fresh, said(slug)["members"][0]) == (True, {"agent": f"{one}@1"})


def test_a_member_that_is_gone_is_said_clearly(bound: None, db: Platform, admin: Any) -> None:
    one = plain(admin)
    slug = team(admin, "sequential", "echo_agent", team(admin, "sequential", one))
    releases.agent_archive(actor=admin, slug=one)
    with pytest.raises(PaasError) as gone:
        spec_of(db, admin, slug)
    assert (gone.value.code, f"The agent {one}, a member of this team, is archived." in gone.value.message) == (
        "agent_not_found", True,
    )  # fmt: skip
    releases.agent_restore(actor=admin, slug=one)
    ProviderAccount.objects.filter(name="scripted").update(enabled=False)
    with pytest.raises(PaasError) as off:
        spec_of(db, admin, slug)
    ProviderAccount.objects.filter(name="scripted").update(enabled=True)
    assert (off.value.code, one in off.value.message) == ("provider_not_configured", True)


def test_what_a_team_is_as_a_whole(bound: None, db: Platform, admin: Any) -> None:
    """What its caller may send, its price, its limits; keys that are for other models do not ask it."""
    ProviderAccount.objects.filter(name="scripted").update(models={"small": {"context_tokens": 500, "features": []}})
    small = plain(admin, model="small", parameters={"max_tokens": 77})
    slug = team(admin, "sequential", plain(admin), small, fields={"limits": {"steps": 7}})
    spec = spec_of(db, admin, slug)
    ProviderAccount.objects.filter(name="scripted").update(models={})
    assert (spec.taken.context_tokens, spec.taken.features, spec.taken.priced) == (500, frozenset(), False)
    assert (spec.parameters, spec.limits.steps, spec.limits.seconds) == ({"max_tokens": 77}, 7, 900)
    assert [one.model for one in spec.askable] == ["demo", "small"]
    key = replace(admin, models=frozenset({"demo"}))
    with pytest.raises(PaasError) as refused:
        spec_of(db, key, slug)
    assert refused.value.code == "model_not_found"
    assert spec_of(db, replace(key, models=frozenset({"demo", "small"}), agents=frozenset({slug})), slug)


def test_a_key_makes_no_team_of_agents_that_are_not_for_it(bound: None, admin: Any) -> None:
    one, slug = plain(admin), plain(admin)
    key = replace(admin, agents=frozenset({slug}))
    team = {"mode": "supervisor", "members": [one]}
    assert "There is no agent" in faults(lambda: editing.draft_update(actor=key, slug=slug, fields={"team": team}))
    document = portable.agent_document(Agent.objects.get(slug=slug)) | {"team": team}
    assert "There is no agent" in faults(lambda: portable.agent_import(actor=key, document=document))


def test_a_file_names_members_without_their_versions(bound: None, admin: Any) -> None:
    one = plain(admin)
    slug = team(admin, "sequential", {"agent": one, "role": "Write."})
    document = portable.agent_document(Agent.objects.get(slug=slug))
    assert document["provider"] is None
    assert document["team"] == {"mode": "sequential", "members": [{"agent": one, "role": "Write."}]}
    done = portable.agent_import(actor=admin, document=document | {"slug": f"{slug}-copy"})
    assert (done.what, done.draft["team"]) == ("created", document["team"])
    broken = document | {"slug": f"{slug}-other", "team": {"mode": "sequential", "members": ["nobody"]}}
    assert "There is no agent" in faults(lambda: portable.agent_import(actor=admin, document=broken))


def test_a_declared_team(bound: None, admin: Any) -> None:
    """Applying the file again changes nothing; after a member's new version, it is taken up."""
    one = plain(admin)
    slug = f"declared-{next(_numbers)}"
    fields = {"team": {"mode": "sequential", "members": [one]}}

    def apply() -> str:
        return agent_set(slug=slug, provider=None, model="", actor="test", fields=fields)

    assert [apply(), apply()] == ["created", "unchanged"]
    edited(admin, one, instructions="New.")
    assert [apply(), said(slug)["members"]] == ["updated", [{"agent": f"{one}@2"}]]
    with pytest.raises(ValidationError):
        agent_set(slug=slug, provider=None, model="", actor="test", fields={"team": {}})
