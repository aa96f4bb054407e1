"""What the fuzz has done and seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.leaks.world import Customer

CANARY = re.compile(r"canary[0-9a-f]{16}")
KEPT_LEAKS = 100


@dataclass(frozen=True, slots=True)
class Leak:
    """One foreign row, or a defence that was down. operation: the kind of traffic that met it."""

    operation: str
    tenant: str
    what: str

    def __str__(self) -> str:
        return f"{self.operation}, as {self.tenant}: {self.what}"


@dataclass(slots=True)
class Ledger:
    """Counts of a whole run.

    looks: how often something came back, or was refused, and was judged. failures: errors that no operation
    expects, by kind of traffic.
    """

    operations: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    rows: int = 0
    wrong_rows: int = 0
    refusals: int = 0
    faults: int = 0
    leaks: list[Leak] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    on_leak: Callable[[Leak], None] = field(default=lambda leak: None, repr=False)

    @property
    def total(self) -> int:
        """All operations."""
        return self.operations.total()

    def add(self, leak: Leak) -> None:
        """Record a leak."""
        if len(self.leaks) < KEPT_LEAKS:
            self.leaks.append(leak)
        self.on_leak(leak)

    def summary(self) -> dict[str, Any]:
        """The whole as JSON values. upper_bound: of the rate of wrong looks, at 95 % (the rule of three)."""
        return {
            "operations": self.total,
            "looks": self.looks,
            "by_kind": dict(sorted(self.operations.items())),
            "rows_read": self.rows,
            "wrong_rows": self.wrong_rows,
            "attempts_refused": self.refusals,
            "binds_cut": self.faults,
            "leaks": [str(leak) for leak in self.leaks],
            "failures": dict(self.failures),
            "upper_bound": 3 / self.looks if self.looks and not self.leaks else None,
        }


@dataclass(frozen=True, slots=True)
class Witness:
    """One operation's eyes: knows as whom it runs and judges what it is shown."""

    ledger: Ledger
    operation: str
    own: Customer

    def saw(self, *shown: object) -> None:
        """What came back. Every canary in it must be the tenant's own, and there must be one."""
        self.ledger.looks += 1
        found = CANARY.findall(" ".join(map(str, shown)))
        foreign = [canary for canary in found if canary != self.own.canary]
        self.ledger.rows += len(found)
        if foreign:
            self.ledger.wrong_rows += len(foreign)
            self.leak(f"{len(foreign)} of {len(found)} rows are another tenant's")
        elif not found:
            self.ledger.failures[f"{self.operation}: own rows were not there"] += 1

    def saw_nothing(self, *shown: object) -> None:
        """What came back where nothing may."""
        self.ledger.looks += 1
        found = CANARY.findall(" ".join(map(str, shown)))
        self.ledger.refusals += 1
        if found:
            self.ledger.wrong_rows += len(found)
            self.leak(f"{len(found)} rows where there should be none")

    def refused(self, attempt: Callable[[], object], *errors: type[BaseException]) -> None:
        """`attempt` must raise one of `errors`."""
        self.ledger.looks += 1
        try:
            shown = attempt()
        except errors:
            self.ledger.refusals += 1
        else:
            self.leak(f"was not refused; got {str(shown)[:80]!r}")

    def same(self, what: str, is_: object, wanted: object) -> None:
        """A fact about the binding that must hold."""
        self.ledger.looks += 1
        if is_ != wanted:
            self.leak(f"{what} is {is_!r}, not {wanted!r}")

    def leak(self, what: str) -> None:
        """Record that a defence was down."""
        self.ledger.add(Leak(self.operation, self.own.ref.slug, what))

    def as_(self, other: Customer) -> Witness:
        """The same operation, seen as another tenant."""
        return Witness(self.ledger, self.operation, other)
