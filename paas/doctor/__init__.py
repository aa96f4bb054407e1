"""Looks an installation over: what is wrong, what will be, and what mends it (`manage.py doctor`)."""

from __future__ import annotations

from collections.abc import Iterator

from paas.doctor import around, books, database, stores
from paas.doctor.finding import ERROR, LEVELS, NOTE, WARNING, Check, Finding

# Without the database there is nothing to look at in it.
FIRST: tuple[Check, ...] = (around.configured, database.reachable)
ALWAYS: tuple[Check, ...] = (stores.redis, stores.disk, stores.writable, around.mail, around.names, around.breakers)
IN_DATABASE: tuple[Check, ...] = (
    database.extension, database.schemas, database.protection, database.settings, database.archive, database.clocks,
    database.connections, database.indexes, database.bloat, around.secrets, stores.files, books.chains, books.counted,
    books.runs, books.jobs, books.tenants, books.backups,
)  # fmt: skip


def examine() -> Iterator[Finding]:
    """Everything, one after the other; a check that fails is a finding itself."""
    away = False
    for check in (*FIRST, *ALWAYS):
        for finding in _looked(check):
            away |= finding.check == "postgresql.login" and "does not open" in finding.what
            yield finding
    if not away:
        for check in IN_DATABASE:
            yield from _looked(check)


def _looked(check: Check) -> Iterator[Finding]:
    name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
    try:
        yield from check()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        yield Finding(
            ERROR, "doctor.failed", f"{name} could not be looked at: {type(error).__name__}: {lines[0]}",
            "Mend what the other findings say, and look again.",
        )  # fmt: skip


__all__ = ["ERROR", "LEVELS", "NOTE", "WARNING", "Finding", "examine"]
