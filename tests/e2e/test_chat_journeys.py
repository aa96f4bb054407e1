"""What people expect of a chat beyond asking: finding and pinning, sources, formulas, a conversation that is very long."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, Route, expect

from bench.chat_page import CONVERSATION, stored
from llm.deltas import Finish, ToolCallDelta
from llm.providers.scripted import ScriptedModel
from tests.chat.conftest import agents  # noqa: F401  # a fixture
from tests.conftest import PASSWORD
from tests.files import no_files  # noqa: F401  # a fixture
from tests.knowledge.conftest import ingested, make, put

Visit = Callable[..., Any]
AXE = Path(__file__).resolve().parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


async def accessible(page: Page) -> None:
    """axe finds nothing serious on the page as it is."""
    if not await page.evaluate("'axe' in window"):
        assert AXE.exists(), "Run `npm ci` in frontend/: axe-core is among its packages."
        await page.evaluate(AXE.read_text())
    # What is on its way in or out is not what people read.
    await page.evaluate(
        "Promise.all(document.getAnimations().map((one) => one.playState === 'finished' || one.finish()))"
    )
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious] == []


async def test_an_answer_cites_its_passages_live_and_later(
    visit: Visit,
    actor: Any,
    agents: Callable[..., str],
    no_files: None,
) -> None:
    owner = actor("owner")
    make(owner, "handbook")
    put(owner, "handbook", ("hotels.md", b"# Hotels\n\nA night in Lisbon may cost 90 EUR."))
    await ingested(owner)
    slug, member = agents("demo", knowledge=["handbook"]), await visit("member")
    await member.page.reload()  # the agent is a new one
    ScriptedModel.enqueue(
        [ToolCallDelta(0, "c", "search_knowledge", json.dumps({"query": "Lisbon night"})), Finish("tool_calls")]
    )
    ScriptedModel.enqueue(["At most 90 EUR [1], and no more [7]."])
    await member.choose(slug)
    await member.ask("What may a night in Lisbon cost?")
    answer = member.at("message-assistant").last
    await expect(answer).to_have_attribute("data-status", "complete", timeout=60_000)  # what tools need is loaded first
    for late in (False, True):
        if late:
            await member.page.reload()
        await expect(answer.get_by_test_id("cite")).to_have_text(["1"])
        await expect(answer).to_contain_text("no more [7]")
        await answer.get_by_test_id("cite").hover()
        card = member.at("cite-card")
        await expect(card).to_contain_text("hotels.md")
        await expect(card).to_contain_text("A night in Lisbon may cost 90 EUR.")
        where = re.compile(r"^/knowledge/handbook/documents/[0-9a-f-]{36}/\?passage=1$")
        await expect(card.get_by_test_id("cite-open")).to_have_attribute("href", where)
        await expect(member.at("sources").locator("a")).to_have_attribute("href", where)
        await member.page.keyboard.press("Escape")
        await answer.get_by_test_id("work").locator("> summary").click()
        await answer.get_by_test_id("tool-call").locator("> summary").click()
        await expect(member.at("passage-why")).to_contain_text("by words: no. 1")
    await member.shot("cited")
    assert member.errors == []


CTRL_K = """() => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "k", ctrlKey: true, bubbles: true}));
    return document.activeElement.id;
}"""


async def test_history_is_searched_pinned_and_walked_by_keyboard(visit: Visit) -> None:
    member = await visit("member")
    for question, words in (("Where to sleep?", "Try the Lighthouse hotel."), ("合同", "租赁合同将于三月到期。")):
        ScriptedModel.enqueue([words])
        await member.page.keyboard.press("Control+Shift+O")
        await member.ask(question)
        await expect(member.at("message-assistant").last).to_contain_text(words)
    assert await member.page.evaluate(CTRL_K) == "conversation-search", "at once: the next letter belongs to it"
    await member.page.keyboard.press("Control+k")
    await member.page.keyboard.type("lighth")
    results = member.at("search-result")
    await expect(results).to_have_count(1)
    await expect(results.locator("mark")).to_have_text("Lighth")
    await member.page.keyboard.press("ArrowDown")
    await member.page.keyboard.press("Enter")
    await expect(member.page.locator("[data-found=true]")).to_contain_text("Lighthouse hotel")
    await member.at("conversation-search").fill("租赁合同")
    await expect(results).to_contain_text(["租赁合同将于三月到期"])
    await member.at("conversation-search").fill("nobody said this")
    await expect(member.at("search-results")).to_contain_text("Nothing says that")
    await member.page.keyboard.press("Escape")
    oldest = member.at("conversation-item").last
    await oldest.hover()
    await oldest.get_by_test_id("conversation-pin").click()
    await expect(member.at("conversation-item").first).to_contain_text("Where to sleep?")
    await member.page.reload()
    await expect(member.at("conversation-list").locator("h2").first).to_have_text("Pinned")
    await expect(member.at("conversation-item").first).to_contain_text("Where to sleep?")
    await member.page.keyboard.press("Alt+ArrowDown")
    await expect(member.page.locator("header h1")).to_have_text("合同")
    await expect(member.at("edit-message")).to_be_attached()
    await member.at("composer").focus()
    await member.page.keyboard.press("ArrowUp")
    await expect(member.at("edit-field")).to_have_value("合同")
    await member.page.keyboard.press("Escape")
    await member.page.keyboard.press("Control+/")
    await expect(member.at("help")).to_contain_text("Stop the answer")
    await accessible(member.page)
    await member.page.keyboard.press("Escape")
    await expect(member.at("help")).not_to_be_visible()
    assert member.errors == []


async def test_formulas_code_and_tables_are_read_by_everybody(visit: Visit) -> None:
    """In both themes, without a finding of axe; formulas are loaded from here, and set within the page's policy."""
    text = r"$\sqrt{x^2}$ costs $5 or $10." "\n\n" r"$$\vec{a} = \begin{pmatrix} 1 \\ 2 \end{pmatrix}$$" "\n\n"
    text += (
        "```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| $|x|$ | 2 |\n\n- [x] done\n\n"
        r"\(\href{https://evil.example}{x}\)"
    )
    for scheme in ("light", "dark"):
        ScriptedModel.enqueue([text])
        member = await visit("member", color_scheme=scheme)
        asked: list[str] = []
        member.page.on("request", lambda request, asked=asked: asked.append(request.url))
        await member.ask("Show me")
        answer = member.at("message-assistant").last
        await expect(answer).to_have_attribute("data-status", "complete")
        await expect(answer.locator("[data-testid=maths][data-plain=false] .katex")).to_have_count(4)
        await expect(answer.locator("a")).to_have_count(0)
        await expect(answer).to_contain_text("costs $5 or $10.")
        await accessible(member.page)
        await member.shot(f"formulas-{scheme}")
        assert all(url.startswith(member.url) for url in asked)
        assert [url for url in asked if url.endswith(".woff2")]
        assert member.errors == []


async def few(rows: Locator) -> None:
    """So many are drawn as are near the view, once their heights are known: they are guessed at first."""
    async with asyncio.timeout(15):
        while await rows.count() >= 60:
            await asyncio.sleep(0.02)


async def test_a_conversation_of_hundreds_of_messages(visit: Visit) -> None:
    """Only what is near the view is drawn; one comes to its beginning and back, and what one edits stays."""
    member = await visit("member", viewport={"width": 360, "height": 740})

    async def answer(route: Route) -> None:
        await route.fulfill(body=json.dumps(stored(600)), content_type="application/json")

    await member.page.route(re.compile(rf"/api/v1/conversations/{CONVERSATION}/messages"), answer)
    await member.page.goto(f"{member.url}/chat/{CONVERSATION}/")
    rows, box = member.page.locator("[data-row]"), member.at("messages")
    await expect(member.page.get_by_text("Answer 599")).to_be_visible()
    await few(rows)
    await expect(member.page.get_by_text("Answer 599")).to_be_in_viewport()
    await rows.filter(has_text="Question number 598?").get_by_test_id("edit-message").click()
    await box.evaluate("box => { box.scrollTop = 0 }")
    await expect(member.page.get_by_text("Question number 0?")).to_be_in_viewport()
    await few(rows)
    await expect(member.at("edit-field")).to_have_value("Question number 598?")
    await member.at("jump-latest").click()
    await expect(member.page.get_by_text("Answer 599")).to_be_in_viewport()
    await expect(member.at("edit-field")).to_be_visible()
    assert not await member.page.evaluate(WIDE)
    assert member.errors == []


async def test_an_expired_session_leads_back_with_the_draft(visit: Visit) -> None:
    ScriptedModel.enqueue(["Yes."])
    member = await visit("member")
    await member.ask("Still there?")
    await expect(member.at("message-assistant").last).to_contain_text("Yes.")
    path = member.page.url
    await member.page.context.clear_cookies()
    await member.at("composer").fill("half a thought")
    await member.at("conversation-search").fill("there")  # the first request that is refused
    await member.page.reload()
    await member.page.fill("input[name=email]", "member@acme.test")
    await member.page.fill("input[name=password]", PASSWORD)
    await member.at("sign-in").click()
    await member.page.wait_for_url(path)
    await expect(member.at("composer")).to_have_value("half a thought")
