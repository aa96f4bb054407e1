"""The chat page in a browser: how soon it shows, how large it is, how a long conversation scrolls, what a stream costs.

    python -m bench.chat_page [--url http://acme.localhost:8000] [--email ...] [--password ...]

against a running platform (`make run`; the demo's owner unless said otherwise). The page is the platform's; the long
conversation and the stream are made here and put in the way of its requests, so that nothing is stored and every run
shows the same. What the main thread does is Chromium's own trace, in processor time, which other programs on the
machine do not change. Prints Markdown; the exit status is 1 when a target was missed. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Page, Route, WebSocketRoute, async_playwright

from launch.check_bundle import BUNDLE_KB, bundle_kb

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FIRST_PAINT_S = 1.0
LONGEST_TASK_MS = 50.0
BUSY_PERCENT = 30.0
MESSAGES = 5000
TOKENS_PER_S = 100
STREAM_S = 8
CONVERSATION = "0197f3a2-0000-7000-8000-000000000001"
RUN = "0197f3a2-0000-7000-8000-000000000002"
NOW = "2026-01-01T00:00:00+00:00"
VIEW = {
    "id": CONVERSATION, "title": "A long conversation", "agent": None, "created_at": NOW, "updated_at": NOW,
    "pinned_at": None, "active_run_id": None, "waiting": False,
}  # fmt: skip
# Answers of the kinds that people get.
KINDS = (
    "Answer **{n}** in a sentence or two, which is what most of them are.",
    "Answer {n}:\n\n- one\n- two with `code`\n- three\n\n> and a quotation",
    "Answer {n}:\n\n```python\ndef f(x):\n    return x * {n}  # doubled\n```\n\nand what it does.",
    "Answer {n}\n\n| a | b |\n|---|---|\n| 1 | {n} |\n| 2 | 3 |",
    "Answer {n}. " + "A paragraph that goes on for some lines, as people like them. " * 8,
)
STREAM = (
    "A paragraph with **bold** words, `code` and a [link](https://example.com/), which goes on as answers do. "
    "Then comes a list:\n\n- its first point\n- its second point, which is longer than the first one\n\n"
    "```python\nfor number in range(10):\n    print(number)  # one a line\n```\n\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report. target None: only told."""

    what: str
    measured: float
    unit: str
    target: float | None = None

    @property
    def missed(self) -> bool:
        return self.target is not None and self.measured > self.target

    def line(self) -> str:
        target = "" if self.target is None else f"<= {self.target:g} {self.unit}"
        verdict = "" if self.target is None else "FAIL" if self.missed else "PASS"
        return f"| {self.what} | {self.measured:,.2f} {self.unit} | {target} | {verdict} |"


def stored(count: int) -> dict[str, Any]:
    """The messages of a conversation as the API gives them."""
    messages: list[dict[str, Any]] = []
    for n in range(count):
        answer = n % 2 == 1
        id_ = f"0197f3a2-0000-7000-8000-{n + 16:012x}"
        messages.append({
            "id": id_, "parent_id": messages[-1]["id"] if messages else None, "siblings": [id_],
            "role": "assistant" if answer else "user", "reasoning": "", "status": "complete", "error": None,
            "content": KINDS[n // 2 % len(KINDS)].format(n=n) if answer else f"Question number {n}?", "files": [],
            "run_id": RUN, "finish_reason": "stop", "created_at": NOW, "usage": None, "feedback": None, "traces": [],
        })  # fmt: skip
    # Each answer is a run's of its own.
    for message in messages:
        message["run_id"] = message["id"]
    return {"conversation": VIEW, "path": [], "messages": messages, "active_run": None}


async def signed_in(browser: Browser, asked: argparse.Namespace) -> Page:
    """A window of its own, signed in through the login page."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(f"{asked.url}/login/?next=/chat/")
    await page.fill("input[name=email]", asked.email)
    await page.fill("input[name=password]", asked.password)
    await page.get_by_test_id("sign-in").click()
    await page.get_by_test_id("composer").wait_for()
    return page


async def first_paint_s(browser: Browser, asked: argparse.Namespace) -> float:
    """The median first contentful paint of five loads, none of which has anything in its cache."""
    page = await signed_in(browser, asked)
    session = await page.context.new_cdp_session(page)
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    seen = []
    for _ in range(5):
        await page.goto(f"{asked.url}/chat/")
        await page.get_by_test_id("composer").wait_for()
        script = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
        await page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        seen.append(float(await page.evaluate(script)))
    await page.context.close()
    return statistics.median(seen)


class Trace:
    """What the page's main thread did between `begin` and `end`, by Chromium's trace."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self._browser, self._page = browser, page

    async def begin(self) -> None:
        await self._browser.start_tracing(
            page=self._page, categories=["toplevel", "disabled-by-default-devtools.timeline"]
        )
        self._begun = time.perf_counter()

    async def end(self) -> tuple[float, float]:
        """(the longest task in ms, the share of time that it was busy in percent), of processor time."""
        wall_ms = (time.perf_counter() - self._begun) * 1000
        events = json.loads(await self._browser.stop_tracing())["traceEvents"]
        main = {
            (one["pid"], one["tid"])
            for one in events
            if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
        }
        spent: dict[tuple[int, int], list[float]] = {}
        for one in events:
            where = (one["pid"], one["tid"])
            if one["name"] == "ThreadControllerImpl::RunTask" and where in main:
                spent.setdefault(where, []).append(one.get("tdur", one.get("dur", 0)) / 1000)
        busiest = max(spent.values(), key=sum)
        return max(busiest), sum(busiest) / wall_ms * 100


async def scrolling(browser: Browser, asked: argparse.Namespace) -> list[Row]:
    """5,000 messages: opened, scrolled by the wheel, jumped through."""
    page = await signed_in(browser, asked)
    body = json.dumps(stored(MESSAGES))

    async def answer(route: Route) -> None:
        await route.fulfill(body=body, content_type="application/json")

    await page.route(re.compile(rf"/api/v1/conversations/{CONVERSATION}/messages"), answer)
    await page.goto(f"{asked.url}/chat/{CONVERSATION}/")
    await page.get_by_text(f"Answer {MESSAGES - 1}").first.wait_for()
    await asyncio.sleep(1)
    trace = Trace(browser, page)
    await trace.begin()
    await page.get_by_test_id("messages").hover()
    for _ in range(120):
        await page.mouse.wheel(0, -400)
        await asyncio.sleep(0.016)
    box = page.get_by_test_id("messages")
    for part in (0.0, 0.5, 0.25, 0.9):
        await box.evaluate("(box, part) => { box.scrollTop = part * (box.scrollHeight - box.clientHeight) }", part)
        await asyncio.sleep(0.4)
    longest, busy = await trace.end()
    drawn = await page.locator("[data-row]").count()
    await page.context.close()
    return [
        Row(f"longest task while scrolling {MESSAGES:,} messages", longest, "ms", LONGEST_TASK_MS),
        Row("main thread busy while scrolling", busy, "%"),
        Row("messages drawn of them", drawn, ""),
    ]


async def streaming(browser: Browser, asked: argparse.Namespace) -> list[Row]:
    """An answer of 100 tokens a second over the page's websocket."""
    page = await signed_in(browser, asked)
    tokens = re.findall(r"\s*\S{1,6}|\s+", STREAM * 60)[: TOKENS_PER_S * STREAM_S]
    done = asyncio.Event()

    def speak(socket: WebSocketRoute) -> None:
        def event(seq: int, kind: str, data: dict[str, Any]) -> None:
            socket.send(json.dumps({"v": 1, "run_id": RUN, "seq": seq, "type": kind, "data": data}))

        async def say() -> None:
            begun = time.perf_counter()
            for number, token in enumerate(tokens):
                event(number + 2, "text.delta", {"text": token})
                await asyncio.sleep(max(0.0, begun + (number + 1) / TOKENS_PER_S - time.perf_counter()))
            done.set()

        def heard(message: str | bytes) -> None:
            frame = json.loads(message)
            if frame["type"] != "turn.start":
                return
            accepted = {"ref": frame["ref"], "run_id": RUN, "conversation": VIEW, "message_id": CONVERSATION}
            socket.send(json.dumps({"type": "turn.accepted"} | accepted))
            named = {"slug": "a", "name": "A"}
            event(1, "run.started", {"agent": named, "model": "m", "conversation_id": CONVERSATION})
            tasks.append(asyncio.create_task(say()))

        socket.on_message(heard)
        socket.send(json.dumps({"type": "ready", "heartbeat_seconds": 15}))

    tasks: list[asyncio.Task[None]] = []
    await page.route_web_socket(re.compile(r"/ws/chat/"), speak)
    await page.goto(f"{asked.url}/chat/")
    await page.locator("[data-testid=connection-state][data-state=online]").wait_for()
    await page.get_by_test_id("composer").fill("Go on")
    await page.keyboard.press("Enter")
    await page.locator(".prose-live").wait_for()
    trace = Trace(browser, page)
    await trace.begin()
    async with asyncio.timeout(STREAM_S * 10):
        await done.wait()
    longest, busy = await trace.end()
    await page.context.close()
    return [
        Row(f"main thread busy at {TOKENS_PER_S} tokens/s", busy, "%", BUSY_PERCENT),
        Row("longest task while streaming", longest, "ms"),
    ]


async def measure(asked: argparse.Namespace) -> list[Row]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        first = await first_paint_s(browser, asked)
        rows = [
            Row("first contentful paint, cache empty", first, "s", FIRST_PAINT_S),
            Row("page's script and styles, gzipped, without formulas", bundle_kb(), "kB", BUNDLE_KB),
        ]
        parts: tuple[Callable[..., Any], ...] = (scrolling, streaming)
        for part in parts:
            rows += await part(browser, asked)
        await browser.close()
    return rows


def main() -> int:
    """Print the report; 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://acme.localhost:8000", help="of a tenant")
    parser.add_argument("--email", default="owner@acme.test")
    parser.add_argument("--password", default="acme-lighthouse-owner")
    rows = asyncio.run(measure(parser.parse_args()))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"# The chat page\n\n{len(os.sched_getaffinity(0))} cores, load {load}.\n")
    print("| | measured | target | |\n|---|--:|--:|---|")
    print("\n".join(row.line() for row in rows))
    return 1 if any(row.missed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
