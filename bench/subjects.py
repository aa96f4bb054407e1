"""What is measured: the vendor itself, the bare pass-through, this platform, LiteLLM, each by itself."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from typing import Protocol

from bench.client import Target
from bench.peers import LITELLM
from bench.processes import (
    BENCH_DIR,
    ROOT,
    Process,
    ProcessFailed,
    answers,
    command_line,
    descendants,
    environment,
    free_port,
)

PLATFORM_FILE = ROOT / "bench" / "platform.yaml"
PLATFORM_KEY = "ak_bench_own_value_for_loopback"
FILE_VENDOR_URL = "http://127.0.0.1:9900/v1"
"""What bench/platform.yaml says; the report puts the address of its own vendor there."""


class Subject(Protocol):
    """Something that answers chat completions.

    `web_pid` is the process whose memory and processor time count (None: somebody else's);
    `pids` are all of its processes.
    """

    name: str
    target: Target

    def start(self) -> None:
        """Start it and wait until it answers. Raises ProcessFailed."""

    def stop(self) -> None:
        """End what `start` started."""

    @property
    def web_pid(self) -> int | None:
        """The process that is weighed."""

    @property
    def pids(self) -> list[int]:
        """All of its processes."""


class Server:
    """What subjects with one server process share."""

    name = ""
    ready_path = "/v1/models"
    ready_seconds = 30.0

    def __init__(self) -> None:
        self.port = free_port()
        self.target = Target(f"http://127.0.0.1:{self.port}/v1")
        self._process: Process | None = None

    def command(self) -> list[str]:
        """The arguments to execute."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """What its environment holds besides the usual."""
        return {}

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = BENCH_DIR / "log" / f"{self.name}.log"
        self._process = Process(self.command(), environment(**self.variables()), log)
        url = f"http://127.0.0.1:{self.port}{self.ready_path}"
        self._process.wait_ready(lambda: answers(url), self.ready_seconds)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    @property
    def web_pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> list[int]:
        """The server and its children."""
        return descendants(self._process.pid) if self._process else []


class VendorSubject(Server):
    """The stand-in vendor, asked directly: what no relay can beat."""

    name = "vendor"

    def command(self) -> list[str]:
        """The vendor as a process."""
        return [sys.executable, "-m", "bench.vendor", "--port", str(self.port)]


class PassthroughSubject(Server):
    """bench/passthrough.py under uvicorn, one worker."""

    name = "passthrough"

    def __init__(self, vendor_url: str) -> None:
        super().__init__()
        self._vendor_url = vendor_url

    def command(self) -> list[str]:
        """The options that the platform's web process has too."""
        options = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "on", "--no-access-log"]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", "bench.passthrough:app", *options, *address]

    def variables(self) -> dict[str, str]:
        """Where to."""
        return {"VENDOR_URL": self._vendor_url}


class LiteLLMSubject(Server):
    """LiteLLM's proxy with one worker and the settings of bench/litellm/config.yaml."""

    name = "litellm"
    ready_path = "/health/liveliness"
    ready_seconds = 180.0

    def __init__(self, vendor_url: str) -> None:
        super().__init__()
        self._vendor_url = vendor_url
        self._key = f"sk-{secrets.token_hex(12)}"
        self.target = Target(self.target.url, self._key)

    def command(self) -> list[str]:
        """The proxy's own command line."""
        config = str(ROOT / "bench" / "litellm" / "config.yaml")
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(LITELLM.program), "--config", config, *address, "--num_workers", "1"]

    def variables(self) -> dict[str, str]:
        """Keys, and everything off that would cost it time: logs, telemetry, downloads of price lists."""
        program = LITELLM.program.parent
        return {
            "PATH": f"{program}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(BENCH_DIR / "litellm-home"),
            "VENDOR_URL": self._vendor_url,
            "VENDOR_KEY": "none",
            "BENCH_KEY": self._key,
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DO_NOT_TRACK": "1",
        }


class PlatformSubject(Server):
    """This platform as `make run` starts it, one web process, the vendor in the local model's place.

    Its data are new each time: quotas start full, tables empty. Durable, as in a real installation. `more`: further
    variables of its environment.
    """

    name = "platform"
    ready_path = "/readyz"
    ready_seconds = 120.0

    def __init__(self, vendor_url: str, **more: str) -> None:
        super().__init__()
        self._vendor_url, self._more = vendor_url, more
        self._var = BENCH_DIR / "platform"
        self.target = Target(self.target.url, PLATFORM_KEY)

    def command(self) -> list[str]:
        """What `make run` executes once the environment is installed."""
        return [sys.executable, "-m", "launch", "run"]

    def variables(self) -> dict[str, str]:
        """Its own place and port; no demo, no embedded model."""
        return {
            "VAR_DIR": str(self._var),
            "PORT": str(self.port),
            "DEMO": "0",
            "LOCAL_MODEL_URL": self._vendor_url,
            "WEB_WORKERS": "1",
            # Counted as ever, but more than one key's share.
            "RATE_LIMITS": "turn=1000000000, stream=1000000000, read=1000000000, write=1000000000",
        } | self._more

    def start(self) -> None:
        """Start everything on empty data, then make the tenant, its agents and its key."""
        shutil.rmtree(self._var, ignore_errors=True)
        super().start()
        try:
            self._apply()
        except ProcessFailed:
            self.stop()
            raise

    def _apply(self) -> None:
        file = BENCH_DIR / "platform.yaml"
        file.write_text(PLATFORM_FILE.read_text().replace(FILE_VENDOR_URL, self._vendor_url))
        done = subprocess.run(
            [sys.executable, "manage.py", "apply", "-f", str(file)],
            cwd=ROOT,
            env=environment(**self.variables()),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ProcessFailed(f"manage.py apply -f {file}:\n{done.stdout}{done.stderr}")

    def stop(self) -> None:
        """End the supervisor, which ends the rest in order."""
        if self._process is not None:
            self._process.stop(60)

    @property
    def web_pid(self) -> int | None:
        """The one web process below the supervisor."""
        found = [pid for pid in self.pids if "launch.web" in command_line(pid)]
        if len(found) != 1:
            raise ProcessFailed(f"{len(found)} web processes below the supervisor instead of one.")
        return found[0]


class RunningPlatform:
    """A platform that somebody else started, with the agents and the key of bench/platform.yaml."""

    name = "platform"

    def __init__(self, url: str, key: str, pid: int | None = None) -> None:
        self.target = Target(url.rstrip("/").removesuffix("/v1") + "/v1", key)
        self._pid = pid

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It is not ours to end."""

    @property
    def web_pid(self) -> int | None:
        """The process that --platform-pid named."""
        return self._pid

    @property
    def pids(self) -> list[int]:
        """Only what is known."""
        return [self._pid] if self._pid else []
