"""What the doctor says: something that is wrong, or will be, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)


@dataclass(frozen=True, slots=True)
class Finding:
    """check: the permanent name of what was looked at. mend: a command or a sentence.

    fix: mends it, where that is safe and loses nothing; run only when a person has said so.
    """

    level: str
    check: str
    what: str
    mend: str
    fix: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "level": self.level, "check": self.check, "what": self.what, "mend": self.mend,
            "can_fix": self.fix is not None,
        }  # fmt: skip


Check = Callable[[], Iterator[Finding]]
