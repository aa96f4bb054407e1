"""OpenAI's responses from Node: the openai SDK, and the Vercel AI SDK's provider for OpenAI, which asks nothing else."""

from __future__ import annotations

from typing import Any

import pytest

FEATURES = {
    "responses.mjs": {
        "stream", "whole", "goes_on", "resume", "tools", "schema", "images", "errors", "cut", "cancel",
    },
    "vercel_responses.mjs": {"stream", "whole", "tools", "goes_on", "schema", "images", "errors", "cut"},
}  # fmt: skip


@pytest.mark.parametrize("script", FEATURES)
async def test_every_feature(script: str, node: Any, ledger: Any) -> None:
    found = await node(script)
    assert found == dict.fromkeys(found, "")
    assert set(found) == FEATURES[script]
    assert not ledger.left_behind()
