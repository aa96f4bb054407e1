"""What an agent does besides writing, in the chat page: its tools, live and stored, and calls that wait for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from chat import host as hosts
from chat import worker
from llm.providers.scripted import ScriptedModel
from tests.chat.conftest import agents, ledger  # noqa: F401  # fixtures
from tests.chat.hosts import another
from tests.chat.ledger import eventually
from tests.chat.test_approvals import END, World, asks, world  # noqa: F401

Visit = Callable[..., Any]


async def asked(person: Any, slug: str, *scripts: list[Any]) -> None:
    """The person asks this agent, and its run comes to wait."""
    for script in scripts:
        ScriptedModel.enqueue(script)
    await person.page.reload()  # the agent is a new one
    await person.choose(slug)
    await person.ask("Go on")
    await person.at("approve").first.wait_for(timeout=60_000)  # what tools need is loaded first
    await eventually(lambda: not hosts.current().runs, 60)


async def goes_on() -> None:
    """A worker takes the run up."""
    async with another(worker=True) as working:
        assert await worker.take(working) == 1
        await eventually(lambda: not working.runs, 60)


async def test_tools_live_and_stored_and_a_call_that_is_approved(
    visit: Visit, agents: Callable[..., str], world: World
) -> None:
    slug, member = agents("demo", tools=["look", "send"]), await visit("member")
    await asked(member, slug, asks(("look", '{"at": "<b>"}')), asks(("send", '{"to": "<img src=x>", "n": 1.0}')))
    await expect(member.at("work").locator("> summary")).to_have_text("send waits for approval")
    await expect(member.at("conversation-waits")).to_be_visible()
    await member.page.reload()
    arguments = member.at("approval-arguments")
    await expect(arguments).to_have_text('{\n  "to": "<img src=x>",\n  "n": 1.0\n}')
    await expect(member.at("approval")).to_contain_text("It would change something.")
    await member.shot("approval")
    await member.at("approval-note").fill("go ahead")
    await member.page.keyboard.press("Enter")  # decides nothing
    ScriptedModel.enqueue(END)
    await member.at("approve").focus()
    await member.page.keyboard.press("Enter")
    await expect(member.at("approval-decided")).to_have_text("send: Approved by yougo ahead")
    await expect(member.at("approval-decided")).to_be_focused()
    await expect(member.at("conversation-waits")).to_have_count(0)
    await goes_on()
    answer = member.at("message-assistant").last
    await expect(answer).to_have_attribute("data-status", "complete")
    await expect(answer).to_contain_text("All done.")
    await member.at("feedback-up").click()
    for stored in (False, True):
        if stored:
            await member.page.reload()
        panel = member.at("work")
        await expect(panel.locator("> summary")).to_contain_text("Used 2 tools")
        await panel.locator("> summary").click()
        look, send = panel.get_by_test_id("tool-call").nth(0), panel.get_by_test_id("tool-call").nth(1)
        await expect(look).to_contain_text("from outside")
        await look.locator("> summary").click()
        await expect(look.get_by_test_id("tool-input")).to_have_text('{\n  "at": "<b>"\n}')
        await expect(look.get_by_test_id("tool-output")).to_have_text("look: done")
        await send.locator("> summary").click()
        await expect(send).to_contain_text("Approved by you")
    await expect(member.at("feedback-up")).to_have_attribute("aria-pressed", "true")
    await member.shot("tools-stored")
    assert world.times("send") == 1


async def test_a_call_that_is_denied_on_a_phone_and_decided_in_another_tab(
    visit: Visit, agents: Callable[..., str], world: World
) -> None:
    slug = agents("demo", tools=["look", "send"])
    member = await visit("member", viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme="dark")
    await asked(member, slug, asks(("look", "{}")), asks(("send", '{"n":1}'), ("send", '{"n":2}')))
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await member.page.evaluate(wide)
    await member.shot("approval-phone-zh")
    other = await member.page.context.new_page()
    await other.goto(member.page.url)
    await expect(other.get_by_test_id("approval")).to_have_count(2)
    await other.get_by_test_id("deny").first.click()
    await expect(member.at("approval-decided")).to_have_text("send: 已由你拒绝")
    await expect(member.at("approval")).to_have_count(1)
    await member.at("approval-note").fill("不行")
    ScriptedModel.enqueue(["明白了。"])
    await member.at("deny").click()
    await expect(member.at("approval-decided")).to_have_count(2)
    await goes_on()
    for page in (member.page, other):
        await expect(page.get_by_test_id("message-assistant").last).to_contain_text("明白了。")
        await expect(page.get_by_test_id("message-assistant").last).to_have_attribute("data-status", "complete")
    assert world.times("send") == 0
