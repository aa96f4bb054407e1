"""The three doors as their clients see them (tests/contracts/transport.py)."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.contracts.transport import Answer, Door, Refusal, Stream
from tests.site import Site

TERMINAL = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


def usage_of(found: dict[str, Any]) -> dict[str, int]:
    names = {
        "input": "input_tokens",
        "output": "output_tokens",
        "reasoning": "reasoning_tokens",
        "cached": "cached_tokens",
    }
    return {name: found[key] for name, key in names.items()}


def absorb(answer: Answer, envelope: dict[str, Any], raw: bytes) -> None:
    """A native envelope into an answer."""
    kind, data = envelope["type"], envelope["data"]
    answer.raw.append(raw)
    assert envelope["v"] == 1
    if kind == "text.delta":
        answer.pieces.append(data["text"])
    elif kind == "reasoning.delta":
        answer.thoughts.append(data["text"])
    elif kind == "message.completed":
        answer.finish_reason = data["finish_reason"]
        assert data["content"].endswith(answer.text)
    elif kind in TERMINAL:
        answer.end, answer.usage = TERMINAL[kind], usage_of(data["usage"])
        answer.ends += 1
        answer.code, answer.message = data.get("code"), data.get("message")


class SocketStream(Stream):
    """One run on a socket of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, run_id: uuid.UUID) -> None:
        super().__init__()
        self.socket, self.run_id = socket, run_id
        self.seq: list[int] = []

    async def step(self) -> bool:
        if self.answer.ends:
            await self.socket.close()
            return False
        text = await self.socket.receive_str()
        frame = json.loads(text)
        if frame["type"] == "error":
            await self.socket.close()
            raise Refusal(None, frame["code"], frame["message"], frame["retry_after"])
        if "seq" in frame:
            assert frame["run_id"] == str(self.run_id)
            self.seq.append(frame["seq"])
            absorb(self.answer, frame, text.encode() + b"\n")
        return True

    async def leave(self) -> None:
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        await self.socket.close()


class SocketDoor(Door):
    name = "websocket"

    def __init__(self, site: Site, token: str) -> None:
        self.client = site.client("acme", token=token)

    async def open(self) -> aiohttp.ClientWebSocketResponse:
        socket = await self.client.ws_connect("/ws/chat/", max_msg_size=0)
        assert (await socket.receive_json())["type"] == "ready"
        return socket

    async def ask(self, agent: str, text: str = "hello", **more: Any) -> Stream:
        socket = await self.open()
        frame = {"type": "turn.start", "ref": "r1", "agent": agent, "message": text}
        await socket.send_json(frame | more)
        answer = await socket.receive_json()
        if answer["type"] == "error":
            assert answer["ref"] == "r1"
            await socket.close()
            raise Refusal(None, answer["code"], answer["message"], answer["retry_after"])
        assert (answer["type"], answer["ref"]) == ("turn.accepted", "r1")
        return SocketStream(socket, uuid.UUID(answer["run_id"]))

    async def resume(self, run_id: uuid.UUID, after: int) -> Stream:
        socket = await self.open()
        await socket.send_json({"type": "run.follow", "run_id": str(run_id), "after_seq": after})
        return SocketStream(socket, run_id)

    async def stop(self, run_id: uuid.UUID) -> None:
        socket = await self.open()
        await socket.send_json({"type": "run.cancel", "run_id": str(run_id)})
        await socket.send_json({"type": "ping"})
        answer = await socket.receive_json()
        await socket.close()
        if answer["type"] == "error":
            assert answer["run_id"] == str(run_id)
            raise Refusal(None, answer["code"], answer["message"])
        assert answer["type"] == "pong"

    async def send_raw(self, data: bytes) -> Refusal | None:
        socket = await self.open()
        await socket.send_str(data.decode("utf-8", "replace"))
        answer = await socket.receive_json()
        await socket.close()
        return Refusal(None, answer["code"], answer["message"]) if answer["type"] == "error" else None


async def refusal_of(response: aiohttp.ClientResponse) -> Refusal:
    """A native or OpenAI error body."""
    body = await response.json()
    error = body["error"]
    if "type" in error:
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert set(error) == {"code", "message", "details", "request_id"}
        assert set(body) == {"error"}
    wait = response.headers.get("Retry-After")
    return Refusal(response.status, error["code"], error["message"], float(wait) if wait else None)


async def sse_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[dict[str, str], bytes]]:
    """The fields of each event, and its bytes; comments are passed over."""
    buffer = b""
    async for data in response.content.iter_any():
        buffer += data
        while b"\n\n" in buffer:
            block, _, buffer = buffer.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
            if fields:
                yield fields, block + b"\n\n"
    assert buffer == b"", buffer


class SseStream(Stream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__()
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store, no-transform"
        self.response = response
        self.events = sse_events(response)
        self.seq: list[int] = []

    async def step(self) -> bool:
        found = await anext(self.events, None)
        if found is None:
            return False
        fields, raw = found
        envelope = json.loads(fields["data"])
        assert (fields["id"], fields["event"]) == (str(envelope["seq"]), envelope["type"])
        self.seq.append(envelope["seq"])
        self.run_id = uuid.UUID(envelope["run_id"])
        absorb(self.answer, envelope, raw)
        return True

    async def leave(self) -> None:
        self.response.close()


class SseDoor(Door):
    name = "sse"

    def __init__(self, site: Site, token: str) -> None:
        self.client = site.client("acme", token=token)

    async def ask(self, agent: str, text: str = "hello", **more: Any) -> Stream:
        body = {"agent": agent, "message": text} | more
        response = await self.client.post("/api/v1/runs", json=body, headers={"Accept": "text/event-stream"})
        return await self._stream(response)

    async def _stream(self, response: aiohttp.ClientResponse) -> Stream:
        if response.status != 200:
            raise await refusal_of(response)
        stream = SseStream(response)
        return stream

    async def resume(self, run_id: uuid.UUID, after: int) -> Stream:
        headers = {"Last-Event-ID": str(after)} if after else {}
        stream = await self._stream(await self.client.get(f"/api/v1/runs/{run_id}/events", headers=headers))
        stream.run_id = run_id
        return stream

    async def stop(self, run_id: uuid.UUID) -> None:
        async with self.client.post(f"/api/v1/runs/{run_id}/cancel") as response:
            if response.status != 202:
                raise await refusal_of(response)
            assert await response.json() == {"run": {"id": str(run_id)}}

    async def send_raw(self, data: bytes) -> Refusal | None:
        async with self.client.post("/api/v1/runs", data=data) as response:
            return None if response.status < 400 else await refusal_of(response)


class OpenAIStream(Stream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__()
        assert response.content_type == "text/event-stream"
        self.response = response
        self.events = sse_events(response)
        self.answer.end = "cut"

    async def step(self) -> bool:
        found = await anext(self.events, None)
        if found is None:
            return False
        fields, raw = found
        self.answer.raw.append(raw)
        if fields["data"] == "[DONE]":
            self.answer.ends += 1
            if self.answer.end == "cut":
                self.answer.end = "completed"
            return True
        chunk = json.loads(fields["data"])
        if "error" in chunk:
            self.answer.end, self.answer.code = "failed", chunk["error"]["code"]
            self.answer.message = chunk["error"]["message"]
            return True
        assert chunk["object"] == "chat.completion.chunk"
        self.run_id = uuid.UUID(chunk["id"].removeprefix("chatcmpl-"))
        if chunk.get("usage"):
            assert chunk["choices"] == []
            self.answer.usage = openai_usage(chunk["usage"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            self.answer.finish_reason = choice["finish_reason"] or self.answer.finish_reason
            if delta.get("content"):
                self.answer.pieces.append(delta["content"])
            if delta.get("reasoning_content"):
                self.answer.thoughts.append(delta["reasoning_content"])
        return True

    async def leave(self) -> None:
        self.response.close()


def openai_usage(found: dict[str, Any]) -> dict[str, int]:
    assert found["total_tokens"] == found["prompt_tokens"] + found["completion_tokens"]
    return {
        "input": found["prompt_tokens"],
        "output": found["completion_tokens"],
        "reasoning": found["completion_tokens_details"]["reasoning_tokens"],
        "cached": found["prompt_tokens_details"]["cached_tokens"],
    }


class OpenAIDoor(Door):
    name = "openai"
    can_resume = False
    can_stop = False
    refuses_early = True

    def __init__(self, site: Site, token: str, slug: str = "acme") -> None:
        self.client = site.client(slug, token=token)

    async def ask(self, agent: str, text: str = "hello", **more: Any) -> Stream:
        body = {
            "model": agent,
            "messages": [{"role": "user", "content": text}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        response = await self.client.post("/v1/chat/completions", json=body | more)
        if response.status != 200:
            raise await refusal_of(response)
        return OpenAIStream(response)

    async def complete(self, agent: str, text: str = "hello", **more: Any) -> dict[str, Any]:
        """A call that is not streamed."""
        body = {"model": agent, "messages": [{"role": "user", "content": text}]} | more
        async with self.client.post("/v1/chat/completions", json=body) as response:
            if response.status != 200:
                raise await refusal_of(response)
            found: dict[str, Any] = await response.json()
            return found

    async def send_raw(self, data: bytes) -> Refusal | None:
        async with self.client.post("/v1/chat/completions", data=data) as response:
            return None if response.status < 400 else await refusal_of(response)


class ResponsesStream(Stream):
    """`raw` holds one entry an event, so an event's number is its place."""

    def __init__(self, response: aiohttp.ClientResponse, after: int = 0) -> None:
        super().__init__()
        assert response.content_type == "text/event-stream"
        self.response = response
        self.events = sse_events(response)
        self.next = after

    async def step(self) -> bool:
        found = await anext(self.events, None)
        if found is None:
            return False
        fields, raw = found
        event = json.loads(fields["data"])
        assert (event["type"], event["sequence_number"]) == (fields["event"], self.next)
        self.next += 1
        self.answer.raw.append(raw)
        kind, body = event["type"], event.get("response")
        if kind == "response.created":
            self.run_id = uuid.UUID(body["id"].removeprefix("resp_"))
        elif kind == "response.output_text.delta":
            self.answer.pieces.append(event["delta"])
        elif kind == "response.reasoning_text.delta":
            self.answer.thoughts.append(event["delta"])
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._end(body)
        return True

    def _end(self, body: dict[str, Any]) -> None:
        answer, status = self.answer, body["status"]
        answer.ends += 1
        answer.end = "completed" if status == "incomplete" else status
        details = body["incomplete_details"]
        answer.finish_reason = {"max_output_tokens": "length"}[details["reason"]] if details else "stop"
        if body["error"]:
            answer.code, answer.message = body["error"]["code"], body["error"]["message"]
        answer.usage = responses_usage(body["usage"])

    async def leave(self) -> None:
        self.response.close()


def responses_usage(found: dict[str, Any]) -> dict[str, int]:
    assert found["total_tokens"] == found["input_tokens"] + found["output_tokens"]
    return {
        "input": found["input_tokens"],
        "output": found["output_tokens"],
        "reasoning": found["output_tokens_details"]["reasoning_tokens"],
        "cached": found["input_tokens_details"]["cached_tokens"],
    }


class ResponsesDoor(Door):
    name = "responses"

    def __init__(self, site: Site, token: str, slug: str = "acme") -> None:
        self.client = site.client(slug, token=token)

    async def ask(self, agent: str, text: str = "hello", **more: Any) -> Stream:
        body = {"model": agent, "input": text, "stream": True} | more
        return await self._stream(await self.client.post("/v1/responses", json=body))

    async def _stream(self, response: aiohttp.ClientResponse, after: int = 0) -> Stream:
        if response.status != 200:
            raise await refusal_of(response)
        return ResponsesStream(response, after)

    async def create(self, agent: str, text: Any = "hello", **more: Any) -> dict[str, Any]:
        """A call that is not streamed."""
        return await self.call("POST", "", json={"model": agent, "input": text} | more)

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The answer of another call; Refusal for an error."""
        async with self.client.request(method, f"/v1/responses{path}", **options) as response:
            if response.status != 200:
                raise await refusal_of(response)
            found: dict[str, Any] = await response.json()
            return found

    async def resume(self, run_id: uuid.UUID, after: int) -> Stream:
        query = {"stream": "true"} | ({"starting_after": str(after - 1)} if after else {})
        path = f"/v1/responses/resp_{run_id.hex}"
        stream = await self._stream(await self.client.get(path, params=query), after)
        stream.run_id = run_id
        return stream

    async def stop(self, run_id: uuid.UUID) -> None:
        assert (await self.call("POST", f"/resp_{run_id.hex}/cancel"))["status"] == "cancelled"

    async def send_raw(self, data: bytes) -> Refusal | None:
        async with self.client.post("/v1/responses", data=data) as response:
            return None if response.status < 400 else await refusal_of(response)


DOORS: dict[str, type[SocketDoor] | type[SseDoor] | type[OpenAIDoor] | type[ResponsesDoor]] = {
    "websocket": SocketDoor,
    "sse": SseDoor,
    "openai": OpenAIDoor,
    "responses": ResponsesDoor,
}
