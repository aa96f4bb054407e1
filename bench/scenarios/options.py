"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` of each scenario, `soak_seconds` of the soak, how many idle `sockets`, how many `tenants`."""

    seconds: float = 60.0
    soak_seconds: float = 1800.0
    sockets: int = 1000
    tenants: int = 1000
