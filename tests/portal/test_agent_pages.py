"""The pages of agents, as an administrator uses them."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import aiohttp
import pytest

from agents import drafts
from agents.models import Agent
from agents.portable import document_of
from agents.releases import version_of
from chat.models import Feedback, Message
from core.errors import PaasError
from tenants import scope
from tests.accounts.people import within
from tests.conftest import Platform
from tests.portal.test_key_pages import Person

PLACE = "/settings/agents/"
DESK = f"{PLACE}desk/"
NEW = {"template": "data-helper", "name": "Desk <b>", "slug": "desk", "provider": "scripted", "model": "demo"}


@pytest.fixture
async def admin(site: Any) -> Person:
    return Person(site, await site.signed_in("admin"))


def stored(db: Platform, slug: str = "desk") -> Any:
    return within(db.acme, lambda: Agent.objects.select_related("current").get(slug=slug))


def form_of(page: str, **changes: Any) -> dict[str, Any]:
    """The draft's form as a browser would send it back, with changes."""
    form = page[page.index('data-testid="draft"') : page.index('data-testid="save-draft"')]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and name[1] != "csrfmiddlewaretoken" and ("checkbox" not in tag or " checked" in tag):
            found.setdefault(name[1], []).append(html.unescape(value[1]) if value else "")
    for name, text in re.findall(r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', form, re.DOTALL):
        found[name] = html.unescape(text).replace("\n", "\r\n")
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    return found | changes


def revision_in(page: str) -> str:
    found = re.search(r'name="revision"[^>]*value="([^"]*)"', page)
    assert found
    return found[1]


async def test_from_a_template_to_a_version_and_back(admin: Person, db: Platform) -> None:
    _, page = await admin.get("/settings/new-agent/?template=data-helper")
    assert re.search(r'value="data-helper"[^>]* checked', page)
    status, page = await admin.post("/settings/new-agent/", **NEW | {"slug": "No Slug"})
    assert (status, "Use 1 to 60 small letters" in page) == (400, True)
    status, page = await admin.post("/settings/new-agent/", **NEW)
    assert (status, "Desk &lt;b&gt; was made" in page, "not published yet" in page) == (200, True, True)
    assert "short name already" in (await admin.post("/settings/new-agent/", **NEW))[1]
    assert [one["name"] for one in stored(db).draft["content"]["tools"]] == ["calculator", "clock"]

    # What was not touched stays what it is, to the letter, though browsers write ends of lines their own way.
    before = drafts.draft_of(stored(db))
    await admin.post(DESK, **form_of(page))
    assert drafts.draft_of(stored(db)) == before
    asked = {
        "instructions": "Be brief.\r\nBe kind.", "temperature": "0.5", "stop": "END\r\nSTOP", "thinking": "disabled",
        "tools": ["clock"], "timezone": "Asia/Shanghai", "limit_steps": "3", "fallback_provider_0": "scripted",
        "fallback_model_0": "other", "memory": "on", "output_schema": '{"type": "object", "properties": {"a": {}}}',
    }  # fmt: skip
    _, page = await admin.post(DESK, **form_of(page, **asked))
    assert "The draft was saved." in page
    said = stored(db).draft["content"]
    assert (said["instructions"], said["limits"]) == ("Be brief.\nBe kind.", {"steps": 3})
    assert said["tools"] == [{"name": "clock", "settings": {"timezone": "Asia/Shanghai"}}]
    assert said["parameters"]["stop"] == ["END", "STOP"]
    assert (said["memory"], said["output_schema"]["properties"]) == (True, {"a": {}})
    assert said["parameters"]["thinking"] == {"type": "disabled"}
    assert [one["model"] for one in said["parameters"]["fallbacks"]] == ["other"]

    status, page = await admin.post(DESK, **form_of(page, publish="1"))
    assert (status, "Publish version 1" in page, "Be brief." in page) == (200, True, True)
    revision = revision_in(page)
    status, page = await admin.post(f"{DESK}publish/", revision="old", base="", note="x")
    assert (status, "has changed since you looked" in page) == (412, True)
    _, page = await admin.post(f"{DESK}publish/", revision=revision, base="", note="The first")
    assert ("Version 1 is published" in page, "The first" in page, "desk@1" in page) == (True, True, True)
    assert "nothing to publish" in (await admin.get(f"{DESK}publish/"))[1]

    _, page = await admin.get(DESK)
    _, page = await admin.post(DESK, **form_of(page, name="Desk", instructions="Be long.", publish="1"))
    assert ("+Be long." in page, "-Be brief." in page) == (True, True)
    await admin.post(f"{DESK}publish/", revision=revision_in(page), base="1", note="")
    _, page = await admin.get(f"{DESK}versions/?from=1&to=2")
    assert ("From version 1 to version 2" in page, "+Be long." in page) == (True, True)
    _, page = await admin.post(f"{DESK}rollback/", version="1")
    assert ("again, as version 3" in page, "brings back 1" in page) == (True, True)
    assert (await admin.post(f"{DESK}rollback/", version="9"))[0] == 404
    assert within(db.acme, lambda: version_of(stored(db), 3).instructions) == "Be brief.\nBe kind."


async def test_two_who_edit_lose_nothing(admin: Person, db: Platform) -> None:
    _, page = await admin.post("/settings/new-agent/", **NEW)
    mine, theirs = form_of(page, instructions="Mine."), form_of(page, description="Theirs")
    await admin.post(DESK, **theirs)
    json_please = "application/json"
    assert json.loads((await admin.post(DESK, accept=json_please, **mine))[1])["problem"].startswith("Somebody else")
    status, page = await admin.post(DESK, **mine)
    assert (status, "Nothing of yours is lost" in page, "Save mine in its place" in page) == (412, True, True)
    shown = page[page.index('data-testid="overtaken"') :]
    assert ("Theirs" in shown, "Mine." in shown) == (True, True)
    assert form_of(page)["instructions"] == "Mine."
    assert stored(db).draft["content"]["description"] == "Theirs"
    answer = json.loads((await admin.post(DESK, accept=json_please, **form_of(page)))[1])
    assert answer == {"revision": drafts.draft_of(stored(db)).revision}
    assert stored(db).draft["content"]["instructions"] == "Mine."
    # Nobody throws away a draft that they have not seen.
    await admin.post(f"{DESK}publish/", revision=answer["revision"], base="")
    _, page = await admin.get(DESK)
    await admin.post(DESK, **form_of(page, description="Later"))
    assert "so it was kept" in (await admin.post(f"{DESK}discard/", revision="old"))[1]
    revision = drafts.draft_of(stored(db)).revision
    assert "was thrown away" in (await admin.post(f"{DESK}discard/", revision=revision))[1]


async def test_what_is_wrong_stands_at_its_field(admin: Person, db: Platform) -> None:
    _, page = await admin.post("/settings/new-agent/", **NEW)
    form, before = form_of(page), stored(db).draft
    for change, said in (
        ({"name": ""}, "This field is required"),
        ({"temperature": "3"}, "less than or equal to 2"),
        ({"limit_steps": "0"}, "greater than or equal to 1"),
        ({"fallback_provider_0": "scripted"}, "Name the model"),
        ({"provider": "nowhere"}, "Select a valid choice"),
        ({"tools": ["nowhere"]}, "Select a valid choice"),
        ({"output_schema": "{"}, "Enter a valid JSON"),
        ({"output_schema": "[1]"}, "This is to be an object"),
    ):
        status, page = await admin.post(DESK, **form | change)
        assert status == 400
        assert re.search(rf'class="field-error" role="alert">[^<]*{said}', page), said
    assert stored(db).draft == before
    # A draft may be unfinished; the page says what is missing, and nobody can publish it.
    _, page = await admin.post(DESK, **form | {"provider": "", "model": ""})
    assert 'data-testid="faults"' in page
    revision = drafts.draft_of(stored(db)).revision
    status, page = await admin.post(f"{DESK}publish/", revision=revision, base="")
    assert (status, "cannot be published yet" in page) == (400, True)


async def test_a_team_is_made_in_the_form(admin: Person, db: Platform) -> None:
    await admin.post("/settings/new-agent/", **NEW)
    _, page = await admin.get(DESK)
    for change, said in (
        ({"team_mode": "sequential"}, "Name the members"),
        ({"team_mode": "sequential", "team_members": "nobody"}, "There is no agent"),
        ({"team_mode": "iterative", "team_members": "assistant", "team_rounds": "21"}, "less than or equal to 20"),
    ):
        status, refused = await admin.post(DESK, **form_of(page) | change)
        assert status == 400
        assert re.search(rf'class="field-error" role="alert">[^<]*{said}', refused), said
    members = {
        "team_mode": "parallel",
        "team_members": "assistant: finds\r\n\r\nassistant@1",
        "team_combiner": "assistant",
    }
    status, page = await admin.post(DESK, **form_of(page) | members)
    assert stored(db).draft["content"]["team"] == {
        "mode": "parallel",
        "members": [{"agent": "assistant", "role": "finds"}, {"agent": "assistant@1"}],
        "combiner": "assistant",
    }
    await admin.post(DESK, **form_of(page, team_rounds="3"))
    assert form_of(page)["team_members"] == "assistant: finds\r\nassistant@1"
    await admin.post(DESK, **form_of(page, team_mode=""))
    assert stored(db).draft["content"]["team"] == {}


async def test_archived_and_brought_back(admin: Person) -> None:
    await admin.post("/settings/new-agent/", **NEW)
    assert "was archived" in (await admin.post(f"{DESK}archive/"))[1]
    assert 'data-slug="desk"' in (await admin.get(f"{PLACE}?state=archived"))[1]
    assert "This agent is archived" in (await admin.get(DESK))[1]
    assert (await admin.post(DESK, name="x"))[0] == 404
    assert (await admin.get(f"{DESK}publish/"))[0] == 404
    assert "is in use again" in (await admin.post(f"{DESK}restore/"))[1]


async def test_a_file_out_and_in(admin: Person, db: Platform) -> None:
    await admin.post("/settings/new-agent/", **NEW)
    status, text = await admin.get(f"{DESK}export/?version=draft")
    assert (status, text.startswith("format: agent/1")) == (200, True)
    place = "/settings/agent-imports/"
    changed = text.replace("Desk <b>", "Another desk")
    status, page = await admin.post(place, text=changed)
    assert (status, "Another draft of desk" in page, "Another desk" in page) == (200, True, True)
    assert stored(db).draft["content"]["name"] == "Desk <b>", "looking changes nothing"
    assert "says now what the file says" in (await admin.post(place, text=changed, sure="1"))[1]
    assert stored(db).draft["content"]["name"] == "Another desk"
    status, page = await admin.post(place, text=changed.replace("slug: desk", "slug: other"))
    assert (status, "A new agent, other" in page) == (200, True)
    upload = aiohttp.FormData()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    upload.add_field("csrfmiddlewaretoken", token[1])
    upload.add_field("file", text.encode("utf-16"), filename="desk.yaml")
    async with admin.session.post(place, data=upload) as answer:
        assert (answer.status, "This file is no text" in await answer.text()) == (400, True)
    for wrong, said in (
        ("", "Choose a file"),
        ("a: [", "no YAML or JSON"),
        (text + "colour: red\n", "colour: Not a field of an agent"),
        (text.replace("kind: scripted", "kind: zhipu"), "provider: "),
    ):
        status, page = await admin.post(place, text=wrong)
        assert (status, said in page) == (400, True), said


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x", "2026-01-01", "a: .inf", "[" * 300_000, "!!python/name:os.system"]
)
def test_a_file_says_no_more_than_json(text: str) -> None:
    with pytest.raises(PaasError) as error:
        document_of(text)
    assert error.value.code == "validation_failed"


async def test_feedback_by_version(admin: Person, db: Platform, site: Any) -> None:
    member = await site.signed_in("member")
    answers = {}
    for session, name in ((member, "member"), (admin.session, "admin")):
        async with session.post("/api/v1/runs", json={"agent": "assistant", "message": "Hello"}) as answer:
            started = await answer.json()
        async with session.get(f"/api/v1/runs/{started['run']['id']}/events") as answer:
            assert "run.completed" in await answer.text()
        answers[name] = started["conversation"]["id"]

    def say() -> None:
        with scope.bind(db.acme):
            for name, rating in (("member", "down"), ("admin", "up")):
                found = Message.objects.select_related("run", "conversation").get(
                    conversation_id=answers[name], role="assistant"
                )
                Feedback.objects.create(
                    message=found, version_id=found.run.version_id, author_id=found.conversation.user_id,
                    rating=rating, comment=f"By <i>{name}</i>",
                )  # fmt: skip

    within(db.acme, say)
    place = f"{PLACE}assistant/feedback/"
    _, page = await admin.get(place)
    assert ("By &lt;i&gt;member&lt;/i&gt;" in page, "member@acme.test" in page) == (True, True)
    # To whom the conversation belongs, that one is led there; the other's stays its owner's.
    assert (f"/chat/{answers['admin']}/" in page, answers["member"] in page) == (True, False)
    _, page = await admin.get(f"{place}?rating=up&version=1")
    assert ("By &lt;i&gt;admin" in page, "By &lt;i&gt;member" in page) == (True, False)
    assert "thumbs up" in (await admin.get(PLACE))[1]
