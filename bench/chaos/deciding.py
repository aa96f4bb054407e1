"""P48: workers are killed between a person's decision, the call that it lets through, and what is written of the call.

The service that is called is in this process and keeps its own book, which is compared with what each run says.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from bench.chaos.place import Place, Servers

if TYPE_CHECKING:
    from bench.chaos.targets import Measured

KILLS, EACH = 50, 3
TOOL = "send"
OWNER = {"email": "owner@chaos.test", "password": "chaos loopback only"}
SIGNED_IN_FOR = 20  # kills; an access token lasts for 15 minutes
MOMENTS = ("decided", "asked", "answered")
ENDED = ("completed", "failed", "cancelled")
UNKNOWN, NOT_MADE = "nobody knows", "before this call was made"  # chat/lost_calls.py


class Canary:
    """The service that the tool asks. It counts how often it was called with each `tag`.

    held: tags that get no answer. asked, answered: set when somebody has asked, or was answered. seconds: until an
    answer.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: Counter[str] = Counter()
        self.held: set[str] = set()
        self.asked, self.answered = asyncio.Event(), asyncio.Event()
        self._seconds = seconds
        app = web.Application()
        app.router.add_post("/send", self._send)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def tool(self) -> dict[str, Any]:
        """The tool that asks it, as a workspace builds one."""
        return {
            "name": TOOL,
            "description": "Sends.",
            "method": "POST",
            "url": f"http://127.0.0.1:{self.port}/send",
            "parameters": [{"name": "tag", "in": "body", "required": True}],
            "enabled": True,
        }

    async def _send(self, request: web.Request) -> web.Response:
        tag = (await request.json())["tag"]
        self.calls[tag] += 1
        self.asked.set()
        if tag in self.held:
            await asyncio.Event().wait()
        await asyncio.sleep(self._seconds)
        self.answered.set()
        return web.Response(text="sent")


def verdict(status: str, step: dict[str, Any], calls: int) -> str:
    """What is wrong with a run that has ended, of which the service knows `calls` calls; "" for nothing."""
    said = str(step.get("output"))
    if calls > 1:
        return f"called {calls} times"
    if status == "completed" or step.get("ok"):
        return "" if calls == 1 else "the call is lost, and the run says that it was made"
    if UNKNOWN in said:
        return ""
    if NOT_MADE in said:
        return "" if calls == 0 else "the run says that a call was not made that was"
    return f"the run does not say what came of the call: {said[:80]}"


class Deciding:
    """Somebody whose runs wait for a person, and who decides."""

    def __init__(self, place: Place, key: str, canary: Canary, dice: random.Random) -> None:
        self._place, self._canary, self._dice = place, canary, dice
        self._key = {"Authorization": f"Bearer {key}"}
        self._person: dict[str, str] = {}
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{place.webs[0].port}", headers={"Host": place.host})
        self.runs: dict[str, str] = {}  # tag -> run

    async def __aenter__(self) -> Self:
        await self._asked("POST", "/api/v1/tools", self._key, self._canary.tool)
        agent = {"slug": "deciding", "name": "Deciding", "provider": "vendor", "model": f"tools-{TOOL}"}
        tools = [{"name": TOOL, "settings": {"approval": "always"}}]
        await self._asked("POST", "/api/v1/agents", self._key, agent | {"tools": tools})
        await self._asked("POST", "/api/v1/agents/deciding/publish", self._key, {})
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.close()

    async def sign_in(self) -> None:
        """A program can make runs, and decides on none."""
        told = await self._asked("POST", "/api/auth/login", {}, OWNER)
        self._person = {"Authorization": f"Bearer {told['access_token']}"}

    async def kill(self, number: int) -> str:
        """Approve some calls and kill the worker a moment later; which moment."""
        moment = MOMENTS[number % len(MOMENTS)]
        waiting = [await self._waiting(f"{number}-{at}") for at in range(EACH)]
        self._canary.asked.clear()
        self._canary.answered.clear()
        for one in waiting:
            body = {"decision": "approve", "arguments_hash": one["arguments_hash"]}
            await self._asked("POST", f"/api/v1/approvals/{one['id']}", self._person, body)
        if moment != "decided":
            await asyncio.wait_for(getattr(self._canary, moment).wait(), 60)
        await asyncio.sleep(self._dice.uniform(0, 0.4 if moment == "decided" else 0.03))
        self._place.workers[0].kill()
        return moment

    async def ends(self, seconds: float) -> dict[str, tuple[str, dict[str, Any]]]:
        """How each run has ended, and its step of the tool; "" where it has not within `seconds`."""
        deadline, found = time.monotonic() + seconds, {}
        for tag, run in self.runs.items():
            while True:
                trace = await self._asked("GET", f"/api/v1/runs/{run}/trace", self._person)
                if trace["status"] in ENDED or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.5)
            step: dict[str, Any] = next((one for one in trace["steps"] if one["kind"] == "tool"), {})
            found[tag] = trace["status"] if trace["status"] in ENDED else "", step
        return found

    async def _waiting(self, tag: str) -> dict[str, Any]:
        turn = {"agent": "deciding", "message": json.dumps({"tag": tag})}
        run = (await self._asked("POST", "/api/v1/runs", self._person, turn))["run"]["id"]
        self.runs[tag] = run
        async with asyncio.timeout(60):
            while True:
                told = await self._asked("GET", f"/api/v1/approvals?run_id={run}", self._person)
                if told["approvals"]:
                    return dict(told["approvals"][0])
                stands = await self._asked("GET", f"/api/v1/runs/{run}", self._person)
                if stands["status"] in ENDED:
                    raise RuntimeError(f"A run has not waited: {stands}")
                await asyncio.sleep(0.05)

    async def _asked(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
        async with self._http.request(method, path, headers=headers, json=body) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            return await answer.json()


async def p48(servers: Servers, seed: int, kills: int = KILLS) -> Measured:
    """kill -9 of the worker around calls that a person has approved."""
    from bench.chaos.__main__ import KEY, loaded
    from bench.chaos.targets import Measured

    dice = random.Random(seed)
    async with Canary(0.05) as canary:
        environment = {"EGRESS_ALLOW": f"127.0.0.1:{canary.port}"}
        async with (
            loaded(servers, webs=1, workers=1, environment=environment) as place,
            Deciding(place, KEY, canary, dice) as deciding,
        ):
            moments: Counter[str] = Counter()
            for number in range(kills):
                if number % SIGNED_IN_FOR == 0:
                    await deciding.sign_in()
                moments[await deciding.kill(number)] += 1
            await deciding.sign_in()
            ends = await deciding.ends(90)
    said = {
        tag: verdict(status, step, canary.calls[tag]) or ("" if status else "no end")
        for tag, (status, step) in ends.items()
    }
    wrong = [f"{tag}: {why}" for tag, why in said.items() if why]
    unknown = [canary.calls[tag] for tag, (_, step) in ends.items() if UNKNOWN in str(step.get("output"))]
    figures = {
        "kill -9": dict(moments),
        "runs": len(ends),
        "how they ended": dict(Counter(status for status, _ in ends.values())),
        "said to be unknown": len(unknown),
        "of these made": sum(unknown),
        "twice, lost or wrongly told (violations)": len(wrong),
        "violations": wrong[:10],
    }
    return Measured("P48", "no call twice, none lost without a word", figures, not wrong)
