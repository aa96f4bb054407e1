"""Databases as Phase 1 and Phase 2 leave them."""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

TABLES = {
    "tenants": "id text, name text, display_name text, plan text, status text, settings text, created_at text, "
    "updated_at text",
    "users": "id text, tenant_id text, email text, password_hash text, role text, status text, last_login_at text, "
    "created_at text",
    "api_keys": "id text, tenant_id text, user_id text, key_hash text, name text, scopes text, expires_at text, "
    "last_used_at text, created_at text",
    "tenant_quotas": "tenant_id text, max_users int, max_agents int, max_sessions_per_day int, "
    "max_tokens_per_month int, current_month_tokens int, reset_date text",
    "sessions": "id text, {tenant}agent_type text, created_at text, updated_at text, config text, meta text",
    "messages": "id text, session_id text, {tenant}role text, content text, tokens_used int, created_at text, meta text",
    "agent_logs": "id text, session_id text, {tenant}agent_type text, task text, status text, error_message text, "
    "execution_time_ms int, created_at text",
}
PHASE_1 = ("sessions", "messages", "agent_logs")
BEGUN = datetime(2025, 3, 1, 9, 0)


def at(seconds: float) -> str:
    """A time as Phase 1 stored it: UTC without a zone."""
    return (BEGUN + timedelta(seconds=seconds)).isoformat(sep=" ")


class OldFile:
    """A SQLite file to fill. tenant: of Phase 2, the tenant that rows are of unless they say otherwise."""

    def __init__(self, path: Path, phase: int) -> None:
        self.path, self.phase = path, phase
        self.tenant = str(uuid.uuid4()) if phase == 2 else None
        self._sqlite = sqlite3.connect(path, check_same_thread=False)
        for table, columns in TABLES.items():
            if phase == 2 or table in PHASE_1:
                self._sqlite.execute(
                    f"CREATE TABLE {table} ({columns.format(tenant='tenant_id text, ' if phase == 2 else '')})"
                )

    def add(self, table: str, **columns: Any) -> str:
        """A row; its id, made up unless it is given. Objects become JSON text."""
        if table != "tenant_quotas":
            columns = {"id": str(uuid.uuid4())} | columns
        if self.phase == 2 and table != "tenants":
            columns = {"tenant_id": self.tenant} | columns
        values = [json.dumps(one) if isinstance(one, dict | list) else one for one in columns.values()]
        marks = ", ".join("?" * len(columns))
        self._sqlite.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
        return str(columns.get("id"))

    def session(self, agent: str = "echo_agent", seconds: float = 0, **columns: Any) -> str:
        moments = {"created_at": at(seconds), "updated_at": at(seconds + 60)}
        return self.add("sessions", **({"agent_type": agent, "config": {}, "meta": {}} | moments | columns))

    def message(self, session: str, role: str, content: str | None, seconds: float = 0, **columns: Any) -> str:
        own = {"session_id": session, "role": role, "content": content, "tokens_used": 0, "created_at": at(seconds)}
        return self.add("messages", **({**own, "meta": "{}"} | columns))

    def log(self, session: str | None, task: str, seconds: float = 0, **columns: Any) -> str:
        own = {"session_id": session, "agent_type": "echo_agent", "task": task, "status": "success"}
        return self.add("agent_logs", **(own | {"execution_time_ms": 40, "created_at": at(seconds)} | columns))

    def done(self) -> Path:
        """The file, written."""
        self._sqlite.commit()
        return self.path
