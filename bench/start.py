"""From a bare machine to a streamed answer: how long the first `make run` takes, a later one, the size.

    python -m bench.start [--working-tree] [--keep]

clones the repository into a fresh directory (or copies its files as they are now), with its own data and
port and with empty package caches, starts `make run`, signs in as the demo tenant's owner as a browser would,
asks, and stops the clock at the first token of the local model. Then it ends everything and does the same
once more. The exit status is 1 when a target was missed.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench import machine
from bench.processes import BENCH_DIR, ROOT, Process, ProcessFailed, answers, environment, free_port
from bench.targets import Verdict

FIRST_TOKEN_S = 45.0
LATER_START_S = 10.0
INSTALLED_MB = 600.0
READY_WITHIN_S = 600.0
ANSWER_WITHIN_S = 120.0
TENANT, EMAIL = "acme", "owner@acme.test"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the command to: ready with a login page, signed in, first token."""

    ready_s: float
    signed_in_s: float
    first_token_s: float


class Visitor:
    """A browser's share of HTTP: cookies, the CSRF token, the tenant's own host name."""

    def __init__(self, port: int) -> None:
        self._host = f"{TENANT}.localhost:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)
        self._cookies: dict[str, str] = {}

    def _ask(self, method: str, path: str, body: str, kind: str) -> http.client.HTTPResponse:
        headers = {"Host": self._host, "Origin": f"http://{self._host}", "Content-Type": kind}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers["X-CSRFToken"] = self._cookies.get("csrftoken", "")
        self._connection.request(method, path, body or None, headers)
        answer = self._connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value
        return answer

    def sign_in(self, password: str) -> None:
        """Through the login page. Raises ProcessFailed when it does not lead to a session."""
        self._ask("GET", "/login/", "", "text/html").read()
        fields = {"email": EMAIL, "password": password, "next": "/chat/"}
        fields["csrfmiddlewaretoken"] = self._cookies.get("csrftoken", "")
        answer = self._ask("POST", "/login/", urllib.parse.urlencode(fields), "application/x-www-form-urlencoded")
        answer.read()
        if answer.status not in (302, 303):
            raise ProcessFailed(f"Signing in as {EMAIL} gave status {answer.status}.")

    def page(self, path: str) -> str:
        """The page at `path`. Raises ProcessFailed for any other answer than 200."""
        answer = self._ask("GET", path, "", "text/html")
        content = answer.read().decode()
        if answer.status != 200:
            raise ProcessFailed(f"GET {path} gave {answer.status}.")
        return content

    def first_token(self) -> str:
        """Ask the demo's first agent and wait for the first text. Raises ProcessFailed."""
        body = orjson.dumps({"message": "Say hello."}).decode()
        answer = self._ask("POST", "/api/v1/runs", body, "application/json")
        content = answer.read()
        if answer.status != 202:
            raise ProcessFailed(f"POST /api/v1/runs gave {answer.status}: {content[:500]!r}")
        run = orjson.loads(content)["run"]["id"]
        events = self._ask("GET", f"/api/v1/runs/{run}/events", "", "text/plain")
        kind = ""
        while raw := events.readline():
            line = raw.decode().rstrip("\r\n")
            kind = line.removeprefix("event:").strip() if line.startswith("event:") else kind
            if line.startswith("data:") and kind == "text.delta":
                return str(orjson.loads(line[5:])["data"]["text"])
            if kind == "run.failed":
                break
        raise ProcessFailed(f"The run ended without a token; the last event was {kind!r}.")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def copy_repository(to: Path, working_tree: bool) -> None:
    """A clone of the last commit, or the files as they are (without what git ignores)."""
    if not working_tree:
        subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(to)], check=True)
        return
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        check=True, capture_output=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def start_once(clone: Path, place: Path, password: str) -> Start:
    """Run `make run` until its first token, then end it. Raises ProcessFailed."""
    port = free_port()
    indexes = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    caches = {name: str(place / "cache") for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR")}
    env = environment(**indexes | caches | {"VAR_DIR": str(place / "var"), "PORT": str(port)})
    log = BENCH_DIR / "log" / "start.log"
    began = time.monotonic()
    process = Process(["make", "run"], env, log, clone)
    visitor = Visitor(port)
    try:
        process.wait_ready(lambda: serves(port), READY_WITHIN_S)
        ready = time.monotonic() - began
        visitor.sign_in(password)
        signed_in = time.monotonic() - began
        token = visitor.first_token()
        first = time.monotonic() - began
    finally:
        visitor.close()
        process.interrupt()
    print(
        f"ready {ready:.1f} s, signed in {signed_in:.1f} s, first token {token!r} {first:.1f} s",
        file=sys.stderr,
    )
    return Start(round(ready, 2), round(signed_in, 2), round(first, 2))


def serves(port: int) -> bool:
    """Whether the platform says that it is ready, and the demo tenant has its login page."""
    here = f"http://127.0.0.1:{port}"
    return answers(f"{here}/readyz") and answers(f"{here}/login/", f"{TENANT}.localhost:{port}")


def installed_mb(directory: Path) -> float:
    """Disk used below a directory in MB (10^6 bytes), a file with several names counted once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, files in os.walk(directory):
        for name in files:
            stat = os.lstat(os.path.join(parent, name))
            seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values()) / 1e6


def demo_password(clone: Path) -> str:
    """The demo owner's password as launch/demo.yaml says it."""
    demo = yaml.safe_load((clone / "launch" / "demo.yaml").read_text())
    members = [member for tenant in demo["tenants"] for member in tenant["members"]]
    return str(next(member["password"] for member in members if member["email"] == EMAIL))


def judge(first: Start, later: Start, size_mb: float) -> list[Verdict]:
    """The three targets."""
    rows = (
        (
            f"first token within {FIRST_TOKEN_S:g} s of the first make run",
            first.first_token_s,
            FIRST_TOKEN_S,
            "s",
        ),
        (f"a later start within {LATER_START_S:g} s", later.ready_s, LATER_START_S, "s"),
        (f"everything installed at most {INSTALLED_MB:g} MB", size_mb, INSTALLED_MB, "MB"),
    )
    return [
        Verdict(target, f"{value:.1f} {unit}", "PASS" if value <= most else "FAIL")
        for target, value, most, unit in rows
    ]


def document(where: dict[str, Any], first: Start, later: Start, place: Path) -> dict[str, Any]:
    """What was measured in `place`, as JSON values; `where` is the machine."""
    size = installed_mb(place / "clone" / ".venv")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": where,
        "first": asdict(first),
        "later": asdict(later),
        "installed_mb": round(size, 1),
        "data_mb": round(installed_mb(place / "var"), 1),
        "verdicts": [asdict(verdict) for verdict in judge(first, later, size)],
    }


def main() -> int:
    """Measure twice, print, clean up."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__.split("\n")[0])
    parser.add_argument("--working-tree", action="store_true", help="copy the files as they are, not the commit")
    parser.add_argument("--keep", action="store_true", help="leave the directory for a look at it")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="agent-paas-start-"))
    clone = place / "clone"
    where = machine.describe()  # its load before ours
    try:
        copy_repository(clone, options.working_tree)
        password = demo_password(clone)
        first = start_once(clone, place, password)
        later = start_once(clone, place, password)
        result = document(where, first, later, place)
    except (ProcessFailed, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"kept: {place}", file=sys.stderr)
        else:
            shutil.rmtree(place, ignore_errors=True)
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    (BENCH_DIR / "start.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    return 0 if all(verdict["result"] == "PASS" for verdict in result["verdicts"]) else 1


if __name__ == "__main__":
    sys.exit(main())
