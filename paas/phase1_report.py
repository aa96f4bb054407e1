"""What an import from Phase 1 did, for people and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paas.phase1_file import Row

IMPORTED, PRESENT = "imported", "present"
EVERY = 1000  # rows between two words of progress


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that was left out, and why."""

    table: str
    id: str
    reason: str

    def view(self) -> dict[str, str]:
        """As JSON."""
        return {"table": self.table, "id": self.id, "reason": self.reason}


class Stopped(Exception):
    """A bad row, where every row has to be good."""

    def __init__(self, bad: Bad) -> None:
        self.bad = bad
        super().__init__(f"{bad.table} {bad.id}: {bad.reason}")


@dataclass
class Report:
    """The outcome of an import so far.

    tables: table -> {read, imported, present, bad}; "present" is what an earlier import brought. notes: sentences.
    keys_anew: API keys that have to be made anew. token: of the key that was made for the sessions; shown this once.
    """

    phase: int = 0
    tenant: str = ""
    dry_run: bool = False
    strict: bool = False
    say: Callable[[str], None] = lambda line: None
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keys_taken_over: list[str] = field(default_factory=list)
    keys_anew: list[dict[str, Any]] = field(default_factory=list)
    owner: str = ""
    token: str = ""

    def begin(self, table: str, total: int) -> None:
        """A table is read now; `total` rows of it."""
        self.tables[table] = {"read": 0, IMPORTED: 0, PRESENT: 0, "bad": 0, "total": total}

    def read(self, rows: Iterator[Row], table: str) -> Iterator[Row]:
        """The rows, counted, with a word of progress now and then."""
        counts = self.tables[table]
        for row in rows:
            counts["read"] += 1
            yield row
            if counts["read"] % EVERY == 0:
                self.say(f"{table}: {counts['read']:,} of {counts['total']:,}")

    def add(self, table: str, what: str, count: int = 1) -> None:
        """So many rows were imported, or present already."""
        self.tables[table][what] += count

    def refuse(self, row: Row, reason: str) -> None:
        """Leave a row out. Raises Stopped where every row has to be good."""
        found = Bad(row.table, row.id, reason)
        self.bad.append(found)
        self.tables[row.table]["bad"] += 1
        if self.strict:
            raise Stopped(found)

    @property
    def changed(self) -> bool:
        """Whether the import brought anything."""
        return any(counts[IMPORTED] for counts in self.tables.values())

    def view(self) -> dict[str, Any]:
        """As JSON."""
        shown = ("read", IMPORTED, PRESENT, "bad")
        found = {
            "phase": self.phase,
            "tenant": self.tenant,
            "dry_run": self.dry_run,
            "tables": {table: {name: counts[name] for name in shown} for table, counts in self.tables.items()},
            "bad": [one.view() for one in self.bad],
            "keys": {"taken_over": self.keys_taken_over, "to_make_anew": self.keys_anew},
            "sessions_of": self.owner,
            "notes": self.notes,
        }
        return found | ({"token": self.token} if self.token else {})

    def lines(self) -> Iterator[str]:
        """For people."""
        would = "would be " if self.dry_run else ""
        for table, counts in self.tables.items():
            yield (
                f"{table:<14}{counts['read']:>9,} read{counts[IMPORTED]:>9,} {would}imported"
                f"{counts[PRESENT]:>9,} present{counts['bad']:>7,} bad"
            )
        for one in self.bad:
            yield f"bad: {one.table} {one.id}: {one.reason}"
        for name in self.keys_taken_over:
            yield f"API key {name}: {would}taken over; its token stays as it is"
        for key in self.keys_anew:
            yield f"API key {key['name']}: has to be made anew ({', '.join(key['scopes'])}): {key['reason']}"
        if self.owner:
            yield f"sessions belong to {self.owner}"
        if self.token:
            yield f"    its token, shown only now: {self.token}"
        yield from self.notes
