"""What a workspace says about a tool holds for each call, and each call is written down (P48)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents.runtime.spec import ModelCall
from agents.runtime.trace import Trace
from agents.tools.journal import Journal
from agents.tools.registry import BUILTIN
from agents.tools.spec import BoundTool, RunLimits, ToolContext
from agents.tools.toolbox import Toolbox
from core.ids import uuid7
from tests.chat.ledger import Ledger


async def test_over_the_api(site: Any, api_key: Callable[..., str], ledger: Ledger) -> None:
    session = site.client("acme", token=api_key("acme", ["*"]))

    async def call(method: str, path: str = "", **more: Any) -> tuple[int, Any]:
        async with session.request(method, f"/api/v1/tools{path}", **more) as answer:
            return answer.status, await answer.json()

    _, listed = await call("GET")
    assert {"calculator", "clock", "web_page"} <= {one["name"] for one in listed["tools"]}
    assert [(one["effect"], one["tainted"]) for one in listed["tools"] if one["name"] == "web_page"] == [
        ("egress", True)
    ]
    status, answer = await call(
        "PUT",
        "/config",
        json={"name": "clock", "enabled": False, "calls_per_day": 2, "approval": "always", "api_key": "tvly-canary"},
    )
    told = {"name": "clock", "enabled": False, "calls_per_day": 2, "calls_per_month": None, "approval": "always"}
    told |= {"has_api_key": True}
    assert (status, answer) == (200, {"config": told})
    assert told in (await call("GET", "/config"))[1]["config"]
    for bad in ({"name": "nowhere"}, {"name": "clock", "calls_per_day": -1}, {"name": "clock", "approval": "x"}, {}):
        assert (await call("PUT", "/config", json=bad))[0] in (400, 422), bad
    assert [one["enabled"] for one in (await call("GET"))[1]["tools"] if one["name"] == "clock"] == [False]
    assert await call("GET", "/usage") == (200, {"usage": []})
    assert ledger.value("SELECT count(*) FROM public.accounts_auditevent WHERE action = 'tool.configured'") == 1
    assert "canary" not in str(ledger.rows("SELECT * FROM agents_toolsetting"))
    assert "canary" not in str(ledger.rows("SELECT * FROM public.accounts_auditevent"))


async def test_a_limit_holds_exactly_and_each_call_is_written_down(host: Any, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    context = ToolContext(member.tenant, member, uuid7(), "a")

    async def extend(call: ModelCall, wanted: int) -> int:
        return wanted

    tools = tuple(BoundTool(BUILTIN[name]) for name in ("calculator", "clock"))
    box = Toolbox(tools, context, RunLimits(), extend, Journal())
    ledger.rows(
        "INSERT INTO agents_toolsetting (id, name, enabled, calls_per_day, calls_per_month, api_key, updated_at) VALUES "
        "(gen_random_uuid(), 'calculator', true, 5, 3, '', now()), (gen_random_uuid(), 'clock', false, NULL, NULL, '', now())"
    )
    steps = Trace().at("")
    asked = [steps.tool(one, "calculator", {"expression": one}) for one in ("1+1", "x", "1", "2", "3", "4")]
    said = await asyncio.gather(*(box.call(one) for one in asked))
    assert [one.text for one in said].count("This workspace may not call this tool any more today or this month.") == 3
    assert (await box.call(steps.tool("c", "clock", {}))).text == "This tool is switched off in this workspace."
    use = ledger.one("SELECT * FROM agents_tooluse WHERE calls > 0")
    rows = ledger.rows("SELECT * FROM agents_toolcall ORDER BY id")
    assert (use["name"], use["calls"], use["failed"]) == ("calculator", 3, [row["ok"] for row in rows].count(False))
    assert [(row["run_id"], row["user_id"], row["effect"]) for row in rows] == [
        (context.run_id, member.user_id, "read")
    ] * 3
    assert all(row["duration_ms"] is not None for row in rows)
