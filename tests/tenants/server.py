"""What PostgreSQL says of the connection of this thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

WHERE = "SELECT current_user::text, current_setting('search_path')"


def where() -> tuple[str, str]:
    """(role, search path) that a statement on a new cursor runs under."""
    with connection.cursor() as cursor:
        cursor.execute(WHERE)
        found: tuple[str, str] = cursor.fetchone()
        return found


def on_server() -> tuple[str, str]:
    """(role, search path) of the server's session as it is, without any binding first."""
    row = connection.connection.execute("SELECT current_setting('role'), current_setting('search_path')").fetchone()
    return row[0], row[1]


class Undo(Exception):
    """Rolls a block back."""


@contextmanager
def undone() -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back at its end."""
    try:
        with transaction.atomic():
            yield
            raise Undo
    except Undo:
        pass
