"""`python -m bench.leaks --seconds 600 --tenants 50`: the leak fuzz on services of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.leaks.services import own_services

WORLD = "world.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.leaks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long (default 600)")
    parser.add_argument("--tenants", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices (default: by the clock)")
    parser.add_argument("--prove-harness", action="store_true", help="seed each known leak in turn; all must be found")
    parser.add_argument("--json", type=Path, help="write the report here too")
    parser.add_argument("--provision", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.provision:
        _provision(options.provision, options.tenants)
        return 0
    options.seed = options.seed or secrets.randbits(32)
    with own_services() as folder:
        report = _prove_harness(folder, options) if options.prove_harness else _fuzz(folder, options)
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return 0 if report["passed"] else 1


def _provision(path: Path, tenants: int) -> None:
    """Migrate and make the world, signed in as paas_owner; a process of its own does this."""
    import django

    django.setup()
    from django.core.management import call_command

    from bench.leaks import world
    from tenants.migrate import migrate_all

    call_command("init_database", verbosity=0, stdout=sys.stderr)
    migrate_all(lambda line: None)
    path.write_text(json.dumps(world.make(tenants).to_json(), default=str))


def _world(folder: Path, tenants: int, login: str) -> Any:
    """A provisioned world, with this process signed in as `login`, which only reads it."""
    command = [sys.executable, "-m", "bench.leaks", "--provision", str(folder / WORLD), "--tenants", str(tenants)]
    subprocess.run(command, check=True, env=os.environ | {"DATABASE_LOGIN": "owner"})
    os.environ["DATABASE_LOGIN"] = login
    import django

    django.setup()
    from bench.leaks.world import World

    return World.from_json(json.loads((folder / WORLD).read_text()))


def _fuzz(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The fuzz itself, signed in as the web's own login."""
    world = _world(folder, options.tenants, "app")
    from bench.leaks.fuzz import running

    async def run() -> dict[str, Any]:
        async with running(world, seed=options.seed, worker=True) as fuzz:
            started = time.monotonic()
            ledger = await fuzz.run(options.seconds)
            took = time.monotonic() - started
        facts = {"seconds": round(took, 1), "tenants": options.tenants, "seed": options.seed}
        rate = {"operations_per_second": round(ledger.total / took, 1)}
        return facts | rate | ledger.summary() | {"passed": not ledger.leaks and not ledger.failures}

    return asyncio.run(run())


def _prove_harness(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every seeded leak in turn, signed in as the owner: it must be found within `--seconds`."""
    world = _world(folder, options.tenants, "owner")
    from bench.leaks.prove import seeded

    found = {}
    for name, seconds, leak in seeded(world, options.seed, options.seconds):
        found[name] = {"found": leak, "seconds": round(seconds, 2)}
        print(f"{'found ' if leak else 'MISSED'} {name} {seconds:.2f} s: {leak}", file=sys.stderr)
    return {"seeds": found, "passed": all(one["found"] for one in found.values())}


if __name__ == "__main__":
    sys.exit(main())
