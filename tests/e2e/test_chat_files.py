"""Files in the chat page: attached, refused, sent with a message, there after a reload, downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from llm.deltas import Finish, ToolCallDelta
from llm.providers.scripted import ScriptedModel
from tests.chat.conftest import agents  # noqa: F401  # a fixture

READS = [ToolCallDelta(0, "c0", "read_file", '{"file": "numbers.csv"}'), Finish("tool_calls")]


async def test_a_file_goes_with_a_message(visit: Callable[..., Any], agents: Callable[..., str]) -> None:
    slug, member = agents("demo", tools=["read_file"]), await visit("member")
    await expect(member.at("attach")).to_have_count(0)  # this agent reads no files
    await member.page.reload()
    await member.choose(slug)
    files = [
        ("numbers.csv", "text/csv", b"month,sum\nMay,7\n"),
        ("a.exe", "application/octet-stream", b"MZ\x00\x01" * 99),
    ]
    await member.at("attach-files").set_input_files(
        [{"name": name, "mimeType": kind, "buffer": content} for name, kind, content in files]
    )
    chips = member.at("attachment")
    await expect(chips.first).to_have_attribute("data-state", "ready")
    await expect(chips.last).to_contain_text("cannot be read here")
    await member.page.wait_for_url("**/chat/*/")
    await member.at("composer").fill("What was the sum in May?")
    await expect(member.at("send")).to_be_disabled()
    await chips.last.get_by_test_id("attachment-remove").click()
    await expect(chips).to_have_count(1)
    await member.shot("files-attached")
    for script in (READS, ["It was 7."]):
        ScriptedModel.enqueue(script)
    await member.at("send").click()
    await expect(member.at("message-assistant").last).to_contain_text(
        "It was 7.", timeout=60_000
    )  # what tools need is loaded first
    await expect(chips).to_have_count(0)
    await member.page.reload()
    await expect(member.at("message-user")).to_contain_text("What was the sum in May?")
    await expect(member.at("message-user")).not_to_contain_text("[Files:")
    async with member.page.expect_download() as told:
        await member.at("file").click()
    download = await told.value
    assert download.suggested_filename == "numbers.csv"
    assert (await download.path()).read_bytes() == files[0][2]
    await member.shot("files-sent")
