"""A real worker, killed with SIGKILL in the middle of calls that a person has approved (P48). The long form, with fifty
kills at all moments, is `python -m bench.chaos --target P48`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.chaos.deciding import TOOL, Canary, verdict
from chat import approvals, lost_calls, recovery
from chat import host as hosts
from chat.approvals import Verdict
from chat.host import Host
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import read, start
from tests.chat.test_crash import EXPIRE, ROOT
from tests.knowledge.conftest import bound

pytestmark = pytest.mark.fault


@pytest.fixture
def begin_worker() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`begin_worker(EGRESS_ALLOW=...)`: a worker, as the supervisor starts it."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(**environment: str) -> subprocess.Popen[bytes]:
        shared = os.environ | {"DATABASE_LOGIN": "owner"} | environment
        command = [sys.executable, "manage.py", "work"]
        quiet = subprocess.DEVNULL
        begun.append(subprocess.Popen(command, cwd=ROOT, env=shared, stdout=quiet, stderr=quiet))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.wait(10)


@pytest.mark.exhaustive
async def test_no_call_is_made_twice_and_the_run_says_what_is_not_known(
    host: Host, actor: Any, agent: Callable[..., str], ledger: Ledger, begin_worker: Any
) -> None:
    member = actor("member")
    async with Canary() as canary:
        canary.held.add("held")
        fields = canary.tool

        def set_up() -> Any:
            from agents.models import Tool

            return Tool.objects.create(**fields)

        row = bound(member, set_up)
        slug = agent(f"tools-{TOOL}", tools=[{"name": TOOL, "settings": {"approval": "always"}}])
        runs = {}
        for tag in ("held", "whole"):
            runs[tag] = (await start(member, json.dumps({"tag": tag}), agent=slug)).run_id
        await eventually(lambda: {ledger.run(one)["status"] for one in runs.values()} == {"waiting"}, 60)
        await eventually(lambda: not hosts.current().runs, 60)
        worker = begin_worker(EGRESS_ALLOW=f"127.0.0.1:{canary.port}")
        for one in ledger.rows("SELECT id, arguments_hash FROM chat_approval WHERE status = 'pending'"):
            await approvals.decide(member, Verdict(one["id"], "approve", one["arguments_hash"]))
        await eventually(lambda: canary.calls["held"] and ledger.run(runs["whole"])["status"] == "completed", 60)
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
        ledger.rows(EXPIRE)
        assert await recovery.sweep(host) == 1
        assert canary.calls == {"held": 1, "whole": 1}
        errors = {}
        for tag, run_id in runs.items():
            told = await read(member.tenant, run_id)
            (errors[tag],) = (data["error"] for _, (kind, data) in told.events if kind == "tool.finished")
        assert errors == {"held": lost_calls.UNKNOWN, "whole": None}
        assert not ledger.left_behind()
        bound(member, row.delete)


def test_what_is_wrong_is_found() -> None:
    """The audit of the long form can fail."""
    for status, step, calls, words in (
        ("failed", {"ok": False, "output": lost_calls.UNKNOWN}, 2, "called 2 times"),
        ("completed", {"ok": True}, 0, "lost"),
        ("failed", {"ok": False, "output": lost_calls.NOT_MADE}, 1, "was not made that was"),
        ("failed", {"ok": False, "output": "?"}, 1, "does not say"),
        ("failed", {}, 0, "does not say"),
    ):
        assert words in verdict(status, step, calls)
    for status, step, calls in (
        ("failed", {"ok": False, "output": lost_calls.UNKNOWN}, 1),
        ("failed", {"ok": False, "output": lost_calls.NOT_MADE}, 0),
        ("failed", {"ok": True, "output": "sent"}, 1),
        ("completed", {"ok": True}, 1),
    ):
        assert verdict(status, step, calls) == ""
