"""Password hashing that cannot take the machine: one hash at a time in a process, a short queue, then a refusal.

bcrypt at cost 12 takes a quarter of a second of a core (P39, T23): unbounded, eight sign-ins a second would fill two.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import BCryptSHA256PasswordHasher

from core.errors import PaasError

SLOTS = 1
QUEUE = 20

_slots = threading.BoundedSemaphore(SLOTS)
_places = threading.BoundedSemaphore(SLOTS + QUEUE)


@contextmanager
def slot() -> Iterator[None]:
    """A turn at hashing. Raises rate_limited when QUEUE others wait already."""
    if not _places.acquire(blocking=False):
        raise PaasError(
            "rate_limited", "Many people are signing in right now. Try again in a few seconds.", retry_after=5
        )
    try:
        with _slots:
            yield
    finally:
        _places.release()


class QueuedBCrypt(BCryptSHA256PasswordHasher):
    """BCrypt over SHA-256, so that passwords of any length count whole; cost 12."""

    rounds = 12

    def encode(self, password: str, salt: Any) -> str:
        with slot():
            return super().encode(password, salt)  # verify() encodes, so it takes its turn here too
