"""A platform that really starts: the supervisor over a stand-in for Django, in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from launch.ports import free_port
from launch.processes import Identity
from launch.spawn import plain_environment

PATIENCE = 60.0  # s; a limit for what must happen, never a wait
Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str) -> Value:
    """Poll until the condition is true and return its value; fail with `what` when it never is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE:g} s for {what}")


class Platform:
    """One `python -m launch run` in a project directory."""

    def __init__(self, project: Path, **environment: str) -> None:
        self.project = project
        self.port = int(environment.get("PORT") or free_port())
        self.var = Path(environment.get("VAR_DIR") or project / "var")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launch", "run"],
            cwd=project,
            env=plain_environment(PORT=str(self.port)) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until a text has been printed so often."""

        def seen() -> bool:
            if self.output.count(text) >= times:
                return True
            assert self.process.poll() is None or self.output.count(text) >= times, self.output
            return False

        try:
            until(seen, text)
        except AssertionError:
            print(self.output)
            raise

    def ready(self) -> Platform:
        """Wait for the block at the end of a start."""
        self.wait_for("Stop: Ctrl-C")
        return self

    def exit_code(self) -> int:
        """Wait for the end."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def interrupt(self) -> int:
        """Ctrl-C, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        return self.exit_code()

    def get(self, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://{host}:{self.port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def healthy(self) -> bool:
        """Whether /readyz says 200 now."""
        with contextlib.suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False

    def children(self) -> dict[str, Identity]:
        """The processes that it runs at the moment."""
        try:
            entries = json.loads((self.var / "run" / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return {name: Identity(entry["pid"], entry["began"]) for name, entry in entries.items()}

    def services(self) -> dict[str, str]:
        """What services.env says."""
        lines = (self.var / "run" / "services.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        """End it, however the test went."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self._reader.join(PATIENCE)
            self.process.stdout.close()


Start = Callable[..., Platform]
