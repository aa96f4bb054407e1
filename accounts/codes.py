"""Links and codes that work once: hand-over to a tenant's host, password reset, change of address.

Only the HMAC is stored. Redeeming deletes the row under the platform's binding, so of two that try at the same moment
one succeeds (A15).
"""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings

from accounts.models import OneTimeCode, User
from core import clock
from core.crypto import token_digest
from core.errors import PaasError
from tenants import scope


def digest(code: str) -> bytes:
    """What is stored in the code's place."""
    return token_digest(settings.SECRET_KEY, code)


def issue(
    purpose: str, *, seconds: float, user: User | None = None, tenant_id: uuid.UUID | None = None, **data: Any
) -> str:
    """A new code, good for `seconds` and for `purpose` only: 256 random bits, url-safe."""
    code = secrets.token_urlsafe(32)
    with scope.platform():
        OneTimeCode.objects.create(
            digest=digest(code),
            purpose=purpose,
            user=user,
            tenant_id=tenant_id,
            data=data,
            expires_at=clock.now() + timedelta(seconds=seconds),
        )
    return code


def peek(purpose: str, code: str) -> OneTimeCode:
    """The code's row, without using it up: to show a form first. Raises link_invalid."""
    with scope.platform():
        found = (
            OneTimeCode.objects.select_related("user", "tenant")
            .filter(digest=digest(code), purpose=purpose, expires_at__gt=clock.now())
            .first()
        )
    if found is None:
        raise PaasError("link_invalid")
    return found


def redeem(purpose: str, code: str) -> OneTimeCode:
    """The code's row, for the first caller only. Raises link_invalid: unknown, of another purpose, used, or too old."""
    found = peek(purpose, code)
    with scope.platform():
        deleted, _ = OneTimeCode.objects.filter(digest=found.digest).delete()
    if not deleted:
        raise PaasError("link_invalid")
    return found


def revoke(purpose: str, user: User) -> None:
    """Make the user's open codes of this purpose worthless."""
    with scope.platform():
        OneTimeCode.objects.filter(purpose=purpose, user=user).delete()


def purge() -> int:
    """Remove what has expired; returns how many. Runs bound to the platform."""
    return OneTimeCode.objects.filter(expires_at__lte=clock.now()).delete()[0]
