"""What a vendor's refusals and failures mean: HTTP status and body -> one of our error codes.

A vendor's own sentence is passed on where it helps to act, shortened, on one line and with anything
that looks like a key taken out. Nothing here holds request headers.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import ERRORS, PaasError
from llm.deltas import Dialect

MAX_SENTENCE = 300
SHORT_WAIT = 2.0
"""Seconds in all that a vendor may ask us to wait and we still do it inside the call."""

STARTING_SECONDS = 2.0
"""What a caller is told to wait for a model that is starting; the embedded one loads in less."""

# Conflict, timeout and too-early are the vendor's own passing trouble; OpenAI's SDK repeats them too.
_PASSING = frozenset({408, 409, 425})
_CONTEXT = re.compile(
    r"context.?length|context.?(window|size)|maximum context|prompt is too long|too many (input )?tokens"
    r"|input (is )?too long|range of input length|reduce the length|exceed_context",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"not_found_error\s+model:|model.?not.?(found|exist)|model\b.{0,120}(does not|doesn't|not) (exist|found)"
    r"|(no such|unknown|invalid) model|模型不存在",
    re.IGNORECASE | re.DOTALL,
)
_KEYS = re.compile(
    r"\b(?:sk|pk|ak|rk|xai|gsk)[-_][\w*.\-]{6,}|\bBearer\s+\S+|\b[0-9a-f]{32}\.\w{8,}|\beyJ[\w\-]+\.[\w\-.]+",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def redacted(text: str, secret: str = "") -> str:
    """`text` on one line of at most 300 characters, without `secret` and without anything like an API key."""
    if len(secret) >= 4:
        text = text.replace(secret, "[key]")
        for part in secret.split("."):  # Zhipu's id.secret: each half is a secret too
            if len(part) >= 8:
                text = text.replace(part, "[key]")
    text = _SPACE.sub(" ", _KEYS.sub("[key]", text)).strip()
    return text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 1] + "…"


def bad_response(what: str, body: bytes = b"") -> PaasError:
    """provider_bad_response that says what was wrong, and when it was a web page, that it was one."""
    if body.lstrip()[:1] == b"<":
        what = "its answer is a web page. Check the base URL"
    return PaasError("provider_bad_response", f"The model provider sent something that is not an answer: {what}.")


def stream_broken() -> PaasError:
    """provider_stream_cut: the stream ended before the answer did."""
    return PaasError("provider_stream_cut")


def vendor_error(body: Any, dialect: Dialect, secret: str = "") -> PaasError:
    """An error that came with HTTP status 200: inside a stream, or as the whole document."""
    code, kind, sentence = _parts(body)
    if ours := dialect.error_codes.get(code):
        return _with_sentence(ours, sentence, secret)
    status = int(code) if code.isdigit() and 400 <= int(code) <= 599 else 0
    if status:
        return refusal(status, body, dialect, secret=secret)
    return _with_sentence(_by_text(f"{kind} {code} {sentence}") or _by_kind(f"{kind} {code}"), sentence, secret)


def refusal(
    status: int, body: Any, dialect: Dialect, *, headers: Mapping[str, str] | None = None, secret: str = ""
) -> PaasError:
    """The error for an HTTP status other than 200. `body` is the parsed JSON, or bytes when it is none."""
    code, kind, sentence = _parts(body)
    wait = retry_after(headers or {})
    ours = dialect.error_codes.get(code) or _by_status(status, f"{kind} {code} {sentence}", dialect)
    if ours == "provider_request_rejected" and 300 <= status < 400:
        sentence = "it redirects to another address. Set the final address as base URL"
    elif ours == "provider_request_rejected" and status == 404:
        sentence = sentence or "it has nothing at this address (404). Check the base URL"
    elif ours == "model_starting":
        sentence, wait = "", wait or STARTING_SECONDS
    return _with_sentence(ours, sentence, secret, wait)


def parsed(body: bytes) -> Any:
    """The JSON value of an error body, or the bytes themselves."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After (a number or an HTTP date) or retry-after-ms, or None. Never negative."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("Retry-After", "")
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def retry_wait(status: int, error: PaasError) -> float | None:
    """Seconds to wait before the same request is worth sending again, or None when it is not.

    0 means: soon, the caller chooses. Rate limits are repeated only when the vendor names a short time.
    """
    wait = error.retry_after
    if error.code == "provider_rate_limited":
        return wait if wait is not None and wait <= SHORT_WAIT else None
    if error.code == "provider_unavailable" and (status >= 500 or status in _PASSING):
        return (wait or 0.0) if (wait or 0.0) <= SHORT_WAIT else None
    return None


def _parts(body: Any) -> tuple[str, str, str]:
    """(code, type, sentence) of an error body in any of the shapes that vendors use."""
    if isinstance(body, bytes):
        text = body[:2000].decode("utf-8", "replace").strip()
        return "", "", "" if text.startswith("<") else text
    if not isinstance(body, dict):
        return "", "", ""
    error = body.get("error", body)
    if isinstance(error, str):
        return "", "", error
    if not isinstance(error, dict):
        return "", "", ""
    code = error.get("code")
    kind = error.get("type")
    sentence = error.get("message") or error.get("msg") or error.get("detail") or body.get("message") or ""
    if isinstance(sentence, list | dict):  # FastAPI vendors (vLLM) answer 422 with a list of field errors
        sentence = orjson.dumps(sentence).decode()
    return "" if code is None else str(code), "" if kind is None else str(kind), str(sentence)


def _by_status(status: int, text: str, dialect: Dialect) -> str:
    if status in (401, 403):
        return "provider_auth_failed"
    if status == 429:
        return "provider_rate_limited"
    if status == 503 and dialect.loading and "loading" in text.lower():
        return dialect.loading
    if status >= 500 or status in _PASSING:
        return "provider_unavailable"
    return _by_text(text) or "provider_request_rejected"


def _by_text(text: str) -> str | None:
    if _CONTEXT.search(text):
        return "context_too_long"
    return "model_not_found" if _MODEL.search(text) else None


def _by_kind(text: str) -> str:
    text = text.lower()
    if "rate_limit" in text or "too_many" in text:
        return "provider_rate_limited"
    if "auth" in text or "api_key" in text or "permission" in text:
        return "provider_auth_failed"
    return "provider_request_rejected" if "invalid_request" in text else "provider_unavailable"


def _with_sentence(code: str, sentence: str, secret: str, wait: float | None = None) -> PaasError:
    """The code's own message, followed by what the vendor said."""
    said = redacted(sentence, secret)
    own = ERRORS[code].message
    if not said:
        return PaasError(code, retry_after=wait)
    return PaasError(code, f"{own} The provider says: {said}", retry_after=wait, details={"provider_message": said})
