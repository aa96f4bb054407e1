"""How long the server takes for each page of the portal, as Markdown.

    python -m bench.pages [--port 8000] [--rounds 20]

asks an installation that runs (`make run`) as the owner of the demo workspace, one page after the other, each so many
times in turn. bench/showcase.py fills the workspace first, if it is to look like one that is used.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass

from bench.portal_pages import every_page, kind_of
from bench.processes import ROOT
from bench.start import Visitor, demo_password


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds from the request to the whole page, and its size in bytes."""

    page: str
    times: list[float]
    size: int

    def line(self) -> str:
        """A row of the table."""
        ordered = sorted(self.times)
        slow = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        return f"| `{self.page}` | {statistics.median(ordered):.1f} | {slow:.1f} | {self.size / 1000:.1f} |"


def measure(visitor: Visitor, rounds: int) -> list[Measured]:
    """Every page that links lead to, slowest first."""

    async def get(address: str) -> str:
        return visitor.page(address)

    addresses = asyncio.run(every_page(get))
    times: dict[str, list[float]] = {address: [] for address in addresses}
    sizes: dict[str, int] = {}
    for _round in range(rounds):
        for address in addresses:
            began = time.perf_counter()
            page = visitor.page(address)
            times[address].append((time.perf_counter() - began) * 1000)
            sizes[address] = len(page.encode())
    found = [Measured(kind_of(address), times[address], sizes[address]) for address in addresses]
    return sorted(found, key=lambda one: -statistics.median(one.times))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the pages of the portal.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    visitor = Visitor(asked.port)
    try:
        visitor.sign_in(demo_password(ROOT))
        print("| page | median (ms) | p95 (ms) | size (kB) |\n|---|--:|--:|--:|")
        for one in measure(visitor, asked.rounds):
            print(one.line())
    finally:
        visitor.close()


if __name__ == "__main__":
    main()
