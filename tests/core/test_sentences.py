"""What an error tells people: in their language, and as exactly as it is known there."""

from __future__ import annotations

import pytest
from django.utils.translation import override

from core.errors import PaasError
from core.sentences import sentence


@pytest.mark.parametrize(
    ("language", "code", "message", "told"),
    [
        ("en", "validation_failed", "This month is not over yet.", "This month is not over yet."),
        ("zh-hans", "validation_failed", "This month is not over yet.", "该月尚未结束。"),
        ("en", "message_too_long", "The message has 9 characters; 8 are allowed.", "The message has 9 characters; 8"),
        ("zh-hans", "too_many_connections", "The server is busy.", "打开的连接过多"),
    ],
)
def test_its_own_words_or_those_of_its_code(language: str, code: str, message: str, told: str) -> None:
    with override(language):
        assert sentence(PaasError(code, message)).startswith(told)
