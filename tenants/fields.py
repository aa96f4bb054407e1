"""A text column that is encrypted under the bound tenant's data key."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import models

from core import crypto
from tenants import scope


@lru_cache(maxsize=1024)
def _data_key(wrapped: str) -> str:
    return crypto.unwrap(settings.FIELD_KEYS, wrapped)


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Plain text in Python, sealed in the database. "" stays "" (nothing to hide).

    Reading or writing needs a bound tenant (TenantNotBound); a row sealed for another tenant does not
    open (core.crypto.SecretUnreadable). It cannot be filtered on: sealing the same text twice differs.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if not value:
            return value
        return crypto.unseal(_data_key(scope.current_tenant().wrapped_key), value)

    def get_prep_value(self, value: Any) -> Any:
        if not value:
            return value
        return crypto.seal(_data_key(scope.current_tenant().wrapped_key), str(value))

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name in ("isnull",):
            return super().get_lookup(lookup_name)
        raise TypeError(f"{self.name} is encrypted and cannot be filtered with {lookup_name!r}.")
