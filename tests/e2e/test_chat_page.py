"""What a member does: sign in, ask, watch it stream, reload in the middle, stop, try again, sign out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from core.errors import PaasError
from llm.providers.scripted import ScriptedModel

Visit = Callable[..., Any]


async def test_wrong_password_says_so_and_keeps_the_address(visit: Visit) -> None:
    someone = await visit()
    await someone.page.goto(f"{someone.url}/chat/")
    await someone.page.fill("input[name=email]", "owner@acme.test")
    await someone.page.fill("input[name=password]", "not the password")
    await someone.at("sign-in").click()
    await expect(someone.at("login-error")).to_be_visible()
    await expect(someone.page.locator("input[name=email]")).to_have_value("owner@acme.test")
    await someone.shot("sign-in-refused")


async def test_answer_streams_and_survives_a_reload_in_the_middle(visit: Visit) -> None:
    gate = asyncio.Event()
    ScriptedModel.enqueue(["One, ", "two, ", gate, "three, ", "**four**."])
    member = await visit("member")
    await member.ask("Count to four")
    answer = member.at("message-assistant").last
    await expect(answer).to_contain_text("One, two,")
    await member.shot("streaming")
    await member.page.reload()
    await expect(member.at("message-user")).to_contain_text("Count to four")
    answer = member.at("message-assistant").last
    await expect(answer).to_contain_text("One, two,")
    gate.set()
    await expect(answer).to_contain_text("One, two, three, four.")
    await expect(answer).to_have_attribute("data-status", "complete")
    assert (await answer.inner_text()).count("One, two") == 1
    await expect(member.at("message-assistant")).to_have_count(1)
    await expect(member.at("conversation-item").first).to_contain_text("Count to four")
    await member.page.reload()
    await expect(member.at("message-assistant").last).to_contain_text("One, two, three, four.")
    await member.shot("answered")


async def test_stop_keeps_what_was_written_and_retry_replaces_it(visit: Visit) -> None:
    gate = asyncio.Event()
    stopped = ScriptedModel.enqueue(["A long story ", gate, "that nobody waits for."])
    member = await visit("member")
    await member.ask("Tell me a story")
    answer = member.at("message-assistant").last
    await expect(answer).to_contain_text("A long story")
    await member.at("stop").click()
    await expect(answer).to_have_attribute("data-status", "stopped")
    async with asyncio.timeout(5):
        await stopped.wait_closed()
    await member.shot("stopped")
    ScriptedModel.enqueue(["A short story."])
    await member.at("retry").last.click()
    await expect(member.at("message-assistant").last).to_contain_text("A short story.")
    await expect(member.at("message-assistant")).to_have_count(1)


async def test_branches_by_keyboard_on_a_phone(visit: Visit) -> None:
    """Continue what was stopped, write it again, send the question again, and walk between the versions."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["One, ", gate])
    member = await visit("member", viewport={"width": 360, "height": 740})
    answer = member.at("message-assistant").last
    await member.ask("Count")
    await expect(answer).to_contain_text("One,")
    await member.at("stop").click()
    await expect(answer).to_have_attribute("data-status", "stopped")
    ScriptedModel.enqueue(["two."])
    await member.at("continue").focus()
    await member.page.keyboard.press("Enter")
    await expect(answer).to_have_attribute("data-status", "complete")
    await expect(answer).to_contain_text("One, two.")
    ScriptedModel.enqueue(["Uno."])
    await member.at("retry").focus()
    await member.page.keyboard.press("Enter")
    await expect(answer).to_contain_text("Uno.")
    await expect(answer.get_by_test_id("siblings")).to_contain_text("2/2")
    await member.at("branch-previous").focus()
    await member.page.keyboard.press("Enter")
    await expect(answer).to_contain_text("One, two.")
    await expect(member.at("branch-next")).to_be_focused()
    await member.at("edit-message").focus()
    await member.page.keyboard.press("Enter")
    await member.at("edit-field").fill("never sent")
    await member.page.keyboard.press("Escape")
    await expect(member.at("edit-message")).to_be_focused()
    await expect(member.at("message-user")).to_contain_text("Count")
    await member.page.keyboard.press("Enter")
    await member.at("edit-field").fill("Count in Chinese")
    ScriptedModel.enqueue(["一。"])
    await member.page.keyboard.press("Enter")
    await expect(answer).to_contain_text("一。")
    await member.shot("branches-phone")
    await member.page.reload()
    await expect(member.at("message-user").get_by_test_id("siblings")).to_contain_text("2/2")
    await expect(answer).to_contain_text("一。")
    await member.at("branch-previous").click()
    await expect(answer).to_contain_text("Uno.")  # to the newest end of that branch
    wide = await member.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide


async def test_a_failing_provider_is_explained_and_can_be_tried_again(visit: Visit) -> None:
    ScriptedModel.enqueue([PaasError("provider_auth_failed")])
    member = await visit("member")
    await member.ask("Hello?")
    await expect(member.at("message-assistant").last).to_have_attribute("data-status", "failed")
    await expect(member.at("error-banner").last).to_be_visible()
    await member.shot("failed")
    ScriptedModel.enqueue(["Hello!"])
    await member.at("retry").last.click()
    await expect(member.at("message-assistant").last).to_contain_text("Hello!")


async def test_two_tabs_see_one_answer(visit: Visit) -> None:
    gate = asyncio.Event()
    ScriptedModel.enqueue(["First half, ", gate, "second half."])
    member = await visit("member")
    await member.ask("Both of you")
    await expect(member.at("message-assistant").last).to_contain_text("First half,")
    await member.page.wait_for_url("**/chat/*/")
    other = await member.page.context.new_page()
    await other.goto(member.page.url)
    await expect(other.get_by_test_id("message-assistant").last).to_contain_text("First half,")
    gate.set()
    for page in (member.page, other):
        await expect(page.get_by_test_id("message-assistant").last).to_contain_text("First half, second half.")


async def test_markdown_is_rendered_and_nothing_is_fetched(visit: Visit) -> None:
    ScriptedModel.enqueue(
        ["# Title\n\n```python\nprint(1)\n```\n\n![x](http://evil.test/leak.png)\n\n<img src=http://evil.test/raw.png>"]
    )
    member = await visit("member")
    await member.ask("Show me code")
    answer = member.at("message-assistant").last
    await expect(answer.locator("pre code")).to_contain_text("print(1)")
    await expect(answer).to_have_attribute("data-status", "complete")
    assert await answer.locator("img").count() == 0
    await member.shot("markdown")


async def test_delete_can_be_undone(visit: Visit) -> None:
    ScriptedModel.enqueue(["Kept."])
    member = await visit("member")
    await member.ask("Keep this")
    await expect(member.at("message-assistant").last).to_contain_text("Kept.")
    item = member.at("conversation-item").first
    await item.hover()
    await item.get_by_role("button").last.click()
    delete = member.page.get_by_role("menuitem").last
    if await delete.count():
        await delete.click()
    await member.at("undo").click()
    await expect(member.at("conversation-item").first).to_contain_text("Keep this")


async def test_chinese_page_on_a_phone(visit: Visit) -> None:
    ScriptedModel.enqueue(["你好！这是一个回答。"])
    member = await visit("member", viewport={"width": 360, "height": 740}, locale="zh-CN", color_scheme="dark")
    await member.ask("你好")
    await expect(member.at("message-assistant").last).to_contain_text("这是一个回答")
    assert await member.page.evaluate("document.documentElement.lang") == "zh-Hans"
    wide = await member.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide
    await member.shot("phone-zh-dark")


async def test_another_tenant_sees_none_of_it(visit: Visit) -> None:
    ScriptedModel.enqueue(["Acme's secret."])
    member = await visit("member")
    await member.ask("Something private")
    await expect(member.at("message-assistant").last).to_contain_text("secret")
    path = member.page.url.removeprefix(member.url)
    rival = await visit("rival", "globex")
    await expect(rival.at("conversation-item")).to_have_count(0)
    await rival.page.goto(f"{rival.url}{path}")
    await expect(rival.at("error-banner").last).to_contain_text("does not exist")
    await expect(rival.at("message-assistant")).to_have_count(0)
    assert "secret" not in await rival.page.content()


async def test_sign_out_ends_the_session(visit: Visit) -> None:
    member = await visit("member")
    await member.at("sign-out").click()
    await member.page.wait_for_url("**/login/**")
    await member.page.goto(f"{member.url}/chat/")
    await expect(member.at("sign-in")).to_be_visible()
