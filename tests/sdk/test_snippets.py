"""The examples that people paste from the page of an API key, run as they are (tests/sdk_node runs Node's library)."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

import pytest
from django.conf import settings

from llm.providers.scripted import ScriptedModel
from portal.snippets import snippets, who_am_i


def run(code: str) -> None:
    """As a file that somebody made of it."""
    exec(compile(code, "example.py", "exec"), {"__name__": "__main__"})


async def asked(site: Any, command: str) -> Any:
    """What `curl` with these arguments is answered."""
    _curl, url, *options = shlex.split(command.replace("\\\n", " "))
    given = list(zip(options[::2], options[1::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in given if name == "-H")
    data = next((value for name, value in given if name == "-d"), None)
    method = "POST" if data else "GET"
    async with site.client("").request(method, url, headers=headers, data=data) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_what_is_pasted_works(
    site: Any, api_key: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "PUBLIC_PORT", site.port)
    token = api_key()
    examples = {one.name: one.code for one in snippets("acme", "assistant", token)}
    assert set(examples) == {"curl", "python", "node", "websocket"}
    for name in ("python", "websocket"):
        ScriptedModel.enqueue(["Hel", "lo from ", name])
        await asyncio.to_thread(run, examples[name])
        assert capsys.readouterr().out == f"Hello from {name}\n"
    ScriptedModel.enqueue(["Hello"])
    answer = await asked(site, examples["curl"])
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert "chat:write" in (await asked(site, who_am_i("acme", token).code))["scopes"]
