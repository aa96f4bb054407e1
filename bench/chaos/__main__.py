"""Kills, stops, restarts and cuts every part of a loaded installation, and then audits what is left.

    python -m bench.chaos --minutes 10 --seed 7      # or: make chaos ARGS="--minutes 10"
    python -m bench.chaos --prove-harness            # each known defect must be found
    python -m bench.chaos --target T9                # measure one promise

Prints a JSON report; the exit status is 1 when the audit found anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.chaos.books import Reader
from bench.chaos.clients import Habits
from bench.chaos.drive import Load, drive, ledger_command
from bench.chaos.place import Place, Servers, installed
from bench.chaos.plan import plan
from bench.leaks.services import running_services
from bench.machine import describe
from bench.processes import ROOT
from bench.vendor import Vendor

KEY = "ak_chaos_own_value_for_loopback"
SLUG = "chaos"
DECLARATION = Path(__file__).with_name("platform.yaml")
AGENTS = ("quick", "paced", "paced", "long", "burst", "cut", "error")


def manage(*arguments: str, env: Mapping[str, str] | None = None) -> None:
    """A command of manage.py, as the owner. Raises CalledProcessError."""
    environment = os.environ | {"DATABASE_LOGIN": "owner"} | dict(env or {})
    subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True, stdout=sys.stderr.fileno()
    )


def prepare(servers: Servers, declaration: Path = DECLARATION) -> None:
    """Databases and tenant. The vendor's address is that of a proxy which is not there yet: see `point`."""
    manage("prepare")
    manage("apply", "-f", str(declaration))


def point(servers: Servers, port: int, declaration: Path = DECLARATION) -> None:
    """Let the agents ask the vendor behind this port."""
    text = declaration.read_text().replace("http://127.0.0.1:9900/v1", f"http://127.0.0.1:{port}/v1")
    file = servers.folder / "platform.yaml"
    file.write_text(text)
    manage("apply", "-f", str(file))


@asynccontextmanager
async def loaded(servers: Servers, **options: Any) -> AsyncIterator[Place]:
    """An installation whose agents ask a vendor of this process."""
    async with Vendor() as vendor, installed(servers, vendor, slug=SLUG, **options) as place:
        await asyncio.to_thread(point, servers, place.proxies["vendor"].port)
        Reader(place.database, SLUG).empty()
        await asyncio.sleep(3)  # agents are remembered for 2 s
        yield place


async def chaos(servers: Servers, minutes: float, seed: int, clients: int) -> dict[str, Any]:
    """The long run."""
    faults = plan(seed, minutes * 60)
    load = Load(clients, KEY, SLUG, Habits(AGENTS), seed)
    async with loaded(servers) as place:
        outcome = await drive(place, load, faults, minutes * 60, verify=ledger_command)
    return {"seed": seed, "clients": clients, "machine": describe()} | outcome.report()


def kept_logs(servers: Servers, seed: int) -> Path:
    """What the platform's processes wrote, in a folder that stays."""
    folder = ROOT / "var" / "chaos" / f"{seed}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    shutil.copytree(servers.folder / "log", folder)
    return folder


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of faults and clients (default: by chance)")
    parser.add_argument("--clients", type=int, default=24, help="how many at once (default 24)")
    parser.add_argument("--prove-harness", action="store_true", help="each known defect must be found")
    parser.add_argument("--target", help="measure one promise: T8 to T16, P48, or all")
    parser.add_argument("--json", type=Path, help="write the report here too")
    options = parser.parse_args()
    seed = options.seed or secrets.randbits(31)
    with running_services(durable=True) as servers:
        prepare(servers)
        if options.prove_harness:
            from bench.chaos.prove import prove

            report = asyncio.run(prove(servers, seed))
        elif options.target:
            from bench.chaos.targets import measure

            report = asyncio.run(measure(servers, options.target, seed))
        else:
            report = asyncio.run(chaos(servers, options.minutes, seed, options.clients))
        if not report["passed"]:
            report["logs"] = str(kept_logs(servers, seed))
    print(json.dumps(report, indent=2, default=str))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, default=str))
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
