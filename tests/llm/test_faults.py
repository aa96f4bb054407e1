from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest

from core.errors import ERRORS
from llm.deltas import OPENAI
from llm.faults import parsed, redacted, refusal, retry_after

KEY = "0123456789abcdef0123456789abcdef.s3cr3ts3cr3tABCD"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "no"}}, "context_too_long"),
        (
            400,
            {"error": {"message": "This model's maximum context length is 8192 tokens."}},
            "context_too_long",
        ),
        (400, {"error": {"message": "Range of input length should be [1, 30720]"}}, "context_too_long"),
        (413, {"error": {"message": "prompt is too long: 210000 tokens"}}, "context_too_long"),
        (400, {"error": {"message": "Model Not Exist"}}, "model_not_found"),
        (
            404,
            {"error": {"message": "The model `x` does not exist or you do not have access to it."}},
            "model_not_found",
        ),
        (404, {"error": {"message": 'model "llama9" not found, try pulling it first'}}, "model_not_found"),
        (
            404,
            {"object": "error", "message": "The model `x` does not exist.", "code": 404},
            "model_not_found",
        ),
        (404, b"<html>nothing here</html>", "provider_request_rejected"),
        (404, b"404 page not found", "provider_request_rejected"),
        (400, {"error": {"message": "temperature must be at most 2"}}, "provider_request_rejected"),
        (418, None, "provider_request_rejected"),
        (500, {"error": "CUDA out of memory"}, "provider_unavailable"),
        (503, b"upstream connect error", "provider_unavailable"),
        (401, {"error": {"message": "invalid key"}}, "provider_auth_failed"),
    ],
)
def test_what_a_refusal_means(status: int, body: Any, code: str) -> None:
    error = refusal(status, body, OPENAI)
    assert error.code == code
    assert error.message.startswith(ERRORS[code].message)


def test_the_vendors_sentence_is_passed_on_and_a_web_page_is_not() -> None:
    assert "at most 2" in refusal(400, {"error": {"message": "temperature must be at most 2"}}, OPENAI).message
    assert refusal(500, b"<html>secret trace</html>", OPENAI).message == ERRORS["provider_unavailable"].message
    assert "Check the base URL" in refusal(404, b"<html></html>", OPENAI).message
    assert '"msg":"field required"' in refusal(422, {"detail": [{"msg": "field required"}]}, OPENAI).message


@pytest.mark.parametrize(
    "text",
    [
        f"bad key {KEY}",
        f"bad key {KEY.split('.', maxsplit=1)[0]} and {KEY.split('.')[1]}",
        "Incorrect API key provided: sk-proj-abc***********************wxyz.",
        "Authorization: Bearer abcdef.ghijkl-mnop",
        "token eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl",
        "other key fedcba9876543210fedcba9876543210.AbCdEfGhIjKlMnOp",
    ],
)
def test_anything_like_a_key_is_taken_out(text: str) -> None:
    shown = redacted(text, KEY)
    assert "[key]" in shown
    for secret in ("0123456789abcdef", "s3cr3t", "wxyz", "ghijkl", "c2lnbmF0dXJl", "AbCdEf"):
        assert secret not in shown


def test_a_sentence_is_one_line_and_short() -> None:
    shown = redacted("a\r\nb\x00\x1b[31m  c" + "x" * 5000)
    assert shown.startswith("a b [31m c")
    assert len(shown) == 300
    assert redacted("") == ""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"retry-after-ms": "x"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date() -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert retry_after({"Retry-After": date}) == pytest.approx(60, abs=2)


def test_a_body_is_json_or_itself() -> None:
    assert parsed(b'{"a": 1}') == {"a": 1}
    assert parsed(b"oops") == b"oops"
