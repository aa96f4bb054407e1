"""Where an operation happens, and the register of operations."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.leaks.ledger import Witness
from bench.leaks.world import Customer, World


@dataclass(slots=True)
class Place:
    """What one operation may use: whom it works for, whom it must not see, and the means."""

    world: World
    own: Customer
    other: Customer
    witness: Witness
    chance: random.Random
    port: int
    http: aiohttp.ClientSession
    worker: bool = False

    def headers(self, at: Customer | None, **more: str) -> dict[str, str]:
        """Request headers for a tenant's host, or the platform's."""
        return {"Host": f"{at.host if at else 'localhost'}:{self.port}", **more}

    def cookie(self, of: Customer) -> dict[str, str]:
        """The header that carries a tenant's session."""
        return {"Cookie": f"sessionid={of.session}"}

    def bearer(self, of: Customer) -> dict[str, str]:
        """The header that carries a tenant's API key."""
        return {"Authorization": f"Bearer {of.token}"}

    def url(self, path: str) -> str:
        """The address of a path; the host goes into the headers."""
        return f"http://127.0.0.1:{self.port}{path}"


Work = Callable[[Place], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of traffic. weight: how often it is chosen, relative to the others."""

    name: str
    weight: float
    work: Work
    needs_worker: bool = False


@dataclass(slots=True)
class Register:
    """The operations of one file."""

    operations: list[Operation] = field(default_factory=list)

    def operation(self, weight: float, *, needs_worker: bool = False) -> Callable[[Work], Work]:
        """Register a coroutine function under its own name."""

        def add(work: Any) -> Work:
            self.operations.append(Operation(work.__name__, weight, work, needs_worker))
            made: Work = work
            return made

        return add
