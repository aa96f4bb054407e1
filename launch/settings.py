"""What a person may choose in the environment, read once, with a sentence for each wrong value."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launch.errors import LaunchError

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "launch" / "demo.yaml"
DRAIN_SECONDS = 60  # a process that is told to stop lets its runs go on for so long
CLOSE_SECONDS = 10  # and then its connections may take this long to close


@dataclass(frozen=True)
class Settings:
    """The choices of one start. A URL that is given replaces the embedded service.

    `database_url` is a login that may create roles and databases, unless `database_owner_url` is given too:
    then both are used as they are and nothing is created.
    """

    var: Path
    port: int = 8000
    web_processes: int = 1
    model_threads: int = 1
    workers: int = 1
    drain_seconds: int = DRAIN_SECONDS
    notice_seconds: int = 0
    base_domain: str = "localhost"
    demo: bool = True
    database_url: str | None = field(default=None, repr=False)
    database_owner_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    local_model_url: str | None = field(default=None, repr=False)
    local_model_name: str = ""
    metrics_port: int = 0  # of the first web process; 0: nobody serves metrics

    @property
    def metrics_ports(self) -> dict[str, int]:
        """Where each process serves its metrics, by the part's name; empty where nobody does."""
        if not self.metrics_port:
            return {}
        names = [*self.web_names, *self.worker_names]
        return {name: self.metrics_port + number for number, name in enumerate(names)}

    @property
    def web_names(self) -> list[str]:
        """What the web processes are called."""
        return _names("web", self.web_processes)

    @property
    def worker_names(self) -> list[str]:
        """What the workers are called."""
        return _names("worker", self.workers)

    @classmethod
    def read(cls, environment: Mapping[str, str], *, cluster: bool = False) -> "Settings":
        """From environment variables (README.md lists them); two of each in a cluster. Raises LaunchError."""
        of_each = 2 if cluster else 1
        return cls(
            var=Path(environment.get("VAR_DIR") or ROOT / "var").expanduser().resolve(),
            port=_number(environment, "PORT", 8000, 1, 65535),
            web_processes=_number(environment, "WEB_WORKERS", of_each, of_each, 64),
            workers=_number(environment, "WORKERS", of_each, 1, 16),
            model_threads=_number(environment, "MODEL_THREADS", max(1, min(4, _cores() // 2)), 1, 64),
            drain_seconds=_number(environment, "DRAIN_SECONDS", DRAIN_SECONDS, 0, 3600),
            notice_seconds=_number(environment, "STOP_NOTICE_SECONDS", 3 if cluster else 0, 0, 60),
            base_domain=environment.get("BASE_DOMAIN") or "localhost",
            demo=_flag(environment, "DEMO", True),
            database_url=secret(environment, "DATABASE_URL"),
            database_owner_url=secret(environment, "DATABASE_OWNER_URL"),
            redis_url=secret(environment, "REDIS_URL"),
            local_model_url=secret(environment, "LOCAL_MODEL_URL"),
            local_model_name=environment.get("LOCAL_MODEL_NAME") or "",
            metrics_port=_number(environment, "METRICS_PORT", 0, 0, 65535 - 80),
        )


def secret(environment: Mapping[str, str], name: str) -> str | None:
    """The value of NAME, or of the file that NAME_FILE names; None for neither or empty."""
    if environment.get(name):
        return environment[name]
    path = environment.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text().strip() or None
    except OSError as error:
        raise LaunchError(f"{name}_FILE: cannot read {path}: {error.strerror}.") from None


def _names(kind: str, count: int) -> list[str]:
    return [kind] if count == 1 else [f"{kind}{number + 1}" for number in range(count)]


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = environment.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
        raise LaunchError(f"{name} must be a whole number from {least} to {most}, not {value!r}.")
    return int(value)


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = (environment.get(name) or str(default)).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise LaunchError(f"{name} must be 1 or 0, not {value!r}.")


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
