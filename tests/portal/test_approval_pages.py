"""The pages of what waits for a person, as an administrator uses them (P54)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chat import host as hosts
from chat import worker
from chat.approvals import shown_arguments
from llm.providers.scripted import ScriptedModel
from tests.chat.conftest import agents, ledger  # noqa: F401  # fixtures
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.test_approvals import END, World, asks, world  # noqa: F401
from tests.portal.test_key_pages import Person

PLACE = "/settings/approvals/"


async def test_what_waits_is_listed_looked_at_and_decided(
    site: Any,
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    slug, member = agents("demo", tools=["look", "send"]), await site.signed_in("member")
    admin = Person(site, await site.signed_in("admin"))
    assert "Nothing waits for a person." in (await admin.get(PLACE))[1]
    for script in (asks(("look", "{}")), asks(("send", '{"to":"<b>","n":1}'), ("send", '{"n":2}'))):
        ScriptedModel.enqueue(script)
    origin = {"Origin": site.url("acme")}
    async with member.post("/api/v1/runs", json={"agent": slug, "message": "?"}, headers=origin) as answer:
        run = (await answer.json())["run"]["id"]
    await eventually(lambda: not hosts.current().runs, 60)
    async with member.get("/api/v1/conversations") as answer:
        listed = (await answer.json())["conversations"][0]
    async with member.get(f"/api/v1/conversations/{listed['id']}/messages") as answer:
        shown = (await answer.json())["conversation"]
    assert (listed["waiting"], shown["waiting"], shown["active_run_id"]) == (True, True, run)
    status, page = await admin.get(PLACE)
    assert (status, page.count('data-testid="approval"'), 'data-testid="waits">2<' in page) == (200, 2, True)
    assert "member@acme.test" in page
    first, second = ledger.rows("SELECT * FROM chat_approval WHERE run_id = %s ORDER BY id", run)
    status, page = await admin.get(f"{PLACE}{first['id']}/")
    assert (status, "&quot;to&quot;: &quot;&lt;b&gt;&quot;" in page, first["arguments_hash"] in page) == (
        200,
        True,
        True,
    )
    assert "could have told it to" in page
    good = {"arguments_hash": first["arguments_hash"]}
    wrong = {"arguments_hash": second["arguments_hash"]}
    assert "not the hash" in (await admin.post(f"{PLACE}{first['id']}/", decision="approve", **wrong))[1]
    assert "decision is approve or deny" in (await admin.post(f"{PLACE}{first['id']}/", **good))[1]
    _, page = await admin.post(f"{PLACE}{first['id']}/", decision="approve", note="go\r\non", **good)
    assert ("was approved" in page, page.count('data-testid="approval"'), "admin@acme.test" in page) == (True, 1, True)
    assert "decided on this call already" in (await admin.post(f"{PLACE}{first['id']}/", decision="deny", **good))[1]
    assert "was denied" in (await admin.post(f"{PLACE}{second['id']}/", decision="deny", **wrong))[1]
    ScriptedModel.enqueue(END)
    async with another(worker=True) as working:
        assert await worker.take(working) == 1
        async with member.get(f"/api/v1/runs/{run}/events") as answer:
            told = await answer.text()
    assert ("run.completed" in told, '"note":"go\\non"' in told, world.times("send")) == (True, True, 1)
    assert not ledger.left_behind()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"n":12345678901234567890,"f":1.0}', '{\n  "n": 12345678901234567890,\n  "f": 1.0\n}'),
        ('{"a":"line\\nend 中文"}', '{\n  "a": "line\\nend 中文"\n}'),
        ('{"a\u202e":"\u200b\U000e0041\u2028"}', '{\n  "a\\u202e": "\\u200b\\udb40\\udc41\\u2028"\n}'),
    ],
)
def test_arguments_are_shown_to_the_letter(sent: str, shown: str) -> None:
    """A63: nothing is hidden from whoever approves, and nothing is rounded."""
    assert shown_arguments(sent) == shown
