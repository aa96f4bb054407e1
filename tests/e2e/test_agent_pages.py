"""An administrator makes an agent from a template, edits it, tries the draft live, publishes, and goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from llm.deltas import ToolCallDelta
from llm.providers.scripted import ScriptedModel

Visit = Callable[..., Any]
CALL = ToolCallDelta(0, "call_1", "calculator", '{"expression": "6*7"}')


async def test_from_a_template_to_a_version_and_back(visit: Visit) -> None:
    admin = await visit("admin")
    await admin.page.goto(f"{admin.url}/settings/agents/")
    await admin.at("new-agent").click()
    await admin.page.get_by_text("Data helper").click()
    await expect(admin.page.locator("[name=slug]")).to_have_value("data-helper")
    await admin.page.fill("[name=name]", "Desk 7")
    await expect(admin.page.locator("[name=slug]")).to_have_value("desk-7")
    await admin.page.fill("[name=model]", "demo")
    await admin.at("make-agent").click()

    # Typed, not saved: the live test saves it before it asks.
    await admin.page.fill("[name=instructions]", "Say how you calculated.")
    log, gate = admin.page.get_by_role("log"), asyncio.Event()
    ScriptedModel.enqueue([CALL])
    ScriptedModel.enqueue(["It is ", gate, "42."])
    await admin.at("trial-message").fill("What is 6 * 7?")
    await admin.page.keyboard.press("Enter")
    await expect(log).to_contain_text("It is", timeout=30_000)  # LangChain is loaded when tools first run
    await expect(log).to_contain_text("calculator")
    await admin.shot("agent-trial")
    gate.set()
    await expect(log).to_contain_text("It is 42.")
    stopped = ScriptedModel.enqueue(["A long story ", asyncio.Event()])
    await admin.at("trial-message").fill("Go on")
    await admin.at("trial-send").click()
    await expect(log).to_contain_text("A long story")
    await admin.at("trial-stop").click()
    async with asyncio.timeout(5):
        await stopped.wait_closed()
    await expect(admin.at("trial-stop")).to_be_hidden()

    # What the form has wrong is said before anything is asked.
    await admin.page.get_by_text("Parameters of the model").click()
    await admin.page.fill("[name=temperature]", "9")
    await admin.at("trial-message").fill("Once more")
    await admin.page.keyboard.press("Enter")
    await expect(log).to_contain_text("less than or equal to 2")
    await admin.page.fill("[name=temperature]", "0.5")

    await admin.at("to-publish").click()
    await expect(admin.page.locator("dl.changes")).to_contain_text("Say how you calculated.")
    await admin.page.fill("[name=note]", "The first")
    await admin.at("publish").click()
    await expect(admin.at("version")).to_have_count(1)
    await admin.page.goto(f"{admin.url}/settings/agents/desk-7/")
    await admin.page.fill("[name=instructions]", "Say nothing.")
    await admin.at("to-publish").click()
    await admin.at("publish").click()
    await expect(admin.at("version")).to_have_count(2)
    await admin.page.get_by_text("Go back to it").click()
    await admin.at("go-back").click()
    await expect(admin.at("version").first).to_contain_text("brings back 1")
    await admin.shot("agent-versions")

    # The conversations of the test are gone with its page.
    await admin.page.goto(f"{admin.url}/chat/")
    await admin.at("composer").wait_for()
    await expect(admin.at("conversation-item")).to_have_count(0)
