"""What looks like a key does not reach a log line (P41, A24)."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.redaction import RedactSecrets, redact

KEY = "ak_Zm9vYmFyYmF6cXV4"


@pytest.mark.parametrize(
    "line",
    [
        f"GET /v1/models?key={KEY}",
        f"Authorization: Bearer {KEY}",
        "authorization: bearer eyJhbGciOi.payload.sig",
        "{'Authorization': 'Bearer sk-proj-abcdef123456'}",
        "api_key='0123456789abcdef'",
        'API-KEY: "0123456789abcdef"',
        "apikey=0123456789abcdef&next=1",
        "using sk-abcdefghijklmnop for the vendor",
    ],
)
def test_secrets_go(line: str) -> None:
    found = redact(line)
    assert "[secret]" in found
    for part in (KEY, "eyJhbGciOi", "sk-proj", "0123456789abcdef", "sk-abcdefgh"):
        assert part not in found


@pytest.mark.parametrize(
    "line", ["task_completed", "a bearer of news"[:8], "risk-free", "make_key", "", "the key is lost"]
)
def test_other_words_stay(line: str) -> None:
    assert redact(line) == line


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_key_anywhere_in_a_line(before: str, after: str) -> None:
    assert KEY not in redact(f"{before} {KEY} {after}")


def test_the_filter_sees_arguments_too(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "called with %s and %d", (KEY, 7), None)
    assert RedactSecrets().filter(record)
    assert record.getMessage() == "called with [secret] and 7"
    plain = logging.LogRecord("x", logging.INFO, __file__, 1, "called with %s", ("nothing",), None)
    RedactSecrets().filter(plain)
    assert plain.getMessage() == "called with nothing"


def test_tracebacks_too() -> None:
    handler_filter, formatter = RedactSecrets(), logging.Formatter("%(message)s")
    try:
        raise RuntimeError(f"refused: {KEY}")
    except RuntimeError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, __file__, 1, "failed", (), (RuntimeError, error, error.__traceback__)
        )
    handler_filter.filter(record)
    assert KEY not in formatter.format(record)
