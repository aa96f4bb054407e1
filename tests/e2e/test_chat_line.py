"""The line between the page and the platform: it is lost, or dead without anybody knowing, in the middle of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from bench.chaos.proxy import Proxy, tcp
from llm.providers.scripted import ScriptedModel

Visit = Callable[..., Any]
WENT_ON = "Connected again. The answer went on meanwhile."


@pytest.fixture
async def line(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A proxy through which everybody reaches the site from here on."""
    async with Proxy(tcp(site.port)) as proxy:
        monkeypatch.setattr(site, "port", proxy.port)
        yield proxy


async def asked(member: Any, gate: asyncio.Event) -> Any:
    """The answer in its middle."""
    ScriptedModel.enqueue(["One, ", "two, ", gate, "three, ", "**four**."])
    await member.ask("Count to four")
    answer = member.at("message-assistant").last
    await expect(answer).to_contain_text("One, two,")
    return answer


async def whole(member: Any, answer: Any) -> None:
    """It is there once, and complete, without anybody having done anything."""
    await expect(answer).to_have_attribute("data-status", "complete")
    await expect(answer).to_contain_text("One, two, three, four.")
    assert (await answer.inner_text()).count("One, two") == 1
    await expect(member.at("message-assistant")).to_have_count(1)


async def test_an_answer_goes_on_through_a_lost_network(line: Proxy, visit: Visit) -> None:
    """The page says what it means while nothing goes through, and that the answer went on."""
    gate = asyncio.Event()
    member = await visit()
    await member.page.clock.install()
    await member.sign_in("member")
    answer = await asked(member, gate)
    line.refuse()
    await member.page.context.set_offline(True)
    notice = member.at("link-notice")
    await expect(notice).to_contain_text("You are offline")
    await member.shot("offline")
    gate.set()
    await member.at("composer").fill("And then?")
    await member.page.clock.fast_forward("00:05")  # who was away for a moment is told nothing
    line.heal()
    await member.page.context.set_offline(False)
    await whole(member, answer)
    await expect(member.page.get_by_text(WENT_ON)).to_be_visible()
    # The answer may have come by SSE, while a socket that began in between hangs: it is given up after 10 s
    # (OPEN_MS in frontend/src/transport/socket.ts), and the next one begins up to 15 s later (MOST_MS in backoff.ts).
    await expect(notice).to_have_count(0, timeout=40_000)
    await expect(member.at("composer")).to_have_value("And then?")


async def test_an_answer_is_there_when_the_machine_wakes_up(line: Proxy, visit: Visit) -> None:
    """After a sleep the old connection is dead, and nobody has said so."""
    gate = asyncio.Event()
    member = await visit()
    await member.page.clock.install()
    await member.sign_in("member")
    answer = await asked(member, gate)
    line.stall()
    gate.set()
    line.bury()
    before = line.connections
    await member.page.clock.fast_forward("30:00")
    await whole(member, answer)
    await expect(member.page.get_by_text(WENT_ON)).to_be_visible()
    assert line.connections > before, "it came by a connection of its own"
