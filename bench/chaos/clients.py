"""Clients that leave, are cut off and come back, and keep everything that they were shown.

Two kinds can come back: SSE with Last-Event-ID, websocket with after_seq. An OpenAI client cannot: what it is cut off
from is over. Each asks for one answer at a time, under a tag of its own, of any of the web processes.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

TERMINAL = ("run.completed", "run.failed", "run.cancelled")
KINDS = ("sse", "websocket", "openai")
QUIET_SECONDS = 25.0  # a heartbeat comes every 15 s: who hears nothing for longer comes back
COME_BACK_SECONDS = 90.0
BROKEN = (aiohttp.ClientError, aiohttp.WSMessageTypeError, OSError, TimeoutError, EOFError, orjson.JSONDecodeError)


@dataclass(slots=True)
class Seen:
    """What one client was shown of one answer.

    events: (number, type, data) as they came. ended: it saw the end. left_at: when an OpenAI client went, or was cut
    off (`time.monotonic()`). resumes: seconds from asking again to the first event. silence: the longest
    time without an event. wrong: what no client may see.
    """

    tag: str
    kind: str
    run_id: str = ""
    events: list[tuple[int, str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    ended: bool = False
    refused: str = ""
    left_at: float = 0.0
    stopped: bool = False
    resumes: list[float] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    silence: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self.events[-1][0] if self.events else 0

    def add(self, envelope: dict[str, Any]) -> None:
        """One event. What is out of order is kept as it came: the audit looks at it."""
        now = time.monotonic()
        self.silence, self.heard_at = max(self.silence, now - self.heard_at), now
        self.run_id = self.run_id or envelope["run_id"]
        self.events.append((envelope["seq"], envelope["type"], envelope["data"]))
        self.ended = self.ended or envelope["type"] in TERMINAL


@dataclass(slots=True)
class Habits:
    """How clients behave. leave: chance, per event, to go and come back. stop: chance to press stop in an answer."""

    agents: Sequence[str]
    leave: float = 0.004
    stop: float = 0.05
    pause: float = 0.05
    kinds: Sequence[str] = KINDS


class Refused(Exception):
    """The platform said no, in order."""


class Client:
    """One client. Its choices follow from `seed` and `name`; when they come depends on the machine."""

    def __init__(self, name: str, seed: int, ports: Sequence[int], host: str, key: str, habits: Habits) -> None:
        self.seen: list[Seen] = []
        self.statuses: Counter[str] = Counter()
        self._name, self._ports, self._habits = name, ports, habits
        self._random = random.Random(f"{seed}-{name}")
        self._headers = {"Host": host, "Authorization": f"Bearer {key}"}
        self._http = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=QUIET_SECONDS),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    async def run(self, over: Callable[[], bool]) -> None:
        """Ask again and again until it is over; the last answer is read to its end."""
        number = 0
        while not over():
            number += 1
            await self.ask(f"{self._name}x{number}", self._random.choice(self._habits.kinds))
            await asyncio.sleep(self._random.uniform(0, 2 * self._habits.pause))

    async def ask(self, tag: str, kind: str) -> Seen:
        """One answer, by whatever road, to its end; or as far as a client of this kind can get."""
        seen = Seen(tag, kind)
        self.seen.append(seen)
        agent = self._random.choice(list(self._habits.agents))
        try:
            await (self._openai if kind == "openai" else self._native)(seen, agent)
        except Refused as refusal:
            seen.refused = str(refusal)
            self.statuses[seen.refused] += 1
        return seen

    # --- who can come back ----------------------------------------------------------------------

    async def _native(self, seen: Seen, agent: str) -> None:
        read = self._sse if seen.kind == "sse" else self._socket
        deadline = 0.0
        while not seen.ended and not seen.wrong:
            before = len(seen.events)
            try:
                await read(seen, agent)
            except BROKEN:
                self.statuses["cut"] += 1
            if not seen.run_id:
                seen.refused = seen.refused or "cut before it began"
                return
            now = time.monotonic()
            deadline = now + COME_BACK_SECONDS if not deadline or len(seen.events) > before else deadline
            if now > deadline and not seen.ended:
                seen.wrong.append(f"no end within {COME_BACK_SECONDS:.0f} s")
            if not seen.ended:
                await asyncio.sleep(self._random.uniform(0.01, 0.3))

    def _leaves(self) -> bool:
        return self._random.random() < self._habits.leave

    async def _took(self, seen: Seen, envelope: dict[str, Any], asked_at: float) -> bool:
        """Note an event; False when the client goes now."""
        if asked_at:
            seen.resumes.append(time.monotonic() - asked_at)
        seen.add(envelope)
        if not seen.stopped and envelope["type"] == "text.delta":
            chance = self._habits.stop / 40
            if self._random.random() < chance:
                seen.stopped = True
                await self._stop(seen.run_id)
        return not self._leaves() or seen.ended

    async def _stop(self, run_id: str) -> None:
        try:
            async with self._http.post(f"{self._url()}/api/v1/runs/{run_id}/cancel") as answer:
                self.statuses[f"stop {answer.status}"] += 1
        except BROKEN:
            self.statuses["cut"] += 1

    async def _sse(self, seen: Seen, agent: str) -> None:
        asked_at = 0.0
        if seen.run_id:
            asked_at = time.monotonic()
            headers = {"Last-Event-ID": str(seen.last)}
            answer = await self._http.get(f"{self._url()}/api/v1/runs/{seen.run_id}/events", headers=headers)
        else:
            body = {"agent": agent, "message": seen.tag}
            answer = await self._http.post(
                f"{self._url()}/api/v1/runs", json=body, headers={"Accept": "text/event-stream"}
            )
        async with answer:
            await self._check(answer, seen)
            async for data in events_of(answer):
                if not await self._took(seen, orjson.loads(data), asked_at):
                    return
                asked_at = 0.0

    async def _socket(self, seen: Seen, agent: str) -> None:
        asked_at = time.monotonic() if seen.run_id else 0.0
        async with self._http.ws_connect(f"{self._url()}/ws/chat/", max_msg_size=0) as socket:
            if seen.run_id:
                frame = {"type": "run.follow", "run_id": seen.run_id, "after_seq": seen.last}
            else:
                frame = {"type": "turn.start", "ref": seen.tag, "agent": agent, "message": seen.tag}
            await socket.send_bytes(orjson.dumps(frame))
            while not seen.ended:
                found = await socket.receive_json(timeout=QUIET_SECONDS, loads=orjson.loads)
                if found["type"] == "turn.accepted":
                    seen.run_id = found["run_id"]
                elif found["type"] == "error":
                    self._error(found["code"], seen)
                elif "seq" in found:
                    if not await self._took(seen, found, asked_at):
                        return
                    asked_at = 0.0

    # --- who cannot -----------------------------------------------------------------------------

    async def _openai(self, seen: Seen, agent: str) -> None:
        body = {"model": agent, "messages": [{"role": "user", "content": seen.tag}], "stream": True}
        try:
            async with self._http.post(f"{self._url()}/v1/chat/completions", json=body) as answer:
                await self._check(answer, seen)
                async for data in events_of(answer):
                    if data == b"[DONE]":
                        seen.ended = True
                        break
                    chunk = orjson.loads(data)
                    if "error" in chunk:
                        seen.ended = True
                        self._error(chunk["error"]["code"], seen)
                    seen.run_id = str(uuid.UUID(chunk["id"].removeprefix("chatcmpl-")))
                    seen.text += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
                    if self._leaves():
                        break
        except BROKEN:
            self.statuses["cut"] += 1
        if not seen.ended:
            seen.left_at = time.monotonic()

    # --- what was said ---------------------------------------------------------------------------

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._random.choice(list(self._ports))}"

    async def _check(self, answer: aiohttp.ClientResponse, seen: Seen) -> None:
        self.statuses[str(answer.status)] += 1
        if answer.status == 200:
            return
        body = await answer.read()
        try:
            code = str(orjson.loads(body)["error"]["code"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            code = f"status {answer.status} without a code"
        if answer.status == 503 and "Retry-After" not in answer.headers:
            seen.wrong.append("503 without Retry-After")
        self._error(code, seen)

    def _error(self, code: str, seen: Seen) -> None:
        """What an error means: it is to be tried again, it is the answer, or it should not be."""
        if code in ("internal_error", "stream_gone", "not_found") or code.startswith("status "):
            seen.wrong.append(f"{code} after event {seen.last}")
            raise Refused(code)
        if not seen.run_id or seen.kind == "openai":
            raise Refused(code)
        raise OSError(code)  # it has a run, so it comes back


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The `data:` of each server-sent event."""
    async for line in answer.content:
        if line.startswith(b"data:"):
            yield line[5:].strip()
