"""How much of everything a load takes, on paper: `python -m bench.capacity [--tenants N --streams N ...]`.

The constants were measured by `python -m bench.scenarios costs sockets idle`; what they are multiplied to was not
measured. Without options it prints the table of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

TOKENS_PER_S, TOKENS_A_TURN = 30.0, 400.0
"""A stream: what a large model gives a second, and the length of its answer."""
READS_A_TURN = 3.0
"""Requests of pages and API beside each turn."""
SOCKETS_A_STREAM = 5.0
"""Open browser tabs for each answer that is being written."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one of each, in milliseconds of a core, KB and MB (10^3, 10^6 bytes)."""

    read_ms: float = 11.3
    turn_ms: float = 13.6
    token_ms: float = 0.08
    socket_minute_ms: float = 17.8
    database_read_ms: float = 1.3
    database_turn_ms: float = 3.8
    database_token_ms: float = 0.0042
    redis_read_ms: float = 0.2
    redis_turn_ms: float = 1.0
    redis_token_ms: float = 0.0078
    socket_kb: float = 47.0
    stream_kb: float = 37.0
    web_mb: float = 180.0
    catalogue_kb: float = 900.0  # of PostgreSQL, for each tenant that a connection has served
    plans_kb: float = 2700.0  # the same of one on which turns begin and end
    database_turn_kb: float = 6.4
    wal_turn_kb: float = 9.7
    redis_turn_kb: float = 11.2


@dataclass(frozen=True, slots=True)
class Rules:
    """What is decided, not measured."""

    busy: float = 0.6  # of a core, at most: the rest is for bursts and for a process that is replaced
    runs_a_process: int = 500  # live ones at once, of the 2,000 that a process takes
    sockets_a_process: int = 5000
    connections_a_process: int = 16  # HOT_POOL_SIZE and DATABASE_POOL_SIZE
    hot_connections: int = 4  # HOT_POOL_SIZE
    hot_tenants: int = 100  # HOT_CONNECTION_TENANTS
    database_cores: int = 32  # of one PostgreSQL
    database_tenants: int = 10_000  # schemas of one PostgreSQL
    served: float = 0.1  # of the tenants, by one connection before it is replaced (DATABASE_CONNECTION_SECONDS)
    redis_kept_s: int = 3600

    def cells(self, database: float, redis: float, tenants: int) -> int:
        """How many installations: each has one PostgreSQL and one Redis, which has one core for its commands."""
        return max(
            1,
            math.ceil(database / (self.database_cores * self.busy)),
            math.ceil(redis / self.busy),
            math.ceil(tenants / self.database_tenants),
        )


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` answers at once, each TOKENS_PER_S; what else there is follows from them unless it is given."""

    name: str
    tenants: int
    streams: int
    sockets: int = 0

    @property
    def turns_per_s(self) -> float:
        """Answers that begin each second."""
        return self.streams * TOKENS_PER_S / TOKENS_A_TURN

    @property
    def open_sockets(self) -> int:
        """Idle ones."""
        return self.sockets or int(self.streams * SOCKETS_A_STREAM)


@dataclass(frozen=True, slots=True)
class Need:
    """What a load takes. Cores are whole ones in use; processes have room besides."""

    web_cores: float
    web_processes: int
    web_gb: float
    database_cores: float
    catalogue_gb: float
    cells: int
    connections: int
    redis_cores: float
    redis_gb: float
    stored_gb_a_day: float
    wal_mb_per_s: float


LOADS = (
    Load("a team", 10, 10),
    Load("one machine", 100, 50),
    Load("several machines", 1_000, 1_000),
    Load("a few cells", 5_000, 10_000),
    Load("many cells", 10_000, 100_000),
)


def need(load: Load, costs: Costs | None = None, rules: Rules | None = None) -> Need:
    """Add up: each kind of work times how often it comes a second."""
    cost, rule = costs or Costs(), rules or Rules()
    turns, tokens = load.turns_per_s, load.streams * TOKENS_PER_S
    reads, sockets = turns * READS_A_TURN, load.open_sockets
    web = (
        reads * cost.read_ms + turns * cost.turn_ms + tokens * cost.token_ms + sockets * cost.socket_minute_ms / 60
    ) / 1000
    database = (reads * cost.database_read_ms + turns * cost.database_turn_ms + tokens * cost.database_token_ms) / 1000
    redis = (reads * cost.redis_read_ms + turns * cost.redis_turn_ms + tokens * cost.redis_token_ms) / 1000
    processes = max(
        1,
        math.ceil(web / rule.busy),
        math.ceil(load.streams / rule.runs_a_process),
        math.ceil(sockets / rule.sockets_a_process),
    )
    cells = rule.cells(database, redis, load.tenants)
    served = load.tenants / cells * rule.served
    hot = rule.hot_connections
    remembered = (rule.connections_a_process - hot) * served * cost.catalogue_kb
    remembered += hot * min(served, rule.hot_tenants) * cost.plans_kb
    memory = processes * cost.web_mb / 1e3 + (sockets * cost.socket_kb + load.streams * cost.stream_kb) / 1e6
    return Need(
        web_cores=web,
        web_processes=processes,
        web_gb=memory,
        database_cores=database,
        catalogue_gb=processes * remembered / 1e6,
        cells=cells,
        connections=processes * rule.connections_a_process,
        redis_cores=redis,
        redis_gb=turns * rule.redis_kept_s * cost.redis_turn_kb / 1e6,
        stored_gb_a_day=turns * 86_400 * cost.database_turn_kb / 1e6,
        wal_mb_per_s=turns * cost.wal_turn_kb / 1e3,
    )


ROWS = (
    ("turns a second", lambda load, _: _said(load.turns_per_s)),
    ("tokens a second", lambda load, _: _said(load.streams * TOKENS_PER_S)),
    ("idle sockets", lambda load, _: _said(load.open_sockets)),
    ("cores of web processes", lambda _, found: _said(found.web_cores)),
    ("web processes (one a core)", lambda _, found: _said(found.web_processes)),
    ("memory of them, GB", lambda _, found: _said(found.web_gb)),
    ("cores of PostgreSQL", lambda _, found: _said(found.database_cores)),
    ("connections to PostgreSQL, most", lambda _, found: _said(found.connections)),
    ("memory of theirs for tenants' tables and plans, GB", lambda _, found: _said(found.catalogue_gb)),
    ("WAL, MB a second", lambda _, found: _said(found.wal_mb_per_s)),
    ("stored, GB a day at this load", lambda _, found: _said(found.stored_gb_a_day)),
    ("cores of Redis", lambda _, found: _said(found.redis_cores)),
    ("memory of Redis, GB", lambda _, found: _said(found.redis_gb)),
    ("cells, each with one PostgreSQL and one Redis", lambda _, found: _said(found.cells)),
)


def markdown(loads: tuple[Load, ...] = LOADS, costs: Costs | None = None) -> str:
    """A column for each load."""
    found = [need(load, costs) for load in loads]
    head = " | ".join(f"{load.name}: {load.tenants:,} tenants, {load.streams:,} streams" for load in loads)
    rows = [
        f"| {title} | " + " | ".join(tell(load, one) for load, one in zip(loads, found, strict=True)) + " |"
        for title, tell in ROWS
    ]
    return "\n".join([f"| | {head} |", "|---|" + "--:|" * len(loads), *rows])


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:.2g}"


def main() -> None:
    """Print the table, or one column for the load that was given."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__.split("\n")[0])
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--streams", type=int, help="answers at once; without it, the table of docs/scaling.md")
    parser.add_argument("--sockets", type=int, default=0, help="idle ones (default 5 a stream)")
    parser.add_argument("--slower", type=float, default=1.0, help="how many times slower a core is than the measured")
    options = parser.parse_args()
    costs = Costs()
    if options.slower != 1.0:
        times = {name: getattr(costs, name) * options.slower for name in costs.__slots__ if name.endswith("_ms")}
        costs = replace(costs, **times)
    loads = (Load("yours", options.tenants, options.streams, options.sockets),) if options.streams else LOADS
    print(markdown(loads, costs))


if __name__ == "__main__":
    main()
