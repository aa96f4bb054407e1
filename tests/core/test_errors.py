"""The one table of errors: complete, stable, and a sentence for everybody."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from core.errors import ERRORS, PaasError, from_exception
from tests.parsing import parsed, sources

APPS = ("core", "tenants", "accounts", "usage", "llm", "knowledge", "agents", "chat", "portal", "paas")

# A code is a promise: clients, translations and alerts are keyed on it. Adding is free; these stay.
PROMISED = {
    "not_authenticated": 401, "invalid_credentials": 401, "invalid_api_key": 401, "api_key_expired": 401,
    "ticket_invalid": 401, "permission_denied": 403, "origin_forbidden": 403, "tenant_suspended": 403,
    "tenant_not_found": 404, "not_found": 404, "agent_not_found": 404, "model_not_found": 404,
    "method_not_allowed": 405, "run_in_progress": 409, "stream_gone": 410, "message_empty": 400,
    "malformed_json": 400, "validation_failed": 400, "context_too_long": 400, "request_too_large": 413,
    "message_too_long": 413, "quota_exceeded": 429, "rate_limited": 429, "too_many_connections": 429,
    "internal_error": 500, "run_interrupted": 500, "provider_auth_failed": 502, "provider_rate_limited": 429,
    "provider_unavailable": 502, "provider_bad_response": 502, "provider_stream_cut": 502,
    "provider_request_rejected": 502, "provider_timeout": 504, "provider_address_forbidden": 502,
    "provider_not_configured": 503, "database_unavailable": 503, "redis_unavailable": 503, "model_starting": 503,
    "server_stopping": 503,
}  # fmt: skip


def test_codes_keep_their_status() -> None:
    assert {code: ERRORS[code].status for code in PROMISED} == PROMISED


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_has_a_sentence_and_a_shape(code: str) -> None:
    spec = ERRORS[code]
    assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z]", code)
    assert re.fullmatch(r"[A-Z].{15,}[.!]", spec.message), spec.message
    assert 400 <= spec.status <= 599
    kinds = {
        "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "conflict_error",
        "insufficient_quota", "rate_limit_error", "server_error",
    }  # fmt: skip
    assert spec.openai_type in kinds
    assert (spec.openai_type == "authentication_error") == (spec.status == 401)
    assert (spec.openai_type == "server_error") == (spec.status >= 500)
    assert not (spec.retryable and spec.status in (400, 401, 403, 404, 410, 413))


def codes_in_sources() -> dict[str, str]:
    """Every literal code that is raised anywhere in the apps."""
    found: dict[str, str] = {}
    for path, text in sources(*APPS):
        for node in ast.walk(parsed(text)):
            named = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PaasError"
            if named and node.args and isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
                found[str(node.args[0].value)] = f"{path}:{node.lineno}"  # type: ignore[attr-defined]
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    found = codes_in_sources()
    assert len(found) > 20
    assert {code: where for code, where in found.items() if code not in ERRORS} == {}


def test_shapes() -> None:
    error = PaasError("quota_exceeded", "Used up.", retry_after=0.2, details={"param": "messages", "n": 1})
    assert (str(error), error.code, error.status, error.retryable) == ("Used up.", "quota_exceeded", 429, False)
    assert error.as_native("r1") == {
        "error": {
            "code": "quota_exceeded",
            "message": "Used up.",
            "details": {"param": "messages", "n": 1},
            "request_id": "r1",
        }
    }
    assert error.as_openai() == {
        "error": {"message": "Used up.", "type": "insufficient_quota", "param": "messages", "code": "quota_exceeded"}
    }
    assert error.headers() == {"Retry-After": "1"}
    assert PaasError("not_found").headers() == {}
    assert PaasError("not_found").message == ERRORS["not_found"].message
    assert repr(error) == "PaasError('quota_exceeded', 'Used up.')"


@pytest.mark.parametrize(("seconds", "header"), [(0, "1"), (0.4, "1"), (1.6, "2"), (3600.4, "3600")])
def test_retry_after_is_whole_seconds(seconds: float, header: str) -> None:
    assert PaasError("rate_limited", retry_after=seconds).headers() == {"Retry-After": header}


def test_an_unknown_code_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        PaasError("no_such_code")


@pytest.mark.parametrize("error", [ValueError("sk-secret"), KeyError("x"), RuntimeError(), MemoryError()])
def test_other_exceptions_say_nothing(error: Exception) -> None:
    found = from_exception(error)
    assert (found.code, found.message) == ("internal_error", ERRORS["internal_error"].message)
    assert "sk-secret" not in str(found.as_native()) + str(found.as_openai())


def test_ours_stay_themselves() -> None:
    error: Any = PaasError("not_found")
    assert from_exception(error) is error
