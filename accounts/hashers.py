"""Password hashing that cannot take the machine: one hash at a time in a process, a short queue, then a refusal.

bcrypt at cost 12 takes a quarter of a second of a core (P39, T23): unbounded, eight sign-ins a second would fill two.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import BCryptPasswordHasher, BCryptSHA256PasswordHasher

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


BCRYPT_BYTES = 72
# As bcrypt writes it: kind, cost, salt and hash. Beyond these costs, one sign-in would take seconds of a core.
PLAIN_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}\Z")


class ImportedBCrypt(BCryptPasswordHasher):
    """bcrypt as other systems store it, for passwords that came with an import; the first sign-in hashes them anew.

    Only the first 72 bytes of a password count, as they did where it was set: bcrypt 5 refuses longer ones.
    """

    rounds = 12

    def encode(self, password: str, salt: Any) -> str:
        bcrypt = self._load_library()  # type: ignore[attr-defined]  # the stubs leave it out
        with slot():
            data: bytes = bcrypt.hashpw(password.encode()[:BCRYPT_BYTES], salt)
        return f"{self.algorithm}${data.decode('ascii')}"


def imported_password(bcrypt_hash: str) -> str | None:
    """What `User.password` holds for a hash that bcrypt made elsewhere; None for what is no such hash."""
    return f"{ImportedBCrypt.algorithm}${bcrypt_hash}" if PLAIN_BCRYPT.match(bcrypt_hash) else None
