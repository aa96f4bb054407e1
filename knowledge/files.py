"""The files behind documents, in the tenant's storage."""

from __future__ import annotations

import hashlib
from typing import IO

from django.core.files.storage import default_storage
from django.db import transaction

from core.errors import PaasError
from tenants import scope


def drop(keys: list[str]) -> None:
    """Delete files at once."""
    for key in keys:
        default_storage.delete(key)


def drop_after_commit(keys: list[str]) -> None:
    """Delete files when, and only when, the present transaction has committed."""
    tenant = scope.current_tenant()

    def work() -> None:
        with scope.bind(tenant):
            drop(keys)

    transaction.on_commit(work)


def opened(key: str) -> IO[bytes]:
    """A file, open. Raises not_found where the storage has lost it."""
    try:
        content: IO[bytes] | None = default_storage.open(key).file
    except FileNotFoundError:
        content = None
    if content is None:
        raise PaasError("not_found", "The file is not there any more. Put it in again.")
    return content


def checksum(content: IO[bytes]) -> str:
    """The SHA-256 of a file, in hexadecimal digits; it is at its beginning before and after."""
    digest = hashlib.sha256()
    content.seek(0)
    while part := content.read(1 << 20):
        digest.update(part)
    content.seek(0)
    return digest.hexdigest()
