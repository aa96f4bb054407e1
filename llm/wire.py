"""The streaming client: one call of a vendor's chat completions, or of another path or form, over aiohttp.

`stream` yields one list of deltas for each network read; `complete` gives the list of a non-streamed
answer. Both raise only `core.errors.PaasError`, with no exception of aiohttp behind it: those hold the
request's headers, and with them the key.

What it promises: an answer that has begun is never asked for twice; a call that failed before the
first byte is repeated at most twice and only for faults that pass; leaving the iterator (aclose, or
cancelling the task that reads) closes the vendor's connection at once, so that the vendor stops
working; a redirect is not followed, a proxy from the environment not used, a cookie not kept.

Connections are kept for the running event loop (llm.sessions); a server calls `await wire.close()` when
its loop ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    InvalidURL,
)
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from core.errors import PaasError
from llm import faults, quirks
from llm.deltas import (
    OPENAI,
    Delta,
    Dialect,
    Endpoint,
    Finish,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm.reader import Reader
from llm.sessions import close, session_for
from llm.sse import EventParser, document_deltas

__all__ = [
    "OPENAI",
    "Delta",
    "Dialect",
    "Endpoint",
    "Finish",
    "ModelRequest",
    "ReasoningDelta",
    "TextDelta",
    "ToolCallDelta",
    "UsageReport",
    "close",
    "complete",
    "post",
    "stream",
]

MAX_RETRIES = 2
BACK_OFF = 0.1
"""Seconds before the first retry, four times as many before the second; half to all of it, at random."""
RETRY_BUDGET = 8.0
"""Seconds after which no further attempt is begun."""
CHAT_PATH = "/chat/completions"
ERROR_BODY_BYTES = 64 * 1024
DOCUMENT_BYTES = 16 * 1024 * 1024
ERROR_BODY_SECONDS = 10.0


async def stream(
    endpoint: Endpoint, request: ModelRequest, dialect: Dialect = OPENAI
) -> AsyncGenerator[list[Delta], None]:
    """The deltas of a streamed answer, one non-empty list for each network read that completes any.

    Ends after the vendor's `[DONE]`, or at the end of the response when a finish reason came. Raises
    PaasError: provider_* (see llm.faults), context_too_long, model_not_found, validation_failed.
    """
    opened = await _open(_Call(endpoint, request, dialect, True, _path(dialect)))
    response, reader, data = opened.response, opened.reader, opened.first
    try:
        if opened.is_document:
            yield _document(await reader.all(data, DOCUMENT_BYTES), dialect, endpoint.api_key)
            return
        parser = (dialect.form.parser if dialect.form else EventParser)(dialect, endpoint.api_key)
        while data:
            deltas = parser.feed(data)
            if deltas:
                yield deltas
            if parser.error is not None:
                raise parser.error
            if parser.done:
                await reader.last()
                return
            data = await reader.read()
        deltas = parser.close()
        if deltas:
            yield deltas
        if parser.error is not None:
            raise parser.error
        if not (parser.finished or parser.done):
            raise reader.failure or faults.stream_broken()
    finally:
        reader.stop()
        response.close()  # does nothing when the response was read to its end


async def complete(endpoint: Endpoint, request: ModelRequest, dialect: Dialect = OPENAI) -> list[Delta]:
    """The deltas of a non-streamed answer: reasoning, text, tool calls, Finish, UsageReport.

    Raises PaasError as `stream` does; a body that breaks off is provider_stream_cut.
    """
    opened = await _open(_Call(endpoint, request, dialect, False, _path(dialect)))
    try:
        body = await opened.reader.all(opened.first, DOCUMENT_BYTES)
    finally:
        opened.reader.stop()
        opened.response.close()
    return _document(body, dialect, endpoint.api_key)


def _document(body: bytes, dialect: Dialect, secret: str) -> list[Delta]:
    return (dialect.form.document if dialect.form else document_deltas)(body, dialect, secret)


async def post(endpoint: Endpoint, path: str, body: dict[str, Any], dialect: Dialect = OPENAI) -> bytes:
    """The whole answer to `body`, which names a model, at another path of the vendor's than chat completions.

    Raises PaasError as `complete` does.
    """
    opened = await _open(_Call(endpoint, ModelRequest(body["model"], []), dialect, False, path, body))
    try:
        return await opened.reader.all(opened.first, DOCUMENT_BYTES)
    finally:
        opened.reader.stop()
        opened.response.close()


def _path(dialect: Dialect) -> str:
    return dialect.form.path if dialect.form else CHAT_PATH


@dataclass(frozen=True, slots=True)
class _Call:
    """What is sent, so that it can be sent again. body: what to send instead of `request`."""

    endpoint: Endpoint
    request: ModelRequest
    dialect: Dialect
    streamed: bool
    path: str = CHAT_PATH
    body: dict[str, Any] | None = None

    def headers(self) -> dict[str, str]:
        # identity: a compressed stream arrives in blocks, and a small one could unpack to gigabytes.
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.streamed else "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "agent-paas",
        }
        if self.endpoint.api_key and self.dialect.form:
            headers |= self.dialect.form.headers(self.endpoint.api_key)
        elif self.endpoint.api_key:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
        headers.update(self.endpoint.headers)
        for value in headers.values():
            if not (value.isascii() and value.isprintable()):
                raise PaasError(
                    "provider_auth_failed",
                    "The API key or a header has a character that cannot be sent. Enter it again.",
                )
        return headers


@dataclass(frozen=True, slots=True)
class _Opened:
    """A response with status 200 of which the first bytes (b"": it has none) have come."""

    response: ClientResponse
    reader: Reader
    first: bytes
    is_document: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why an attempt gave no answer; `wait`: seconds before another makes sense, None: it makes none."""

    error: PaasError
    wait: float | None = None


async def _open(call: _Call) -> _Opened:
    """Send the call, again where that helps, and give back the response that answers it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RETRY_BUDGET
    base_url, model = call.endpoint.base_url, call.request.model
    found = quirks.known(base_url, model)
    headers = call.headers()
    retries, asked_to_wait = 0, 0.0
    while True:
        body = call.body or quirks.body_of(call.request, call.dialect, found, stream=call.streamed)
        outcome = await _attempt(call, headers, quirks.encoded(body))
        if isinstance(outcome, _Opened):
            if found != quirks.known(base_url, model):
                quirks.remember(base_url, model, found)
            return outcome
        if outcome.error.code == "provider_request_rejected" and (quirk := quirks.suggested(outcome.error, body)):
            found |= {quirk}  # each leaves its field out of the body, so none is suggested twice
            continue
        wait = outcome.wait
        if wait is None or retries >= MAX_RETRIES or (asked_to_wait := asked_to_wait + wait) > faults.SHORT_WAIT:
            raise outcome.error
        # Jitter, so that runs which failed together do not come back together.
        pause = max(wait, BACK_OFF * 4**retries * random.uniform(0.5, 1.0))
        if loop.time() + pause > deadline:
            raise outcome.error
        retries += 1
        await asyncio.sleep(pause)


async def _attempt(call: _Call, headers: dict[str, str], body: bytes) -> _Opened | _Failed:
    """One request. Errors are values here: raised inside an `except`, they would carry aiohttp's error and
    through it the request's headers."""
    endpoint = call.endpoint
    response: ClientResponse | None = None
    try:
        async with asyncio.timeout(endpoint.first_byte_timeout):
            response = await session_for(endpoint).post(
                _url(endpoint.base_url, call.path),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=ClientTimeout(total=None, connect=endpoint.connect_timeout),
            )
            if response.status != 200:
                return await _refused(call, response)
            opened = await _begun(call, response)
        if isinstance(opened, _Opened):
            response = None  # the caller's to close
        return opened
    except PaasError as error:  # of core.egress
        return _Failed(error, 0.0 if error.code == "provider_unavailable" else None)
    except ConnectionTimeoutError:
        return _Failed(PaasError("provider_timeout", "The model provider does not accept the connection. Try again."))
    except TimeoutError:
        return _Failed(PaasError("provider_timeout"))
    except (ClientError, HttpProcessingError, OSError, ValueError) as error:
        return _connection_failure(error, call.dialect)
    finally:
        if response is not None:
            response.close()


async def _begun(call: _Call, response: ClientResponse) -> _Opened | _Failed:
    """A response with status 200 and its first bytes, if it is one that can be read."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _Failed(faults.bad_response("it is compressed, which was not asked for"))
    if response.content_type == "text/html":
        return _Failed(faults.bad_response("", b"<"))
    reader = Reader(response, call.endpoint.idle_timeout)
    first = await reader.first()
    if reader.failure is not None and not first:
        return _Failed(PaasError("provider_unavailable"), 0.0)
    return _Opened(response, reader, first, not call.streamed or response.content_type == "application/json")


async def _refused(call: _Call, response: ClientResponse) -> _Failed:
    """What a status other than 200 means; of its body the first 64 KiB and ten seconds are read."""
    body = b""
    try:
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            while len(body) < ERROR_BODY_BYTES and (data := await response.content.readany()):
                body += data
    except (TimeoutError, ClientError, HttpProcessingError, OSError):
        pass  # the status says enough
    error = faults.refusal(
        response.status,
        faults.parsed(body[:ERROR_BODY_BYTES]),
        call.dialect,
        headers=response.headers,
        secret=call.endpoint.api_key,
    )
    return _Failed(error, faults.retry_wait(response.status, error))


def _connection_failure(error: Exception, dialect: Dialect) -> _Failed:
    """What a failure of the connection itself means. Only where the same may pass, it is repeated."""
    if isinstance(error, ClientConnectorCertificateError | ClientSSLError):
        message = "No secure connection to the model provider: its certificate or TLS is not accepted."
        return _Failed(PaasError("provider_unavailable", message))
    if isinstance(error, InvalidURL | ValueError) and not isinstance(error, OSError):
        message = "The provider's base URL cannot be used. Check it."
        return _Failed(PaasError("provider_not_configured", message))
    if isinstance(error, ClientResponseError | HttpProcessingError):
        return _Failed(faults.bad_response("it does not speak HTTP"))
    if isinstance(error, ClientConnectorError):
        # Refused, unreachable, or the name is unknown; the last does not pass within a second.
        starting = faults.STARTING_SECONDS if dialect.unreachable == "model_starting" else None
        wait = None if isinstance(error, ClientConnectorDNSError) else 0.0
        return _Failed(PaasError(dialect.unreachable, retry_after=starting), wait)
    # Closed before a byte of the answer: so looks also a kept connection that the vendor had just given up.
    return _Failed(PaasError("provider_unavailable"), 0.0)


@lru_cache(maxsize=1024)
def _url(base_url: str, wanted: str) -> URL:
    """`<base URL>/chat/completions`, or another path; a query (Azure's api-version) stays behind it."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InvalidURL("not an http or https address")
    path = parts.path.rstrip("/").removesuffix(CHAT_PATH) + wanted
    return URL(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")))
