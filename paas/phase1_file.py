"""Reads the SQLite database of a Phase 1 or Phase 2 installation, row by row, and says which rows are bad."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Table -> the columns that it must have. `tenant_id` comes with Phase 2.
ALWAYS = {
    "sessions": {"id", "agent_type", "created_at", "updated_at", "config", "meta"},
    "messages": {"id", "session_id", "role", "content", "tokens_used", "created_at", "meta"},
    "agent_logs": {
        "id", "session_id", "agent_type", "task", "status", "error_message", "execution_time_ms", "created_at"
    },
}  # fmt: skip
PHASE_2 = {
    "tenants": {"id", "name", "display_name", "plan", "status"},
    "users": {"id", "tenant_id", "email", "password_hash", "role", "status", "created_at"},
    "api_keys": {"id", "tenant_id", "user_id", "key_hash", "name", "scopes", "expires_at"},
    "tenant_quotas": {"tenant_id", "max_users", "max_agents", "max_sessions_per_day", "max_tokens_per_month"},
}


class FileError(Exception):
    """The file cannot be imported at all; the text is for whoever runs the import."""


class BadRow(Exception):
    """One row cannot be imported; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it lies in the file. `id` is what reports name it by."""

    table: str
    id: str
    columns: dict[str, Any]

    def text(self, name: str, *, most: int | None = None, empty: bool = False) -> str:
        """A text. Raises BadRow; NUL, which PostgreSQL cannot hold, becomes the replacement character."""
        value = self.columns.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise BadRow(f"{name} is no text")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise BadRow(f"{name} is not UTF-8")
        if most is not None and len(value) > most:
            raise BadRow(f"{name} is longer than {most} characters")
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")

    def optional_text(self, name: str) -> str:
        """A text, "" where there is none. Raises BadRow."""
        return "" if self.columns.get(name) is None else self.text(name, empty=True)

    def id_of(self, name: str = "id") -> uuid.UUID:
        """An id. Raises BadRow."""
        try:
            return uuid.UUID(self.text(name))
        except ValueError:
            raise BadRow(f"{name} is no UUID") from None

    def optional_id_of(self, name: str) -> uuid.UUID | None:
        """An id, or None. Raises BadRow."""
        return None if self.columns.get(name) is None else self.id_of(name)

    def moment(self, name: str) -> datetime:
        """A moment: UTC where the file names no zone. Raises BadRow."""
        try:
            found = datetime.fromisoformat(self.text(name))
        except ValueError:
            raise BadRow(f"{name} is no time") from None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    def optional_moment(self, name: str) -> datetime | None:
        """A moment, or None. Raises BadRow."""
        return None if self.columns.get(name) is None else self.moment(name)

    def count(self, name: str) -> int:
        """A whole number from 0; 0 where there is none. Raises BadRow."""
        value = self.columns.get(name)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value < 2**63:
            raise BadRow(f"{name} is no whole number from 0")
        return value

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """One of these words. Raises BadRow."""
        value = self.text(name)
        if value not in known:
            raise BadRow(f"{name} is {value[:40]!r}, not one of {', '.join(known)}")
        return value

    def json(self, name: str, kind: type) -> Any:
        """A JSON object or list; an empty one where there is none. Raises BadRow."""
        text = self.optional_text(name)
        if not text or text == "null":
            return kind()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRow(f"{name} is malformed JSON") from None
        if not isinstance(found, kind):
            raise BadRow(f"{name} is JSON of the wrong kind")
        if "\\u0000" in text:
            raise BadRow(f"{name} holds NUL, which PostgreSQL cannot store")
        return found


class Phase1File:
    """An open file. phase: 1 or 2. Raises FileError for what is no such database. Close it."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileError(f"There is no file {path}.")
        self._sqlite = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self._sqlite.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            self._columns = self._read_columns()
        except sqlite3.DatabaseError as error:
            raise FileError(f"{path} is no SQLite database: {error}.") from None
        self.phase = 2 if set(self._columns) >= PHASE_2.keys() else 1
        wanted = dict(ALWAYS)
        if self.phase == 2:
            wanted |= PHASE_2
            wanted = {table: names | {"tenant_id"} if table in ALWAYS else names for table, names in wanted.items()}
        for table, names in wanted.items():
            if missing := names - self._columns.get(table, set()):
                raise FileError(f"The table {table} lacks {', '.join(sorted(missing))}: no file of Phase {self.phase}.")

    def close(self) -> None:
        """Let go of the file."""
        self._sqlite.close()

    def tenants(self) -> list[dict[str, Any]]:
        """The tenants of a Phase 2 file, by name; none of Phase 1."""
        return [] if self.phase == 1 else list(self._select("SELECT * FROM tenants ORDER BY name", ()))

    def count(self, table: str, tenant: str | None) -> int:
        """How many rows a table has of a tenant (None: of all)."""
        where, values = self._where(table, tenant)
        return int(self._sqlite.execute(f"SELECT count(*) FROM {table}{where}", values).fetchone()[0])  # noqa: S608

    def rows(self, table: str, tenant: str | None, *order: str) -> Iterator[Row]:
        """A table's rows of a tenant (None: all), by these columns and then as they were written."""
        where, values = self._where(table, tenant)
        # Names of ours only: tables and columns of this module.
        query = f"SELECT * FROM {table}{where} ORDER BY {', '.join([*order, 'rowid'])}"  # noqa: S608
        for columns in self._select(query, values):
            named = columns.get("id") or columns.get("tenant_id")
            yield Row(table, str(named).encode("utf-8", "replace").decode()[:100], columns)

    def _where(self, table: str, tenant: str | None) -> tuple[str, tuple[str, ...]]:
        return ("", ()) if tenant is None or table not in self._columns else (" WHERE tenant_id = ?", (tenant,))

    def _select(self, query: str, values: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        cursor = self._sqlite.execute(query, values)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def _read_columns(self) -> dict[str, set[str]]:
        tables = self._sqlite.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        known = {name for (name,) in tables} & (ALWAYS.keys() | PHASE_2.keys())
        return {table: {row[1] for row in self._sqlite.execute(f"PRAGMA table_info({table})")} for table in known}
