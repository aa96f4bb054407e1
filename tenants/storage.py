"""Files under the bound tenant's own folder."""

from __future__ import annotations

import posixpath
from pathlib import Path

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage

from tenants import scope


class TenantStorage(FileSystemStorage):
    """Names are `<tenant uuid>/<file>`: stored in the row whole, and refused under any other tenant (P17)."""

    def _own(self, name: str) -> str:
        folder = str(scope.current_tenant().id)
        if name.startswith(f"{folder}/"):
            return name
        raise SuspiciousFileOperation("This file belongs to another tenant.")

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        folder = str(scope.current_tenant().id)
        if not name.startswith(f"{folder}/"):
            name = f"{folder}/{name}"
        return super().get_available_name(name, max_length)

    def path(self, name: str) -> str:
        return super().path(self._own(posixpath.normpath(name)))

    def stored_bytes(self) -> int:
        """The size of all files of the bound tenant together."""
        own = Path(self.location) / str(scope.current_tenant().id)
        return sum(path.stat().st_size for path in own.rglob("*") if path.is_file())

    def url(self, name: str | None) -> str:
        raise NotImplementedError("Files are served by authorised views only, never by a URL of the storage.")
