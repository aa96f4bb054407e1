"""Where scenarios play: the stand-in vendor and a platform of its own on empty data, as `make run` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from bench.client import Target
from bench.processes import BENCH_DIR, ROOT, ProcessFailed, environment
from bench.subjects import FILE_VENDOR_URL, PLATFORM_FILE, PLATFORM_KEY, PlatformSubject, VendorSubject

SLUG = "bench"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running platform. `target` is the tenant's own host with its key, `vendor` what a model costs without us."""

    platform: PlatformSubject
    vendor: Target

    @property
    def target(self) -> Target:
        """The bench tenant's chat completions."""
        return self.of(SLUG, PLATFORM_KEY)

    def of(self, slug: str, key: str) -> Target:
        """Those of another tenant."""
        return Target(f"http://{slug}.localhost:{self.platform.port}/v1", key)

    @property
    def web(self) -> int:
        """The web process."""
        pid = self.platform.web_pid
        assert pid is not None
        return pid

    def pids(self) -> list[int]:
        """All of the platform's processes."""
        return self.platform.pids

    def manage(self, *arguments: str) -> str:
        """What a command of manage.py prints. Raises ProcessFailed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=environment(**self.platform.variables()), capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise ProcessFailed(f"manage.py {arguments[0]}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def apply(self, declaration: dict[str, Any]) -> None:
        """Configuration as code; vendors' addresses in it are as in bench/platform.yaml."""
        file = BENCH_DIR / "scenario.yaml"
        file.write_text(yaml.safe_dump(declaration).replace(FILE_VENDOR_URL, self.vendor.url))
        self.manage("apply", "-f", str(file))

    def code(self, python: str) -> Any:
        """The JSON that a piece of Python prints in the platform's own shell."""
        said = self.manage("shell", "--no-imports", "-v", "0", "-c", python)
        return orjson.loads(said.strip().splitlines()[-1])


@contextmanager
def stage(*, apart: bool = False, **variables: str) -> Iterator[Stage]:
    """Both, while the block runs; `variables` are the platform's, beside the usual. Raises ProcessFailed.

    apart: the load and the vendor have one processor and the platform the others, so that who asks three times as much
    does not take from the platform what he measures.
    """
    cores = sorted(os.sched_getaffinity(0))
    ours, platforms = ([cores[-1]], cores[:-1]) if apart and len(cores) > 1 else (cores, cores)
    vendor = VendorSubject()
    platform = PlatformSubject(vendor.target.url, **variables)
    try:
        for subject, where in ((vendor, ours), (platform, platforms)):
            os.sched_setaffinity(0, where)  # processes inherit it
            subject.start()
        os.sched_setaffinity(0, ours)
        yield Stage(platform, vendor.target)
    finally:
        platform.stop()
        vendor.stop()
        os.sched_setaffinity(0, cores)


def declared() -> dict[str, Any]:
    """bench/platform.yaml, to be added to."""
    found: dict[str, Any] = yaml.safe_load(PLATFORM_FILE.read_text())
    return found
