"""Whether an operator is acting as somebody in the present request, for audit rows and for what is allowed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Acting:
    """An impersonation that is open: accounts.models.Impersonation as a value."""

    id: uuid.UUID
    operator_id: uuid.UUID
    operator_email: str
    person_email: str
    reason: str
    until: datetime


_current: ContextVar[Acting | None] = ContextVar("acting", default=None)


def current() -> Acting | None:
    """The impersonation of the request at hand, if it is one."""
    return _current.get()


@contextmanager
def serving(acting: Acting | None) -> Iterator[None]:
    """Say for the block that an operator acts as somebody (None: that nobody does)."""
    token = _current.set(acting)
    try:
        yield
    finally:
        _current.reset(token)
