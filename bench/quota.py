"""Two hundred that want what is left for ten: `python -m bench.quota` (security.md T7, P42, A33, A35).

Real PostgreSQL, twenty connections under a web process's login, in the functions that a turn's start and end call. In
every round a person and an agent of their own have limits on tokens and cost of the month and the day, room for ten
runs in each. Two hundred begin at once; then all are settled, each with its own true usage, and in every fifth round
one of them reports ten times what was held. Exactly ten must be admitted, nothing may be above a limit at any moment
but for that one report, and nothing may stay held.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg_pool
from psycopg.types.json import Jsonb

from bench.leaks.services import own_services
from bench.machine import describe

INPUT, OUTPUT, FIT = 10, 90, 10
# Of a million tokens; a run of INPUT and OUTPUT costs 190,000 billionths at most.
TERMS = {"input_price": "1", "output_price": "2", "currency": "USD"}
HELD = (INPUT + OUTPUT) * FIT
HELD_COST = (INPUT + 2 * OUTPUT) * 1000 * FIT
OVERSHOOT = 10
CONNECTIONS = 20
HOLD = "SELECT public.usage_hold(%s, %s, NULL, %s, %s, %s, 'bench', interval '1 minute', 'a', 'p', 'm', %s)"
SETTLE = "SELECT public.usage_settle(%s, 1, 'completed', '', %s)"
STANDS = (
    "SELECT metric, used, reserved FROM public.usage_quota WHERE tenant_id = %s AND subject_id = ANY (%s) ORDER BY id"
)


@dataclass
class Figures:
    """What the rounds found."""

    admitted: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    limited: list[float] = field(default_factory=list)
    rounds_took: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quota", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--runners", type=int, default=200)
    options = parser.parse_args()
    where = describe()
    with own_services():
        tenant = own_tenant()
        found = asyncio.run(_all(tenant, options.rounds, options.runners))
    asked = options.rounds * options.runners
    print(
        f"`python -m bench.quota` at {where['commit']}: {where['processor']}, {where['cores']} cores, "
        f"load {where['load_average'][0]} before.\n\n"
        f"- {options.rounds} rounds of {options.runners} at once, eight limits each: "
        f"{sum(found.admitted):,} of {asked:,} admitted, {sum(found.admitted) / (options.rounds * FIT):.4f} of what "
        f"fits, in {found.rounds_took:.0f} s\n"
        f"- a start waits {_ms(found.waits, 50)} ms at the median and {_ms(found.waits, 95)} ms at the 95th "
        f"percentile, {options.runners} at once on {CONNECTIONS} connections\n"
        f"- alone, a hold takes {_ms(found.bare, 50)} ms under the plan's limit, "
        f"{_ms(found.limited, 50)} ms under eight more\n"
        f"- {'PASS' if not found.wrong else 'MISSED'}: {len(found.wrong)} rounds with anything else than {FIT} "
        "admitted, above a limit, or with something left held"
    )
    for one in found.wrong[:10]:
        print(f"  {one}")
    return 0 if not found.wrong else 1


def own_tenant() -> Any:
    """A tenant in the platform of `own_services`."""
    os.environ["DATABASE_LOGIN"] = "owner"
    import django

    django.setup()
    from django.core.management import call_command

    from bench.leaks import world
    from tenants.migrate import migrate_all

    call_command("init_database", verbosity=0, stdout=sys.stderr)
    migrate_all(lambda line: None)
    return world.make(1).customers[0].ref


async def _all(tenant: Any, rounds: int, runners: int) -> Figures:
    figures = Figures()
    async with psycopg_pool.AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True}
    ) as pool:
        money = Money(pool, tenant)
        await _alone(money, figures)
        started = time.perf_counter()
        for number in range(rounds):
            await _round(money, number, runners, figures)
        figures.rounds_took = time.perf_counter() - started
    return figures


@dataclass(frozen=True)
class Money:
    """The two ends of a run's money, as the tenant's role."""

    pool: psycopg_pool.AsyncConnectionPool[Any]
    tenant: Any

    async def rows(self, sql: str, *params: Any) -> list[Any]:
        """What a statement gives, in a transaction of its own."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('role', %s, true)", [self.tenant.schema])
            found: list[Any] = await (await connection.execute(sql.encode(), params)).fetchall()
            return found

    async def hold(self, run: uuid.UUID, user: uuid.UUID, agent: uuid.UUID) -> dict[str, Any]:
        """What public.usage_hold says."""
        ((said,),) = await self.rows(HOLD, run, user, agent, INPUT, OUTPUT, Jsonb(TERMS))
        return dict(said)

    async def limit(self, level: str, subject: uuid.UUID) -> None:
        """Room for ten runs, in tokens and in cost, of the month and of the day."""
        for metric, amount, currency in (("tokens", HELD, ""), ("cost", f"{HELD_COST / 1e9:.9f}", "USD")):
            for period in ("month", "day"):
                await self.rows(
                    "INSERT INTO public.tenants_limit "
                    "(id, tenant_id, level, subject_id, metric, period, currency, amount, set_by, set_at) "
                    "VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, 'bench', now()) RETURNING 1",
                    self.tenant.id, level, subject, metric, period, currency, amount,
                )  # fmt: skip

    async def settle(self, run: uuid.UUID, output: int) -> None:
        """End a run that has written so much."""
        cost = f"{(INPUT + 2 * output) / 1e6:.12f}"
        usage = {
            "record_id": str(uuid.uuid4()), "input_tokens": INPUT, "output_tokens": output, "counted": False,
            "currency": "USD", "cost": cost,
        }  # fmt: skip
        await self.rows(SETTLE, run, Jsonb(usage))


async def _round(money: Money, number: int, runners: int, figures: Figures) -> None:
    user, agent = uuid.uuid4(), uuid.uuid4()
    await money.limit("user", user)
    await money.limit("agent", agent)

    async def begin() -> uuid.UUID | None:
        run, started = uuid.uuid4(), time.perf_counter()
        said = await money.hold(run, user, agent)
        figures.waits.append(time.perf_counter() - started)
        return run if said.get("granted") == OUTPUT else None

    runs = [run for run in await asyncio.gather(*(begin() for _ in range(runners))) if run is not None]
    figures.admitted.append(len(runs))
    most = {"tokens": HELD, "cost": HELD_COST}
    stands = await money.rows(STANDS, money.tenant.id, [user, agent])
    if len(runs) != FIT or len(stands) != 8 or any((used, held) != (0, most[metric]) for metric, used, held in stands):
        figures.wrong.append(f"round {number}: {len(runs)} admitted, {stands}")
    written = [random.randint(0, OUTPUT) for _ in runs]
    if number % 5 == 4 and written:
        written[0] = OVERSHOOT * OUTPUT
    await asyncio.gather(*(money.settle(run, output) for run, output in zip(runs, written, strict=True)))
    true = {
        "tokens": sum(INPUT + output for output in written),
        "cost": sum((INPUT + 2 * output) * 1000 for output in written),
    }
    stands = await money.rows(STANDS, money.tenant.id, [user, agent])
    if any((used, held) != (true[metric], 0) for metric, used, held in stands):
        figures.wrong.append(f"round {number}: {true} used, {stands}")
    if number % 5 == 4 and true["tokens"] > HELD and "granted" in await money.hold(uuid.uuid4(), user, agent):
        figures.wrong.append(f"round {number}: another was admitted after a report beyond the limit")


async def _alone(money: Money, figures: Figures) -> None:
    for taken, limited in ((figures.bare, False), (figures.limited, True)):
        for number in range(220):
            user, agent = uuid.uuid4(), uuid.uuid4()
            if limited:
                await money.limit("user", user)
                await money.limit("agent", agent)
                await money.hold(uuid.uuid4(), user, agent)  # makes the counters
            started, run = time.perf_counter(), uuid.uuid4()
            await money.hold(run, user, agent)
            if number >= 20:
                taken.append(time.perf_counter() - started)
            await money.settle(run, 1)


def _ms(seconds: list[float], percent: int) -> str:
    return f"{statistics.quantiles(seconds, n=100)[percent - 1] * 1000:.1f}"


if __name__ == "__main__":
    sys.exit(main())
