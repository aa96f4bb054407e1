"""What a trace tells of statements: two words each, and no value."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from core import tracing

TARGET = re.compile(r"""\b(?:FROM|INTO|UPDATE)\s+(?:public\.)?"?(\w+)|\bSELECT\s+(?:public\.)?(\w+)\(""")
MOST_CHARS = 8_000  # of a statement that are looked at
MOST_KNOWN = 1_024  # the ORM makes as many statements as there are lengths of lists in them


def span(sql: Any) -> tracing.Span:
    """A span of a statement, below the present one; nothing where there is none."""
    told = summary(sql[:MOST_CHARS]) if isinstance(sql, str) else "SQL"
    return tracing.child(told, {"db.system.name": "postgresql", "db.query.summary": told}, "client")


@lru_cache(MOST_KNOWN)
def summary(sql: str) -> str:
    """What a statement does: `SELECT start_turn`. Values are no part of a statement."""
    target = TARGET.search(sql)
    verb = sql.split(None, 1)[0].upper()
    return f"{verb} {target[1] or target[2]}" if target else verb
