from __future__ import annotations

from typing import Any

import pytest

from llm.tokens import estimate_messages, estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("你好", 2), ("🦊", 2), ("\ud800", 1)]
)
def test_a_text_is_a_third_of_its_bytes_rounded_up(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_it_leans_to_the_high_side() -> None:
    """GPT-4's vocabulary has 10 tokens for this sentence (9 words and the full stop)."""
    assert 10 <= estimate_tokens("The quick brown fox jumps over the lazy dog.") <= 20


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ({"role": "user", "content": "abcdef"}, 6),
        ({"role": "assistant", "content": None}, 4),
        ({"role": "user", "content": [{"type": "text", "text": "abcdef"}]}, 4 + 2 + 2 + 2 + 2),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "x" * 9999}}],
            },
            4 + 2 + 3 + 3 + 1 + 1600,
        ),
    ],
)
def test_messages(message: dict[str, Any], tokens: int) -> None:
    assert estimate_messages([message]) == tokens


def test_tools_and_calls_count() -> None:
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    call = {"id": "c", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    plain = estimate_messages([{"role": "user", "content": "hi"}])
    assert estimate_messages([{"role": "user", "content": "hi"}], [tool]) > plain + 10
    assert estimate_messages([{"role": "user", "content": "hi", "tool_calls": [call]}]) > plain + 5
