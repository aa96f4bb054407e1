"""How a message says which files it came with: in a line at its end, so that every model reads it, in history too.

People are shown the files instead (`taken_apart`). Who writes such a line by hand has named files, no more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

_ONE = r'"[^"\n]{1,120}" \(id [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\)'
_NOTE = re.compile(rf"\n\n\[Files: {_ONE}(?:, {_ONE}){{0,19}}\]\Z")
_NAMED = re.compile(r'"([^"\n]{1,120})" \(id ([0-9a-f-]{36})\)')


def note_of(files: Sequence[tuple[UUID, str]]) -> str:
    """The line for these (ids, names); "" for none."""
    named = ", ".join(f'"{name}" (id {file_id})' for file_id, name in files)
    return f"\n\n[Files: {named}]" if named else ""


def taken_apart(content: str) -> tuple[str, list[dict[str, Any]]]:
    """(what the person wrote, [{id, name}] of the files that it came with)."""
    found = _NOTE.search(content) if content.endswith("]") else None
    if found is None:
        return content, []
    return content[: found.start()], [{"id": one[2], "name": one[1]} for one in _NAMED.finditer(found[0])]
