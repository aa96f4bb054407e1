"""Conversations in the portal: one's own are found, kept and deleted; of others' nobody reads a word."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from agents.models import Agent
from chat.models import Conversation, Message, Run
from core import clock
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.portal.test_key_pages import Person

PLACE = "/settings/conversations/"


def talk(tenant: Any, email: str, title: str, *, said: str = "", days: int = 0) -> uuid.UUID:
    """A conversation of a question and an answer."""
    with scope.bind(tenant):
        agent, at = Agent.objects.select_related("current").get(slug="assistant"), clock.now() - timedelta(days=days)
        who = User.objects.get(email=email).pk
        made = Conversation.objects.create(agent=agent, user_id=who, title=title, created_at=at, updated_at=at)
        run = Run.objects.create(
            conversation=made, agent=agent, version=agent.current, user_id=who, door="sse", status="completed",
            usage={"input_tokens": 1200, "output_tokens": 34, "cached_tokens": 0, "reasoning_tokens": 0,
                   "counted": False, "cost": "0.25", "currency": "USD"},
        )  # fmt: skip
        asked = Message.objects.create(conversation=made, run=run, role="user", content=said or "Why?")
        answer = Message.objects.create(
            conversation=made, run=run, role="assistant", content="# So\n\n```\n# no heading\n```", parent_id=asked.id
        )
        Conversation.objects.filter(pk=made.pk).update(leaf_id=answer.id)
        return made.pk


@pytest.fixture
def talks(db: Platform) -> dict[str, uuid.UUID]:
    def make() -> dict[str, uuid.UUID]:
        return {
            "invoice": talk(db.acme, "member@acme.test", "The <invoice>", said="About the Zeppelin"),
            "old": talk(db.acme, "member@acme.test", "An old one", days=40),
            "owners": talk(db.acme, "owner@acme.test", "A secret of the owner", said="Not for admins"),
            "theirs": talk(db.globex, "rival@globex.test", "Of another tenant"),
        }

    return in_thread(make)


async def person(site: Any, name: str) -> Person:
    return Person(site, await site.signed_in(name))


async def test_ones_own_are_found(site: Any, talks: dict[str, uuid.UUID]) -> None:
    member = await person(site, "member")
    status, page = await member.get(PLACE)
    assert status == 200
    for said in ("The &lt;invoice&gt;", "An old one", "1,234", "0.25 USD"):
        assert said in page, said
    assert ("secret" in page, "whose=all" in page) == (False, False)
    since = (clock.now() - timedelta(days=3)).date().isoformat()
    for query, found in (
        ("text=zeppelin", ["invoice"]),
        ("text=OLD", ["old"]),
        (f"since={since}", ["invoice"]),
        (f"until={since}", ["old"]),
        ("agent=assistant", ["invoice", "old"]),
        ("text=nothing-like-it", []),
        ("text=secret", []),
    ):
        _, page = await member.get(f"{PLACE}?{query}")
        assert [name for name, id_ in talks.items() if str(id_) in page] == found, query
    assert (await member.get(f"{PLACE}?since=nonsense&agent=nobody"))[0] == 200
    assert (await member.get(f"{PLACE}?cursor=nonsense"))[0] == 400


async def test_deleting_can_be_undone(site: Any, talks: dict[str, uuid.UUID]) -> None:
    member, id_ = await person(site, "member"), talks["invoice"]
    await member.get(PLACE)
    status, page = await member.post(f"{PLACE}{id_}/delete/", next=f"{PLACE}?text=zeppelin")
    assert (status, f"{id_}/restore/" in page, f"{id_}/export/" in page) == (200, True, False)
    assert 'name="next" value="/settings/conversations/?text=zeppelin"' in page
    _, page = await member.get(f"{PLACE}?state=deleted")
    assert ("The &lt;invoice&gt;" in page, "An old one" in page) == (True, False)
    status, page = await member.post(f"{PLACE}{id_}/restore/", next="https://evil.example/")
    assert (status, "is back." in page, f"{id_}/export/" in page) == (200, True, True)


async def test_files_to_keep(site: Any, talks: dict[str, uuid.UUID]) -> None:
    member = await person(site, "member")
    async with member.session.get(f"{PLACE}{talks['invoice']}/export/?format=json") as answer:
        assert (answer.status, "attachment" in answer.headers["Content-Disposition"]) == (200, True)
        document = json.loads(await answer.text())
    assert [one["content"][:9] for one in document["messages"]] == ["About the", "# So\n\n```"]
    assert document["path"] == [one["id"] for one in document["messages"]]
    assert document["conversation"]["title"] == "The <invoice>"
    _, text = await member.get(f"{PLACE}{talks['invoice']}/export/?format=md")
    assert text.startswith("# The <invoice>\n\nAssistant · ")
    assert "## You · " in text
    assert "### So" in text, "headings of an answer stand below those of the file"
    assert "\n# no heading" in text
    assert (await member.get(f"{PLACE}{talks['invoice']}/export/?format=exe"))[0] == 400
    for name in ("owners", "theirs"):
        assert (await member.get(f"{PLACE}{talks[name]}/export/"))[0] == 404


async def test_who_looks_after_the_workspace_reads_no_word(site: Any, talks: dict[str, uuid.UUID]) -> None:
    """Who, with which agent, when and what it used: neither titles nor texts, and nothing to open (API3)."""
    admin = await person(site, "admin")
    status, page = await admin.get(f"{PLACE}?whose=all")
    assert (status, page.count('data-testid="conversation"'), "member@acme.test" in page) == (200, 3, True)
    for secret in ("secret", "invoice", "Zeppelin", "old one", "another tenant", *map(str, talks.values())):
        assert secret not in page, secret
    owner_id = in_thread(lambda: _id_of("owner@acme.test"))
    _, page = await admin.get(f"{PLACE}?whose=all&who=user:{owner_id}&text=Zeppelin")
    assert page.count('data-testid="conversation"') == 1
    assert (await admin.get(f"{PLACE}?whose=all&cursor=nonsense"))[0] == 200
    for name in ("invoice", "owners"):
        assert (await admin.get(f"{PLACE}{talks[name]}/export/"))[0] == 404
        assert (await admin.post(f"{PLACE}{talks[name]}/delete/"))[0] == 404
    member = await person(site, "member")
    assert (await member.get(f"{PLACE}?whose=all"))[0] == 403


def _id_of(email: str) -> uuid.UUID:
    with scope.platform():
        return uuid.UUID(str(User.objects.get(email=email).pk))
