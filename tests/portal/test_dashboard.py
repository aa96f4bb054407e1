"""The dashboard: what was used, by whom it may be seen, the first steps, and the file."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from accounts.models import AuditEvent, User
from chat.models import Conversation, Run
from core import clock
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.portal.test_key_pages import Person
from tests.usage.entries import entry, free

PLACE = "/settings/"
EVIL = "=1+1<b>"


def furnished(db: Platform) -> dict[str, Any]:
    """Something used by two people and by a colleague's key, and how runs of the member went."""
    with scope.bind(db.acme):
        ids = {name: User.objects.get(email=f"{name}@acme.test").pk for name in ("owner", "member")}
        agent = _agent()
        talk = Conversation.objects.create(agent=agent, user_id=ids["member"], title="x")
        for number in range(20):
            Run.objects.create(
                conversation=talk, agent=agent, version=agent.current, user_id=ids["member"], door="sse",
                status="failed" if number == 0 else "cancelled" if number == 1 else "completed",
                first_ms=100 * (number + 1), created_at=clock.now(),
            )  # fmt: skip
    entry(db.acme, user_id=ids["owner"], **free("1.25", model=EVIL))
    entry(db.acme, user_id=ids["member"], agent="other", **free("0.5"))
    entry(db.globex, agent="theirs", **free("1000"))
    return ids


def _agent() -> Any:
    from agents.models import Agent

    return Agent.objects.select_related("current").get(slug="assistant")


@pytest.fixture
def ids(db: Platform) -> dict[str, Any]:
    return in_thread(lambda: furnished(db))


async def person(site: Any, name: str) -> Person:
    return Person(site, await site.signed_in(name))


async def test_what_was_used_and_how_it_went(site: Any, ids: dict[str, Any]) -> None:
    admin = await person(site, "admin")
    status, page = await admin.get(PLACE)
    assert status == 200
    for said in ("1.75 USD", "2,000,000", "94.7 %", "1 of 19 failed", "1.05 s", "=1+1&lt;b&gt;", "member@acme.test"):
        assert said in page, said
    assert "theirs" not in page
    charts = re.findall(r'data-chart="([\w-]+)"', page)
    assert charts == ["answers", "tokens", "cost-USD"]
    assert page.count("<rect") >= 90, "a bar a day"
    assert page.count(f"<td>{clock.now():%Y-%m-%d}</td>") == 3, "and a row a day, for who sees no bars"
    # What a line stands for is shown alone when it is followed.
    status, page = await admin.get(f"{PLACE}?days=7&agent=other")
    assert ("0.50 USD" in page, "1.25 USD" in page, "Agent: other" in page) == (True, False, True)
    _, page = await admin.get(f"{PLACE}?days=7&who=user:{ids['owner']}")
    assert ("1.25 USD" in page, "Who: owner@acme.test" in page) == (True, True)
    for nonsense in (
        "days=31",
        "who=user:x",
        "who=key:" + "-" * 36,
        "who=user:" + "a-" * 4 + "a" * 28,
        "agent=nobody",
        "model=x",
    ):
        assert (await admin.get(f"{PLACE}?{nonsense}"))[0] == 200, nonsense
    assert "Nothing of this was used" in (await admin.get(f"{PLACE}?agent=nobody"))[1]


async def test_a_member_sees_their_own(site: Any, ids: dict[str, Any]) -> None:
    member = await person(site, "member")
    for query in ("", f"?who=user:{ids['owner']}", f"?who=key:{uuid.uuid4()}"):
        status, page = await member.get(f"{PLACE}{query}")
        assert (status, "0.50 USD" in page, "1.25" in page, "owner@acme.test" in page) == (200, True, False, False)
    assert "First steps" not in page
    assert (await member.post(f"{PLACE}guide/", hidden="1"))[0] == 403
    _, file = await member.get(f"{PLACE}?format=csv")
    assert ("other" in file, "1.25" in file) == (True, False)


async def test_the_file_is_text_and_numbers(site: Any, ids: dict[str, Any]) -> None:
    admin = await person(site, "admin")
    async with admin.session.get(f"{PLACE}?format=csv&days=7") as answer:
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert "attachment" in answer.headers["Content-Disposition"]
        lines = (await answer.text()).splitlines()
    assert lines[0].endswith("currency,amount")
    assert f"who,user:{ids['owner']},owner@acme.test,1,1,0,1000000,0,USD,1.25" in lines


async def test_first_steps_follow_what_is_there(site: Any, db: Platform) -> None:
    owner = await person(site, "owner")
    _, page = await owner.get(PLACE)
    done = re.findall(r'<li class="(\w*)" data-testid="step" data-step="(\w+)"', page)
    assert done == [("done", "provider"), ("done", "agent"), ("", "tried"), ("done", "people"), ("", "key")]
    in_thread(lambda: furnished(db))
    _, page = await owner.get(PLACE)
    assert 'class="done" data-testid="step" data-step="tried"' in page
    status, page = await owner.post(f"{PLACE}guide/", hidden="1")
    assert (status, 'data-testid="guide"' in page, "put away" in page) == (200, False, True)
    # For everybody of the workspace, until somebody brings them back.
    admin = await person(site, "admin")
    _, page = await admin.get(PLACE)
    assert ('data-testid="guide"' in page, 'data-testid="guide-show"' in page) == (False, True)
    _, page = await admin.post(f"{PLACE}guide/", hidden="0")
    assert 'data-testid="guide"' in page

    def rows() -> int:
        with scope.bind(db.acme):
            return AuditEvent.objects.filter(action="tenant.updated").count()

    assert in_thread(rows) == 2


async def test_an_empty_workspace_says_what_to_do(site: Any, db: Platform) -> None:
    viewer = await person(site, "viewer")
    status, page = await viewer.get(PLACE)
    assert (status, "Nothing was used in these days" in page, "<rect" in page) == (200, True, False)
    # Groups of the side bar, each page once, and only what the person may open.
    found = re.findall(r'<h2 id="nav-(\w+)"', page)
    assert found == ["use", "you"]
    assert re.findall(r'href="(/settings/[^"]*)"', page.partition("<main")[0]) == [
        "/settings/", "/settings/conversations/", "/settings/memory/"
    ]  # fmt: skip
    assert page.count('aria-current="page"') == 2, "the page in the side bar, and the period"
