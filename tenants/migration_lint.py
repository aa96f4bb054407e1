"""Migrations that a release can be rolled out with: the release before goes on working beside them (A74), and no table
is locked for longer than a moment while people use it (P20).

So a migration adds; what it replaces is taken away two releases later, named in ALLOWED with the reason. Nothing here
asks a database: it reads the operations, and the SQL outside of functions' bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED

ROOMS = ("tenants", "accounts", "usage", "llm", "knowledge", "agents", "chat")
# Tables that grow with every message, call or act; the others have a row for each person, agent, key or setting.
GROWING = frozenset(
    {
        "accounts_auditevent",
        "chat_conversation",
        "chat_message",
        "chat_run",
        "chat_runsegment",
        "chat_runtrace",
        "knowledge_chunk",
        "usage_usagerecord",
    }
)
_FIRST = "before the first release: there was no other beside it, and no table had grown"
# "app.migration" -> why it may.
ALLOWED: dict[str, str] = {
    "accounts.0003_identity": _FIRST,
    "accounts.0005_life": "of a table that no release had had yet",
    "chat.0004_runs": _FIRST,
    "chat.0013_approvals": _FIRST,
    "chat.0017_search": "a partial index of one tenant's conversations, and none of them is in it yet: one short read",
    "knowledge.0003_uploads": "of a table that no release had had yet",
    "tenants.0003_tenant_life": _FIRST,
    "usage.0005_ledger": _FIRST,
}

_TAKING = (
    operations.RemoveField,
    operations.DeleteModel,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)
_LOCKING = (operations.AddIndex, operations.AddConstraint)
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$|--[^\n]*", re.DOTALL)
_TABLE = r"(?:public\.)?\"?(\w+)\"?"
_BARE = r"(?![^,;]*\b(?:DEFAULT|GENERATED)\b)[^,;]*"  # of a column that the rows there are get no value for
_SQL: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("takes away", re.compile(rf"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_TABLE}", re.I)),
    ("takes away", re.compile(rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_TABLE}[^;]*?\b(?:DROP\s+COLUMN|RENAME\s)", re.I)),
    ("narrows", re.compile(rf"ALTER\s+TABLE\s+{_TABLE}[^;]*?\b(?:SET\s+NOT\s+NULL|\sTYPE\s)", re.I)),
    ("needs a default", re.compile(rf"ALTER\s+TABLE\s+{_TABLE}[^;]*?ADD\s+COLUMN\s+{_BARE}\bNOT\s+NULL", re.I)),
)
_LOCKING_SQL = (
    re.compile(rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)[^;]*?\bON\s+(?:ONLY\s+)?{_TABLE}", re.I),
    re.compile(
        rf"ALTER\s+TABLE\s+{_TABLE}[^;]*?ADD\s+CONSTRAINT\s(?![^;]*\bNOT\s+VALID\b)(?![^;]*USING\s+INDEX)", re.I
    ),
    re.compile(rf"\bUPDATE\s+(?:ONLY\s+)?{_TABLE}\s+SET\b", re.I),
    re.compile(rf"\bDELETE\s+FROM\s+(?:ONLY\s+)?{_TABLE}", re.I),
)


ADVICE = {
    "takes away": "the release before still uses it: stop using it now, take it away two releases later",
    "narrows": "the release before may still write what no longer fits: add a column, or a check that is NOT VALID",
    "needs a default": "the release before inserts rows without it: null=True, or db_default",
    "locks": "it holds a lock while it reads or writes a growing table: CONCURRENTLY, NOT VALID, or batches",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a migration. subject: the table, or table.column."""

    migration: str
    rule: str
    subject: str

    def __str__(self) -> str:
        return f"{self.migration} {self.rule}: {self.subject}; {ADVICE[self.rule]}"


def findings() -> list[Finding]:
    """All of our rooms' migrations, in the order in which they run."""
    loader = MigrationLoader(None)
    found: list[Finding] = []
    state = ProjectState(real_apps=set())
    for key in _ordered(loader):
        migration = loader.graph.nodes[key]
        if key[0] in ROOMS:
            found += migration_findings(migration, state)
        else:
            migration.mutate_state(state, preserve=False)
    return found


def problems() -> list[str]:
    """What is not allowed, with advice, and what is allowed without need."""
    found = findings()
    needed = {finding.migration for finding in found}
    said = [str(finding) for finding in found if finding.migration not in ALLOWED]
    return said + [f"{name} needs no leave: take it out of ALLOWED" for name in ALLOWED if name not in needed]


def _ordered(loader: MigrationLoader) -> list[tuple[str, str]]:
    """Every migration once, each after those that it needs."""
    order: dict[tuple[str, str], None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        order |= dict.fromkeys(loader.graph.forwards_plan(leaf))
    return list(order)


def migration_findings(migration: Migration, state: ProjectState) -> list[Finding]:
    """Those of one migration; `state`, what was before it, is brought to what is after it."""
    name, made, found = f"{migration.app_label}.{migration.name}", set[str](), list[Finding]()
    for operation in _flat(migration.operations):
        if isinstance(operation, operations.CreateModel):
            made.add(_table(migration.app_label, operation.name, operation.options))
        elif isinstance(operation, operations.RunSQL):
            found += [Finding(name, rule, table) for rule, table in sql_findings(_text(operation.sql), made)]
        else:
            found += [
                Finding(name, rule, subject)
                for rule, subject in _of_operation(operation, migration.app_label, state)
                if subject.split(".")[0] not in made
            ]
        operation.state_forwards(migration.app_label, state)
    return found


def _flat(found: Any) -> Iterator[Any]:
    for operation in found:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _of_operation(operation: Any, app: str, state: ProjectState) -> Iterator[tuple[str, str]]:
    """(rule, table or table.column) for each."""
    name = getattr(operation, "name", "")
    model = str(getattr(operation, "model_name", "") or name or getattr(operation, "old_name", "")).lower()
    before = state.models.get((app, model))
    table = _table(app, model, before.options if before else {})
    if isinstance(operation, _TAKING):
        yield "takes away", f"{table}.{name}" if isinstance(operation, operations.RemoveField) else table
    elif isinstance(operation, operations.AddField):
        yield from _of_new_field(operation.field, table, name)
    elif isinstance(operation, operations.AlterField) and before is not None:
        yield from _of_changed_field(before.fields[name], operation.field, table, name)
    elif isinstance(operation, _LOCKING) and table in GROWING and not isinstance(operation, AddIndexConcurrently):
        yield "locks", table


def _of_new_field(field: Any, table: str, name: str) -> Iterator[tuple[str, str]]:
    if field.many_to_many or isinstance(field, models.GeneratedField):
        return
    if not field.null and field.db_default is NOT_PROVIDED:
        yield "needs a default", f"{table}.{name}"
    if table in GROWING and (field.unique or field.db_index):
        yield "locks", f"{table}.{name}"


def _of_changed_field(old: Any, new: Any, table: str, name: str) -> Iterator[tuple[str, str]]:
    shorter = old.max_length is not None and (new.max_length or 0) < old.max_length
    of_another_kind = old.get_internal_type() != new.get_internal_type() and not (
        isinstance(old, models.CharField) and isinstance(new, models.TextField)
    )
    if (old.null and not new.null) or of_another_kind or (shorter and not isinstance(new, models.TextField)):
        yield "narrows", f"{table}.{name}"
    if table in GROWING and ((new.unique and not old.unique) or (new.db_index and not old.db_index)):
        yield "locks", f"{table}.{name}"


def sql_findings(text: str, made: set[str]) -> Iterator[tuple[str, str]]:
    """(rule, table) for each statement outside of functions' bodies; tables of `made` are new in the migration."""
    outside = _BODY.sub(" ", text)
    new = made | set(re.findall(rf"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_TABLE}", outside, re.I))
    for rule, pattern in _SQL:
        yield from ((rule, table) for table in pattern.findall(outside) if table not in new)
    for pattern in _LOCKING_SQL:
        yield from (("locks", table) for table in pattern.findall(outside) if table in GROWING - new)


def _text(sql: Any) -> str:
    """RunSQL takes a string, or a list of strings and of (string, parameters)."""
    if isinstance(sql, str):
        return sql
    return ";\n".join(part if isinstance(part, str) else part[0] for part in sql)


def _table(app: str, model: str, options: dict[str, Any]) -> str:
    return str(options.get("db_table") or f"{app}_{model.lower()}")
