"""Processor and memory of an installation's processes, by what they are (Linux)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import command_line, cpu_seconds

ROLES = (
    ("launch.web", "web"),
    ("manage.py work", "worker"),
    ("postgres", "PostgreSQL"),
    ("redis-server", "Redis"),
    ("launch run", "supervisor"),
    ("pgserver", "PostgreSQL"),
)
"""What stands in a command line, and the role that it tells; the first that fits."""


def role_of(pid: int) -> str:
    """What a process is: one of ROLES, or "other"; "" when it is gone."""
    line = command_line(pid)
    return next((role for words, role in ROLES if words in line), "other" if line else "")


def memory_mb(pid: int) -> tuple[float, float]:
    """(resident, proportional) MB = 10^6 bytes; what several processes share counts in parts in the second.

    (0, 0) when the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return sizes["Rss"] * 1024 / 1e6, sizes["Pss"] * 1024 / 1e6


def memory_by_role(pids: Sequence[int]) -> dict[str, tuple[int, float, float]]:
    """Role -> (processes, resident MB, proportional MB), each summed up."""
    found: dict[str, tuple[int, float, float]] = {}
    for pid in pids:
        role = role_of(pid)
        count, resident, proportional = found.get(role, (0, 0.0, 0.0))
        more = memory_mb(pid)
        if role:
            found[role] = (count + 1, resident + more[0], proportional + more[1])
    return found


def cpu_by_role(pids: Sequence[int]) -> Counter[str]:
    """Role -> processor seconds used so far by the processes that are there now."""
    found: Counter[str] = Counter()
    for pid in pids:
        found[role_of(pid)] += cpu_seconds([pid])  # type: ignore[assignment]  # a Counter counts seconds as well
    return found


@dataclass(slots=True)
class Weighed:
    """What was seen of one web process, a look each second: (seconds since the start, value)."""

    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    files: list[tuple[float, float]] = field(default_factory=list)
    cpu_cores: list[tuple[float, float]] = field(default_factory=list)


@asynccontextmanager
async def watched(pid: int, look_seconds: float = 1.0) -> AsyncIterator[Weighed]:
    """Look at a process again and again while the block runs."""
    found, began = Weighed(), time.perf_counter()

    async def look() -> None:
        last, at = cpu_seconds([pid]), began
        while True:
            await asyncio.sleep(look_seconds)
            now, used = time.perf_counter(), cpu_seconds([pid])
            found.cpu_cores.append((now - began, (used - last) / max(now - at, 1e-3)))
            found.memory_mb.append((now - began, _resident_mb(pid)))
            found.files.append((now - began, float(_open_files(pid))))
            last, at = used, now

    task = asyncio.create_task(look())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@dataclass(slots=True)
class Spent:
    """Processor seconds by role between two moments."""

    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, role: str) -> float:
        """That role's; 0.0 when there is none."""
        return self.seconds.get(role, 0.0)

    @property
    def all(self) -> float:
        """Everything's."""
        return sum(self.seconds.values())


@asynccontextmanager
async def spending(pids: Callable[[], list[int]]) -> AsyncIterator[Spent]:
    """The processor time that an installation uses while the block runs, known at its end."""
    spent, before = Spent(), cpu_by_role(pids())
    yield spent
    after = cpu_by_role(pids())
    spent.seconds = {role: round(max(0.0, after[role] - before[role]), 3) for role in after if role}
