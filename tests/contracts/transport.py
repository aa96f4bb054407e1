"""What every door must do, whatever it speaks: websocket, SSE and OpenAI each pass all of it over real sockets.

A door's test module inherits `TransportContract` and gives a fixture `door`: a `Door` that is signed in at acme.
The behaviours are the names of the stand-in vendor's models (bench/answers.py). Golden files pin the bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench.answers import token_text
from llm.deltas import Finish, ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger, eventually

GOLDEN = Path(__file__).parent.parent / "chat" / "golden"
SECONDS = 20


@dataclass
class Answer:
    """A whole answer. end: "completed", "failed" or "cancelled"; ends: how many terminal marks came."""

    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    end: str = ""
    ends: int = 0
    finish_reason: str | None = None
    code: str | None = None
    message: str | None = None
    usage: dict[str, int] | None = None
    raw: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        return "".join(self.thoughts)


class Refusal(Exception):
    """The door said no, in its protocol's own way. status None: a frame on an open socket."""

    def __init__(self, status: int | None, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


class Stream(ABC):
    """An answer that is being read. `raw` in its answer holds what came, cut as the protocol cuts it."""

    run_id: uuid.UUID

    def __init__(self) -> None:
        self.answer = Answer()

    @abstractmethod
    async def step(self) -> bool:
        """Read one more thing into `answer`; False when there is no more."""

    @abstractmethod
    async def leave(self) -> None:
        """Go away without a word."""

    async def until(self, condition: Callable[[Answer], Any]) -> Answer:
        """Read until the condition holds (or to the end)."""
        async with asyncio.timeout(SECONDS):
            while not condition(self.answer) and await self.step():
                continue
        return self.answer

    async def rest(self) -> Answer:
        """Read to the end."""
        return await self.until(lambda _: False)


class Door(ABC):
    """One protocol's client."""

    name: ClassVar[str]
    can_resume: ClassVar[bool] = True
    can_stop: ClassVar[bool] = True
    # A vendor's refusal before the first token: an HTTP error (False: a failed run in the stream).
    refuses_early: ClassVar[bool] = False

    @abstractmethod
    async def ask(self, agent: str, text: str = "hello", **more: Any) -> Stream:
        """Start an answer. Raises Refusal."""

    async def whole(self, agent: str, text: str = "hello", **more: Any) -> Answer:
        """The whole answer. Raises Refusal."""
        return await (await self.ask(agent, text, **more)).rest()

    async def resume(self, run_id: uuid.UUID, after: int) -> Stream:
        """Follow a run from behind event `after`. Raises Refusal."""
        raise NotImplementedError

    async def stop(self, run_id: uuid.UUID) -> None:
        """Ask the platform to stop a run. Raises Refusal."""
        raise NotImplementedError

    async def send_raw(self, data: bytes) -> Refusal | None:
        """Send something that is no request; the refusal."""
        raise NotImplementedError


VOLATILE = (
    (re.compile(rb"chatcmpl-[0-9a-f]{32}"), b"chatcmpl-<run>"),
    (re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), b"<id>"),
    (re.compile(rb"(resp|msg|rs|fc)_[0-9a-f]{32}"), rb"\1_<run>"),
    (re.compile(rb'"(created|created_at)":\d+'), rb'"\1":<time>'),
    (re.compile(rb'"request_id":"[0-9a-f]{32}"'), b'"request_id":"<id>"'),
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"), b"<moment>"),
)


def golden(name: str, data: bytes) -> None:
    """Compare with the golden file; GOLDEN=write makes it anew, for a change that is meant."""
    for pattern, mark in VOLATILE:
        data = pattern.sub(mark, data)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    assert data.decode() == path.read_bytes().decode(), f"The bytes of {name} changed; is it meant?"


class TransportContract:
    """For every door."""

    async def test_text_comes_whole_in_order_and_ends_once(self, door: Door, agent: Any) -> None:
        """One piece a token."""
        answer = await door.whole(agent("bench-0-0-200"))
        assert answer.pieces == list(token_text(200))
        assert (answer.end, answer.ends, answer.finish_reason) == ("completed", 1, "stop")
        answer = await door.whole(agent("length-5"))
        assert (answer.end, answer.ends, answer.finish_reason) == ("completed", 1, "length")

    async def test_tokens_come_while_the_model_still_thinks(self, door: Door) -> None:
        gate = asyncio.Event()
        ScriptedModel.enqueue(["first", gate, " last"])
        stream = await door.ask("assistant")
        answer = await stream.until(lambda answer: answer.pieces)
        assert answer.text == "first"
        gate.set()
        assert (await stream.rest()).text == "first last"

    async def test_reasoning_is_kept_apart_and_usage_is_told(self, door: Door, agent: Any) -> None:
        answer = await door.whole(agent("reasoning-10"))
        assert answer.reasoning == "".join(f"r{number} " for number in range(10))
        assert answer.text == "".join(token_text(10))
        assert answer.usage == {"input": 10, "output": 20, "reasoning": 10, "cached": 0}

    async def test_other_alphabets_and_wire_lookalikes(self, door: Door, agent: Any) -> None:
        slug = agent("echo")
        for text in (
            "你好,世界! 🦊 naïve",
            "مرحبا \u202e بالعالم",
            'line\nbreak\r\n\u2028 "q" \\ </script>',
            "data: x\n\nid: 9\n\n",
            "\\u0000 is how JSON writes NUL",
        ):
            assert (await door.whole(slug, text)).text == text

    async def test_a_refusal_of_ours_is_the_protocols_own(self, door: Door, ledger: Ledger) -> None:
        with pytest.raises(Refusal) as refusal:
            await door.ask("nobody")
        assert refusal.value.code == "agent_not_found"
        assert refusal.value.status in (None, 404)
        assert refusal.value.message
        assert not ledger.left_behind()

    async def test_an_error_before_the_first_token(self, door: Door, agent: Any, ledger: Ledger) -> None:
        slug = agent("fault-401")
        if door.refuses_early:
            with pytest.raises(Refusal) as refusal:
                await door.ask(slug)
            assert (refusal.value.status, refusal.value.code) == (502, "provider_auth_failed")
        else:
            answer = await door.whole(slug)
            assert (answer.end, answer.ends, answer.code) == ("failed", 1, "provider_auth_failed")
            assert (answer.text, bool(answer.message)) == ("", True)
        assert not ledger.left_behind()

    async def test_an_error_in_the_middle(self, door: Door, agent: Any, ledger: Ledger) -> None:
        answer = await door.whole(agent("fault-cut-4"))
        assert answer.text == "".join(token_text(4))
        assert (answer.end, answer.ends, answer.code) == ("failed", 1, "provider_stream_cut")
        assert not ledger.left_behind()

    async def test_stop(self, door: Door, agent: Any, ledger: Ledger, vendor: Any) -> None:
        """A34: what was said stays, the vendor is stopped, nothing stays held."""
        stream = await door.ask(agent("fault-stall-5"))
        await stream.until(lambda answer: len(answer.pieces) == 5)
        if door.can_stop:
            await door.stop(stream.run_id)
            answer = await stream.rest()
            assert (answer.end, answer.ends, answer.text) == ("cancelled", 1, "".join(token_text(5)))
        else:
            await stream.leave()
        await eventually(lambda: not ledger.left_behind())
        await eventually(lambda: vendor.stats.document()["open_streams"] == 0)
        assert vendor.stats.document()["cancelled"] == 1
        assert ledger.value("SELECT output_tokens FROM usage_usagerecord") == 5

    async def test_leaving(self, door: Door, agent: Any, ledger: Ledger, vendor: Any) -> None:
        """P29: a run of a conversation goes on; a stateless call that nobody can come back to is stopped."""
        slug = agent("bench-0-20-20" if door.can_resume else "fault-stall-5")
        stream = await door.ask(slug)
        await stream.until(lambda answer: len(answer.pieces) >= 2)
        await stream.leave()
        await eventually(lambda: not ledger.left_behind())
        run = ledger.one("SELECT * FROM chat_run")
        if door.can_resume:
            assert (run["status"], vendor.stats.document()["states"]) == ("completed", {"done": 1})
            assert ledger.value("SELECT output_tokens FROM usage_usagerecord") == 20
        else:
            assert run["status"] == "cancelled"
            assert vendor.stats.document()["states"] == {"cancelled": 1}
            assert ledger.value("SELECT output_tokens FROM usage_usagerecord") == 5

    async def test_many_at_once_do_not_mix(self, door: Door, agent: Any, ledger: Ledger) -> None:
        slug = agent("echo")
        texts = [f"{number} " * (number + 1) for number in range(20)]
        answers = await asyncio.gather(*(door.whole(slug, text) for text in texts))
        assert [answer.text for answer in answers] == texts
        assert not ledger.left_behind()

    async def test_golden_bytes(self, door: Door) -> None:
        usage = UsageReport(11, 7, 3, 2)
        ScriptedModel.enqueue([ReasoningDelta("Hm.\n"), "你", '好 "🦊"\n', "end", Finish("stop"), usage])
        golden(door.name, b"".join((await door.whole("assistant", "Say it.")).raw))

    async def test_golden_bytes_of_a_failure(self, door: Door, agent: Any) -> None:
        answer = await door.whole(agent("fault-cut-1", slug="golden", name="Golden"))
        golden(f"{door.name}-failure", b"".join(answer.raw))


class ResumableContract(TransportContract):
    """For doors whose protocol can come back to a run."""

    async def test_resume_from_every_position(self, door: Door, agent: Any) -> None:
        """A29, T9: byte for byte what was not seen yet."""
        stream = await door.ask(agent("bench-0-0-12"))
        whole = (await stream.rest()).raw
        for after in range(len(whole)):
            again = await (await door.resume(stream.run_id, after)).rest()
            assert b"".join(again.raw) == b"".join(whole[after:]), f"after {after}"

    async def test_resume_while_it_runs(self, door: Door) -> None:
        gate = asyncio.Event()
        ScriptedModel.enqueue(["a", "b", gate, "c"])
        stream = await door.ask("assistant")
        seen = await stream.until(lambda answer: len(answer.pieces) == 2)
        before = list(seen.raw)
        await stream.leave()
        second = await door.resume(stream.run_id, len(before))
        third = await door.resume(stream.run_id, 0)
        gate.set()
        rest, whole = await second.rest(), await third.rest()
        assert before + rest.raw == whole.raw
        assert (rest.text, whole.text, rest.ends, whole.ends) == ("c", "abc", 1, 1)

    async def test_resume_beyond_the_end(self, door: Door) -> None:
        stream = await door.ask("assistant")
        last = len((await stream.rest()).raw)
        for after in (last + 1, 10**6):
            with pytest.raises(Refusal) as refusal:
                await (await door.resume(stream.run_id, after)).rest()
            assert refusal.value.code == "stream_gone"
            assert refusal.value.status in (None, 410)

    async def test_runs_of_others_are_not_there(self, door: Door, actor: Any) -> None:
        """A28: neither to follow nor to stop, whether they exist or not."""
        from tests.chat.talk import ask

        of_owner = (await ask(actor("owner"))).run_id
        of_rival = (await ask(actor("rival"))).run_id
        for run_id in (of_owner, of_rival, uuid.uuid4()):
            with pytest.raises(Refusal) as refusal:
                await (await door.resume(run_id, 0)).rest()
            assert (refusal.value.code, refusal.value.status in (None, 404)) == ("not_found", True)
            with pytest.raises(Refusal) as refusal:
                await door.stop(run_id)
            assert (refusal.value.code, refusal.value.status in (None, 404)) == ("not_found", True)
