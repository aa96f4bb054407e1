"""A memory of look-ups: bounded in time and size, one look-up at a time."""

from __future__ import annotations

import asyncio

import pytest

from core import remembered
from core.remembered import Remembered


class Source:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def look_up(self, key: str, answer: str | None = "") -> object:
        async def ask() -> str | None:
            self.asked.append(key)
            await self.gate.wait()
            if answer == "boom":
                raise ValueError(key)
            return key if answer == "" else answer

        return ask


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr(remembered, "clock", lambda: moment[0])
    return moment


async def test_asked_once_in_its_time(now: list[float]) -> None:
    memory, source = Remembered[str, str | None](2.0), Source()
    for _ in range(3):
        assert await memory.get("a", source.look_up("a")) == "a"  # type: ignore[arg-type]
    now[0] += 1.99
    await memory.get("a", source.look_up("a"))  # type: ignore[arg-type]
    assert source.asked == ["a"]
    now[0] += 0.01
    await memory.get("a", source.look_up("a"))  # type: ignore[arg-type]
    assert source.asked == ["a", "a"]


async def test_nothing_is_an_answer_too(now: list[float]) -> None:
    memory, source = Remembered[str, str | None](2.0), Source()
    for _ in range(3):
        assert await memory.get("a", source.look_up("a", None)) is None  # type: ignore[arg-type]
    assert source.asked == ["a"]


async def test_a_failure_is_not_remembered(now: list[float]) -> None:
    memory, source = Remembered[str, str | None](2.0), Source()
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            await memory.get("a", source.look_up("a", "boom"))  # type: ignore[arg-type]
    assert await memory.get("a", source.look_up("a")) == "a"  # type: ignore[arg-type]
    assert source.asked == ["a"] * 3


async def test_many_at_once_wait_for_one(now: list[float]) -> None:
    memory, source = Remembered[str, str | None](2.0), Source()
    source.gate.clear()
    asking = [asyncio.create_task(memory.get("a", source.look_up("a"))) for _ in range(20)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    asking[0].cancel()  # one that goes away does not take the answer from the others
    await asyncio.sleep(0)
    source.gate.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == ["a"] * 19
    assert source.asked == ["a"]


async def test_it_is_bounded(now: list[float]) -> None:
    memory, source = Remembered[str, str | None](2.0, 3), Source()
    for key in "abcd":
        await memory.get(key, source.look_up(key))  # type: ignore[arg-type]
    assert len(memory) == 3
    await memory.get("d", source.look_up("d"))  # type: ignore[arg-type]
    await memory.get("a", source.look_up("a"))  # type: ignore[arg-type]
    assert source.asked == list("abcda")
    memory.clear()
    assert len(memory) == 0
