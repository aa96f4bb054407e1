"""Drafts, publishing, going back, archiving, pins and files: what callers get changes when somebody publishes, only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent
from agents import content, drafts, editing, portable, releases
from agents.access import agent_for
from agents.models import Agent, AgentVersion
from agents.releases import Seen
from agents.services import agent_set
from agents.specs import agent_spec
from core.errors import PaasError
from llm.services import provider_create, provider_update
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


@pytest.fixture
def slug(bound: None, admin: Any) -> str:
    """An agent whose first version is published."""
    found = f"released-{next(_numbers)}"
    fields = {"provider": "scripted", "model": "demo", "instructions": "Be brief.\nBe kind."}
    editing.agent_create(actor=admin, slug=found, fields=fields)
    releases.agent_publish(actor=admin, slug=found, note="First")
    return found


def agent_of(slug: str) -> Agent:
    return Agent.objects.select_related("current").get(slug=slug)


def draft(admin: Any, slug: str, **fields: Any) -> drafts.Draft:
    return drafts.draft_of(editing.draft_update(actor=admin, slug=slug, fields=fields))


def refused(work: Any) -> PaasError:
    with pytest.raises(PaasError) as caught:
        work()
    return caught.value


def test_a_draft_touches_nothing_until_it_is_published(slug: str, admin: Any) -> None:
    before = agent_of(slug).current
    assert before is not None
    draft(admin, slug, model="other", name="Renamed", instructions="Be brief.\nBe exact.")
    agent = agent_of(slug)
    assert (agent.current, agent.name) == (before, slug)
    changes = {one["field"]: one for one in releases.agent_diff(agent, "", "")["changes"]}
    assert set(changes) == {"name", "model", "instructions"}
    assert (changes["model"]["from"], changes["model"]["to"]) == ("demo", "other")
    assert {"-Be kind.", "+Be exact."} <= set(changes["instructions"]["diff"].splitlines())

    agent, fresh = releases.agent_publish(actor=admin, slug=slug, note="Second")
    assert agent.current is not None
    assert (fresh, agent.current.number, agent.current.note, agent.name) == (True, 2, "Second", "Renamed")
    assert (agent.current.created_by, agent_of(slug).draft) == (admin.label, None)
    assert [one["field"] for one in releases.agent_diff(agent, "1", "2")["changes"]] == ["model", "instructions"]
    actions = list(AuditEvent.objects.filter(target=slug).order_by("seq").values_list("action", flat=True))
    assert actions == ["agent.drafted", "agent.published", "agent.drafted", "agent.published"]


def test_two_who_edit_do_not_lose_each_others_work(slug: str, admin: Any) -> None:
    seen = draft(admin, slug, model="one")
    draft(admin, slug, model="two")
    for lost in (
        lambda: editing.draft_update(actor=admin, slug=slug, fields={"model": "3"}, revision=seen.revision),
        lambda: releases.agent_publish(actor=admin, slug=slug, seen=Seen(f'"{seen.revision}"')),
        lambda: editing.draft_discard(actor=admin, slug=slug, revision=seen.revision),
    ):
        assert refused(lost).code == "edited_meanwhile"
    # Somebody publishes beside the draft, here by a declaration.
    version = agent_of(slug).current
    assert version is not None
    assert version.provider is not None
    agent_set(slug=slug, provider=version.provider, model="applied", actor="command:apply")
    error = refused(lambda: releases.agent_publish(actor=admin, slug=slug))
    assert (error.code, error.details["current"]) == ("edited_meanwhile", 2)
    agent, _ = releases.agent_publish(actor=admin, slug=slug, seen=Seen(base=2))
    assert agent.current is not None
    assert (agent.current.number, agent.current.model) == (3, "two")


def test_going_back_is_a_new_version_of_the_old_words(slug: str, admin: Any) -> None:
    draft(admin, slug, model="worse")
    releases.agent_publish(actor=admin, slug=slug)
    draft(admin, slug, instructions="In progress")
    agent, fresh = releases.agent_roll_back(actor=admin, slug=slug, number=1, note="It was worse")
    assert agent.current is not None
    assert (fresh, agent.current.number, agent.current.model, agent.current.restores) == (True, 3, "demo", 1)
    assert agent.draft is not None, "who edits goes on editing"
    assert releases.agent_roll_back(actor=admin, slug=slug, number=1)[1] is False, "twice is once"
    assert refused(lambda: releases.agent_roll_back(actor=admin, slug=slug, number=9)).code == "not_found"
    assert refused(lambda: releases.agent_publish(actor=admin, slug=slug)).code == "edited_meanwhile"


def test_what_is_wrong_is_said_of_every_field_at_once(bound: None, admin: Any) -> None:
    fields = {
        "provider": "nobody", "model": 5, "parameters": {"temperature": 9}, "instructions": "a\x00", "tolls": [],
        "name": "x" * 121, "description": "\ud800",
    }  # fmt: skip
    error = refused(lambda: editing.agent_create(actor=admin, slug="Not one", fields=fields))
    assert error.code == "validation_failed"
    assert set(error.details["fields"]) == {"slug", *fields}
    # A draft may be unfinished; what is published may not.
    editing.agent_create(actor=admin, slug="unfinished", fields={})
    error = refused(lambda: releases.agent_publish(actor=admin, slug="unfinished"))
    assert set(error.details["fields"]) == {"provider", "model"}
    assert refused(lambda: editing.agent_create(actor=admin, slug="unfinished", fields={})).code == "already_exists"
    assert refused(lambda: editing.agent_create(actor=admin, slug="echo_agent", fields={})).code == "already_exists"


async def test_a_pinned_version_is_that_version_for_ever(slug: str, admin: Any, actor: Any) -> None:
    member = actor("member")

    def act(work: Callable[[], Any]) -> None:
        def run() -> None:
            with scope.bind(admin.tenant):
                work()

        in_thread(run)

    act(lambda: draft(admin, slug, model="newer"))
    assert (await agent_for(admin, f"{slug}@draft")).model == "newer"
    assert (await agent_for(member, slug)).model == "demo"
    with pytest.raises(PaasError, match="no such agent"):
        await agent_for(member, f"{slug}@draft")
    act(lambda: releases.agent_publish(actor=admin, slug=slug))
    first, newest = await agent_for(member, f"{slug}@1"), await agent_for(member, slug)
    assert (first.model, newest.model, first.slug, first.agent_id) == ("demo", "newer", slug, newest.agent_id)
    for wrong in ("@3", "@0", "@", "@01", "@1@1", "@1 ", "@draft2", "@-1", "@9999999999"):
        with pytest.raises(PaasError) as caught:
            await agent_for(member, slug + wrong)
        assert caught.value.code == "agent_not_found", wrong
    with pytest.raises(PaasError) as caught:
        await agent_for(actor("rival"), f"{slug}@1")
    assert caught.value.code == "agent_not_found"
    # A key for an agent is one for its versions; one for another agent is none for them.
    key = replace(member, user_id=None, key_id=admin.user_id, agents=frozenset({slug}))
    assert (await agent_for(key, f"{slug}@1")).model == "demo"
    with pytest.raises(PaasError):
        await agent_for(replace(key, agents=frozenset({"assistant"})), f"{slug}@1")
    act(lambda: releases.agent_archive(actor=admin, slug=slug))
    for name in (slug, f"{slug}@1", f"{slug}@draft"):
        with pytest.raises(PaasError):
            await agent_for(admin, name)
    act(lambda: releases.agent_restore(actor=admin, slug=slug))
    assert (await agent_for(member, f"{slug}@1")).model == "demo"


def test_a_draft_that_is_tried_leaves_one_version_however_often(slug: str, admin: Any) -> None:
    draft(admin, slug, model="tried")
    tried = [drafts.draft_tried(agent_of(slug)).pk for _ in range(2)]
    draft(admin, slug, model="again")
    assert len({*tried, drafts.draft_tried(agent_of(slug)).pk}) == 2
    agent, _ = releases.agent_publish(actor=admin, slug=slug)
    assert [one.number for one in releases.versions_before(agent, None, 9)] == [2, 1]
    assert AgentVersion.objects.filter(agent=agent, number=0).count() == 2


def test_a_file_brings_an_agent_elsewhere(slug: str, admin: Any, actor: Any, db: Platform) -> None:
    document = portable.agent_document(agent_of(slug))
    assert (document["format"], document["provider"]) == ("agent/1", {"name": "scripted", "kind": "scripted"})
    assert set(document) == {"format", "slug", "name", "description", *content.FIELDS}

    rival = actor("rival")
    with scope.bind(db.globex):
        assert portable.agent_import(actor=rival, document=document, dry_run=True).what == "created"
        assert not Agent.objects.filter(slug=slug).exists()
        assert portable.agent_import(actor=rival, document=document).what == "created"
        made = agent_of(slug)
        assert (made.current, drafts.draft_of(made).content["instructions"]) == (None, "Be brief.\nBe kind.")

    changed = document | {"model": "other"}
    done = portable.agent_import(actor=admin, document=changed)
    assert (done.what, [one["field"] for one in done.changes]) == ("drafted", ["model"])
    current = agent_of(slug).current
    assert current is not None
    assert current.model == "demo", "what is published stays"
    assert portable.agent_import(actor=admin, document=changed).what == "unchanged"

    wrong = {"format": "agent/2", "slug": "A", "provider": "x", "parameters": {"tools": 1}, "extra": 1}
    error = refused(lambda: portable.agent_import(actor=admin, document=wrong))
    assert set(error.details["fields"]) == {"format", "slug", "provider", "parameters", "extra", "model"}
    assert refused(lambda: portable.agent_import(actor=actor("member"), document=document)).code == "permission_denied"


def test_a_provider_that_is_off_is_not_published(slug: str, admin: Any) -> None:
    account = provider_create(actor="test", name=f"off-{slug}", kind="scripted")
    draft(admin, slug, provider=account.name)
    provider_update(account, actor="test", enabled=False)
    error = refused(lambda: releases.agent_publish(actor=admin, slug=slug))
    assert list(error.details["fields"]) == ["provider"]


async def test_over_the_api(db: Platform, site: Any) -> None:
    admin = await site.signed_in("admin")
    headers = {"X-CSRFToken": site.csrf(admin, "acme")}

    async def call(method: str, path: str, body: Any = None, **more: str) -> tuple[int, Any, Any]:
        async with admin.request(method, f"/api/v1{path}", json=body, headers=headers | more) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None, answer.headers

    fields = {"slug": "over-api", "provider": "scripted", "model": "demo"}
    assert (await call("POST", "/agents", fields))[0] == 201
    status, said, told = await call("POST", "/agents/over-api/publish", {"note": "go"})
    assert (status, said["version"], said["has_draft"], told["ETag"]) == (201, 1, False, f'"{said["revision"]}"')
    seen = told["ETag"]
    assert (await call("PATCH", "/agents/over-api/draft", {"model": "b"}, **{"If-Match": seen}))[0] == 200
    status, said, _ = await call("PATCH", "/agents/over-api/draft", {"model": "c"}, **{"If-Match": seen})
    assert (status, said["error"]["code"]) == (412, "edited_meanwhile")
    assert (await call("GET", "/agents/over-api/diff"))[1]["changes"] == [{"field": "model", "from": "demo", "to": "b"}]
    assert (await call("GET", "/agents/over-api/versions/1"))[1]["content"]["provider"] == "scripted"
    assert (await call("DELETE", "/agents/over-api"))[0] == 204
    assert "over-api" in [one["slug"] for one in (await call("GET", "/agents?state=archived"))[1]["agents"]]
    assert (await call("POST", "/agents/over-api/restore"))[0] == 200
    assert (await call("GET", "/agents/over-api"))[1]["type"] == "over-api", "as clients of Phase 1 read it"
    # OpenAI's wire takes the pinned name, and says it again.
    body = {"model": "over-api@1", "messages": [{"role": "user", "content": "x"}]}
    origin = {"Origin": site.url("acme")}
    async with admin.post("/v1/chat/completions", json=body, headers=origin) as answer:
        assert (answer.status, (await answer.json())["model"]) == (200, "over-api@1")
    async with admin.get("/v1/models/over-api@1") as answer:
        assert (answer.status, (await answer.json())["id"]) == (200, "over-api@1")
    async with admin.get("/v1/models/over-api@2") as answer:
        assert answer.status == 404

    def ran() -> list[int]:
        from chat.models import Run

        with scope.bind(db.acme):
            return list(Run.objects.filter(agent__slug="over-api").values_list("version__number", flat=True))

    assert in_thread(ran) == [1]


def test_from_file_to_file(slug: str, db: Platform, tmp_path: Path) -> None:
    """The command line writes what it reads, and what it writes has no secret in it."""
    file, said = tmp_path / "agent.yaml", StringIO()
    with scope.platform():
        call_command("agent", "export", slug, "--tenant", "acme", "-o", str(file))
    text = file.read_text()
    assert "key" not in text
    file.write_text(text.replace("model: demo", "model: other"))
    with scope.platform():
        call_command("agent", "import", "--tenant", "acme", "-f", str(file), "--dry-run", stdout=said)
        call_command("agent", "import", "--tenant", "acme", "-f", str(file), "--publish", stdout=said)
        with pytest.raises(CommandError, match=r"(?s)format: .*model: "):
            file.write_text("slug: x")
            call_command("agent", "import", "--tenant", "acme", "-f", str(file))
    lines = said.getvalue().splitlines()
    assert lines[0] == f"acme: agent {slug} drafted (model) (dry run)"
    assert lines[1] == f"acme: agent {slug} drafted (model), published as version 2"
    assert AuditEvent.objects.filter(target=slug, actor="command:agent").count() == 2


def test_the_models_that_stand_in_are_named_by_their_account(bound: None, admin: Any, slug: str) -> None:
    """Kept by id, shown, compared and written into files by name."""
    second = provider_create(actor="test", name="second", kind="scripted", models={})
    try:
        said = draft(admin, slug, parameters={"fallbacks": [{"provider": "second", "model": "demo"}]})
        assert said.content["parameters"] == {"fallbacks": [{"provider": str(second.pk), "model": "demo"}]}
        releases.agent_publish(actor=admin, slug=slug)
        document = portable.agent_document(agent_of(slug))
        assert document["parameters"] == {"fallbacks": [{"provider": "second", "model": "demo"}]}
        assert portable.agent_import(actor=admin, document=document).what == "unchanged"
        unknown = {"fallbacks": [{"provider": "nobody", "model": "demo"}]}
        error = refused(lambda: draft(admin, slug, parameters=unknown))
        assert "nobody" in str(error.details["fields"]["parameters"])
        provider_update(second, actor="test", name="renamed")
        assert portable.agent_document(agent_of(slug))["parameters"]["fallbacks"][0]["provider"] == "renamed"
    finally:
        second.delete()


def test_tools_and_limits_are_drafted_and_released(bound: None, admin: Any, slug: str) -> None:
    said = draft(admin, slug, tools=["calculator", {"name": "clock", "settings": {"timezone": "Asia/Shanghai"}}])
    assert said.content["tools"][0] == {"name": "calculator", "settings": {}}
    draft(admin, slug, limits={"steps": 3})
    releases.agent_publish(actor=admin, slug=slug)
    spec = agent_spec(slug)
    assert spec is not None
    assert ([tool.spec.name for tool in spec.tools], spec.limits.steps) == (["calculator", "clock"], 3)
    for field, value in (("tools", ["nowhere"]), ("tools", ["clock", "clock"]), ("limits", {"steps": 0})):
        error = refused(lambda field=field, value=value: draft(admin, slug, **{field: value}))
        assert set(error.details["fields"]) == {field}
    document = portable.agent_document(agent_of(slug))
    assert document["limits"] == {"steps": 3}
    assert portable.agent_import(actor=admin, document=document).what == "unchanged"


def test_a_model_that_its_account_does_not_allow_is_not_published(bound: None, admin: Any, slug: str) -> None:
    narrow = provider_create(actor="test", name="narrow", kind="scripted", allowed_models=["demo"])
    try:
        draft(admin, slug, provider="narrow", model="other")
        error = refused(lambda: releases.agent_publish(actor=admin, slug=slug))
        assert "does not allow" in str(error.details["fields"]["model"])
    finally:
        Agent.objects.filter(slug=slug).update(draft=None)
        narrow.delete()
