"""The openai SDK for Node and the Vercel AI SDK, unmodified: each feature that the table in docs/openai.md says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chat.ledger import eventually

FEATURES = {
    "openai.mjs": {
        "models", "stream", "reasoning", "whole", "tools", "schema", "images", "embeddings", "errors", "cut", "retry", "resume", "leave",
    },
    "vercel.mjs": {"stream", "whole", "tools", "schema", "images", "embeddings", "errors", "cut", "retry", "resume", "leave"},
}  # fmt: skip


@pytest.mark.parametrize("script", FEATURES)
async def test_every_feature(script: str, node: Any, busy_once: None, ledger: Any, vendor: Any) -> None:
    found = await node(script)
    assert found == dict.fromkeys(found, "")
    assert set(found) == FEATURES[script]
    await eventually(lambda: not ledger.left_behind())  # whoever left has stopped the vendor
    assert vendor.stats.document()["cancelled"] == 1
