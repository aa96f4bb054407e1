"""A `make cluster` of its own: two web processes, two workers, Caddy, PostgreSQL, Redis and the stand-in vendor."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from bench.processes import Process, answers, command_line, environment
from launch.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0  # s; a limit for what must happen, on a machine that is busy with other things too
KEY, MEMBER = "ak_cluster_own_value_for_loopback", "ak_cluster_small_value_for_loopback"
TENANTS = """
tenants:
- slug: acme
  name: Acme
  plan: enterprise
  members: [{email: owner@acme.test, role: owner, password: "cluster loopback only"}]
  providers: [{name: vendor, kind: openai_compatible, base_url: "http://127.0.0.1:%d/v1", api_key: none}]
  agents:
  - {slug: quick, provider: vendor, model: bench-0-0-20, instructions: "", parameters: {max_tokens: 25}}
  - {slug: slow, provider: vendor, model: bench-100-200-60, instructions: ""}
  - {slug: endless, provider: vendor, model: bench-0-500-1000, instructions: "", parameters: {max_tokens: 2000}}
  api_keys:
  - {name: all, scopes: ["*"], token: %s}
  - {name: small, scopes: ["chat:read", "chat:write", "agents:execute"], token: %s, tokens_per_month: 400}
"""
Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str, seconds: float = PATIENCE) -> Value:
    """Poll until the condition is true and return its value; fail with `what` when it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def neighbouring_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on right now."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            continue
        return first


class Installation:
    """The whole of it; `port` is the proxy's."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder, self.var, self.port = folder, folder / "var", free_port()
        vendor = free_port()
        self.vendor = Process(
            [sys.executable, "-m", "bench.vendor", "--port", str(vendor)], environment(), folder / "vendor.log"
        )
        self.environment = environment(
            PORT=str(self.port),
            VAR_DIR=str(self.var),
            DEMO="0",
            LOCAL_MODEL_URL=f"http://127.0.0.1:{vendor}/v1",
            EGRESS_ALLOW=f"127.0.0.1:{vendor}",
            RATE_LIMITS="turn=100000, stream=100000, read=100000, write=100000, anonymous=100000",
            REQUEST_PATIENCE_MS="60000",
            **more,
        )
        self.supervisor = Process([sys.executable, "-m", "launch", "cluster"], self.environment, folder / "cluster.log")
        self.vendor_port = vendor

    def ready(self) -> Installation:
        """Wait until everything stands, and make the tenant."""
        self.supervisor.wait_ready(lambda: "Stop: Ctrl-C" in self.output, PATIENCE)
        (self.folder / "tenants.yaml").write_text(TENANTS % (self.vendor_port, KEY, MEMBER))
        self.manage("apply", "-f", str(self.folder / "tenants.yaml"))
        until(lambda: answers(f"http://127.0.0.1:{self.vendor_port}/v1/models"), "the vendor")
        return self

    @property
    def output(self) -> str:
        """Everything that the supervisor has printed."""
        return self.supervisor.log.read_text(errors="replace")

    def manage(self, *arguments: str, **more: str) -> str:
        """What a `manage.py` in another shell prints."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replace(self) -> int:
        """`make replace`: its exit status. It does not wait for the end."""
        command = [sys.executable, "-m", "launch", "replace"]
        return subprocess.run(command, cwd=ROOT, env=self.environment, check=False).returncode

    def processes(self) -> dict[str, int]:
        """Name -> process id, at the moment."""
        entries = json.loads((self.var / "run" / "processes.json").read_text())
        return {name: int(entry["pid"]) for name, entry in entries.items()}

    def web_ports(self) -> list[int]:
        """Where the web processes listen themselves, behind the proxy."""
        found = []
        for name, pid in sorted(self.processes().items()):
            if name.startswith("web"):
                port = re.search(r"--port (\d+)", command_line(pid))
                assert port, command_line(pid)
                found.append(int(port[1]))
        return found

    def settled(self) -> None:
        """Wait until every web process serves, whatever the test before has stopped."""

        def serving() -> bool:
            try:
                return all(answers(f"http://127.0.0.1:{port}/readyz/process") for port in self.web_ports())
            except (OSError, AssertionError):
                return False  # one has just gone

        until(serving, "all web processes")

    def client(self, port: int = 0, key: str = KEY) -> aiohttp.ClientSession:
        """A client of acme, by way of the proxy, or at a web process's own port. One connection a request."""
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{port or self.port}",
            headers={"Host": f"acme.localhost:{self.port}", "Authorization": f"Bearer {key}"},
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(PATIENCE),
        )

    def stop(self) -> None:
        """In order."""
        self.supervisor.signal(signal.SIGINT)
        self.supervisor.stop(PATIENCE)
        self.vendor.stop()


async def events(answer: aiohttp.ClientResponse, most: int = 1_000_000) -> list[dict[str, Any]]:
    """The events of a stream of `POST /api/v1/runs` or `GET .../events`, at most so many, with their `seq`."""
    found: list[dict[str, Any]] = []
    async for line in answer.content:
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
            if len(found) >= most:
                break
    return found


def text_of(found: list[dict[str, Any]]) -> str:
    """What the model said in these events."""
    return "".join(one["data"]["text"] for one in found if one["type"] == "text.delta")


def terminate(pid: int) -> None:
    """What an orchestrator sends first."""
    os.kill(pid, signal.SIGTERM)
