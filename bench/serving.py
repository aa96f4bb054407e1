"""The stand-in vendor's side of a connection: reads requests, plays answers.

Bytes are built once (chunks.py) and a burst of events is one write: what measures others must cost
next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools
import orjson

from bench import embeddings, reranks
from bench import messages as anthropic
from bench.answers import UNAUTHORIZED, Answer, Ending, Refusal, answer_for, error_body, last_asked, unknown_model
from bench.chunks import ID_SLOT, STREAM_HEAD, Dialect, Script, document, response, script
from bench.stats import ASKED_CHARACTERS, Record

if TYPE_CHECKING:
    from bench.vendor import Vendor

BURST_TOKENS = 16
"""Unpaced events in one write: enough that a system call is cheap, few enough that streams take turns."""
MAX_BODY = 64 * 1024 * 1024
CHAT_PATHS = {
    b"/v1/chat/completions": "own_chunk",
    b"/api/paas/v4/chat/completions": "last_chunk",
    b"/anthropic/v1/messages": "messages",
}
"""The chat paths, and where that vendor reports usage (chunks.Dialect); "messages": it speaks Anthropic's wire."""
DOCUMENT_PATHS = {
    base + path: document_of
    for base in (b"/v1", b"/api/paas/v4")
    for path, document_of in ((b"/embeddings", embeddings.document_of), (b"/rerank", reranks.document_of))
}
"""The paths of models that give no text, and what gives their answer's document."""
_NOT_A_CHAT = Refusal(400, error_body("The body must hold model and messages.", "invalid_request_error", None))
_SERVER_ERROR = Refusal(500, error_body("The server had an error.", "server_error", None))


@dataclass(frozen=True, slots=True)
class _Request:
    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes


def _script(answer: Answer, dialect: Dialect) -> Script:
    return anthropic.script(answer, dialect.model) if dialect.usage == "messages" else script(answer, dialect)


class _Playing:
    """A streamed answer on its way: emits events when they are due and the socket takes them."""

    def __init__(self, connection: Connection, record: Record, answer: Answer, script: Script) -> None:
        self._connection = connection
        self._record = record
        self._answer = answer
        self._script = script
        self._id = record.id.encode()
        self._sent = 0
        self._loop = connection.loop
        self._started = self._loop.time()
        self._timer: asyncio.Handle | None = None
        self._wait(answer.first_ms / 1000)

    def _wait(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self.emit) if seconds > 0 else self._loop.call_soon(self.emit)

    def _due(self) -> int:
        """How many events may be out by now."""
        total = len(self._script.events)
        if not self._answer.gap_ms:
            return min(self._sent + BURST_TOKENS, total)
        ran_ms = (self._loop.time() - self._started) * 1000 - self._answer.first_ms
        return min(int(ran_ms / self._answer.gap_ms + 1e-6) + 1, total)

    def emit(self) -> None:
        """Write what is due, then wait for the next event, or end."""
        self._timer = None
        if self._connection.paused:
            return  # resume_writing comes back here
        script, start, due = self._script, self._sent, self._due()
        data = b"".join(script.events[start:due])
        if start == 0:
            data = script.opening + data
        if ends := due == len(script.events):
            data += script.closing
        data = data.replace(ID_SLOT, self._id)
        self._connection.write(STREAM_HEAD + data if start == 0 else data)
        self._sent = due
        self._record.tokens = 0 if self._answer.raw else due
        self._record.bytes = script.text_bytes[due]
        if ends:
            self._end()
        elif self._answer.gap_ms:
            next_at = self._started + (self._answer.first_ms + due * self._answer.gap_ms) / 1000
            self._wait(max(next_at - self._loop.time(), 0.0005))
        else:
            self._wait(0)

    def _end(self) -> None:
        if self._answer.ending is Ending.STALL:
            return  # stays open until the client leaves
        self._record.end(self._answer.ending.value)
        if self._answer.ending is Ending.CUT:
            self._connection.close()
        else:
            self._connection.answered()

    def resume(self) -> None:
        """The socket takes bytes again."""
        if self._timer is None:
            self._wait(0)

    def cancel(self) -> None:
        """The client left: emit nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._record.end("cancelled")


class Connection(asyncio.Protocol):
    """One client connection: keep-alive, one answer at a time, pipelined requests wait their turn."""

    def __init__(self, vendor: Vendor) -> None:
        self.loop = asyncio.get_running_loop()
        self.paused = False
        self._vendor = vendor
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[_Request] = deque()
        self._busy = False
        self._record: Record | None = None
        self._playing: _Playing | None = None
        self._timer: asyncio.Handle | None = None
        self._speaks = ""  # of the present chat: a value of CHAT_PATHS

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = transport  # type: ignore[assignment]  # a stream server makes stream transports
        self._vendor.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: whatever was on its way stops now."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._playing is not None:
            self._playing.cancel()
        if self._record is not None:
            self._record.end("cancelled")
        self._vendor.disconnected(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # ours, not the client's
        except httptools.HttpParserError:
            self.write(response(400, error_body("This is not HTTP.", "invalid_request_error", None)))
            self.close()

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self.paused = False
        if self._playing is not None:
            self._playing.resume()

    # httptools

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size > MAX_BODY:
            self.write(response(413, error_body("The request is too large.", "invalid_request_error", None)))
            self.close()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request is here."""
        path = self._url.split(b"?", 1)[0]
        self._waiting.append(_Request(self._parser.get_method(), path, self._headers, b"".join(self._body)))
        self._url, self._headers, self._body, self._size = b"", {}, [], 0
        self._next()

    # answering

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket, if there still is one."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def answered(self) -> None:
        """The answer is complete: take the next request."""
        self._playing = None
        self._record = None
        self._busy = False
        if self._waiting:
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        if self._busy or not self._waiting or self._transport is None:
            return
        self._busy = True
        request = self._waiting.popleft()
        if request.path in CHAT_PATHS and request.method == b"POST":
            self._chat(request)
        elif request.path in DOCUMENT_PATHS and request.method == b"POST":
            self._numbers(request)
        else:
            self.write(self._vendor.page(request.method, request.path, self._vendor.admits(request.headers)))
            self.answered()

    def _chat(self, request: _Request) -> None:
        try:
            asked = orjson.loads(request.body)
            model, messages = str(asked["model"]), list(asked["messages"])
            self._speaks = CHAT_PATHS[request.path]
            if self._speaks == "messages":
                messages = anthropic.plain(messages)
        except (ValueError, KeyError, TypeError):
            return self._refuse(_NOT_A_CHAT)
        vendor = self._vendor
        request_id = request.headers.get(b"x-request-id", b"").decode(errors="replace")
        record = self._record = Record(vendor.new_id(), model, bool(asked.get("stream")), request_id)
        record.asked = last_asked(messages)[:ASKED_CHARACTERS]
        vendor.stats.opened(record, asked)
        answer = answer_for(model, messages, asked.get("max_completion_tokens") or asked.get("max_tokens"))
        refusal = UNAUTHORIZED if not vendor.admits(request.headers) else vendor.refusal(model, answer)
        if refusal is not None or answer is None:
            return self._refuse(refusal or unknown_model(model))
        if answer.hangs:
            return None
        usage = self._speaks
        if usage == "own_chunk" and not (asked.get("stream_options") or {}).get("include_usage"):
            usage = "never"
        dialect = Dialect(model, usage)
        if answer.head_ms:
            return self._dribble(answer, dialect, 0)
        return self._answer(record, answer, dialect)

    def _numbers(self, request: _Request) -> None:
        self._speaks = ""
        try:
            asked = orjson.loads(request.body)
            model = str(asked["model"])
        except (ValueError, KeyError, TypeError):
            return self._refuse(_NOT_A_CHAT)
        vendor = self._vendor
        record = self._record = Record(vendor.new_id(), model, False, "")
        vendor.stats.opened(record, asked)
        document = DOCUMENT_PATHS[request.path](asked)
        answer = answer_for(model, [], None)
        refusal = UNAUTHORIZED if not vendor.admits(request.headers) else None
        if refusal is None and document is None:
            refusal = vendor.refusal(model, answer)
        if refusal is not None or document is None:
            if answer is not None and answer.hangs:
                return None
            return self._refuse(refusal or unknown_model(model))
        self.write(response(200, orjson.dumps(document)))
        record.state = "done"
        self.answered()
        return None

    def _answer(self, record: Record, answer: Answer, dialect: Dialect) -> None:
        if record.stream:
            self._playing = _Playing(self, record, answer, _script(answer, dialect))
        elif wait := answer.first_ms + answer.gap_ms * max(len(answer.words) - 1, 0):
            self._timer = self.loop.call_later(wait / 1000, self._whole, record, answer)
        else:
            self._whole(record, answer)

    def _whole(self, record: Record, answer: Answer) -> None:
        """A non-streamed answer; the endings of a stream have their counterparts here."""
        if answer.ending is Ending.ERROR:
            return self._refuse(_SERVER_ERROR)
        data = self._document(answer, record.model).replace(ID_SLOT, record.id.encode())
        if answer.ending is Ending.DONE:
            self.write(data)
            return self._complete(record, answer)
        self.write(data[:-20])  # less than Content-Length says
        if answer.ending is Ending.CUT:
            record.end("cut")
            self.close()
        return None

    def _dribble(self, answer: Answer, dialect: Dialect, sent: int) -> None:
        """A response head that arrives byte by byte; then all the rest in one piece."""
        record = self._record
        if record is None:
            return
        if record.stream:
            whole = _script(answer, dialect)
            head, rest = STREAM_HEAD, whole.opening + b"".join(whole.events) + whole.closing
        else:
            head, rest = b"HTTP/1.1 200 OK\r\n", self._document(answer, record.model).split(b"\r\n", 1)[1]
        if sent < len(head):
            self.write(head[sent : sent + 1])
            pause = answer.head_ms / 1000 / len(head)
            self._timer = self.loop.call_later(pause, self._dribble, answer, dialect, sent + 1)
        else:
            self.write(rest.replace(ID_SLOT, record.id.encode()))
            self._complete(record, answer)

    def _complete(self, record: Record, answer: Answer) -> None:
        record.tokens = answer.output_tokens
        record.bytes = answer.text_bytes
        record.end("done")
        self.answered()

    def _document(self, answer: Answer, model: str) -> bytes:
        return (anthropic.document if self._speaks == "messages" else document)(answer, model)

    def _refuse(self, refusal: Refusal) -> None:
        if self._speaks == "messages":
            refusal = anthropic.refused(refusal)
        if self._record is not None:
            self._record.end("refused")
        extra = b"Retry-After: %d\r\n" % refusal.retry_after if refusal.retry_after is not None else b""
        self.write(response(refusal.status, refusal.body, refusal.content_type, extra))
        self.answered()
