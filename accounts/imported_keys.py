"""API keys that another system made and of which only the SHA-256 came here.

What is stored of one is the HMAC of that SHA-256, so a copy of our table is worth no more than with keys of our own.
Such a token has whatever form it was given there. A rotation gives it one of ours.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError

from accounts import audit, key_limits
from accounts.key_limits import Limits
from accounts.models import ApiKey
from core.crypto import token_digest
from tenants import scope

TOKEN = re.compile(r"[!-~]{16,200}\Z")
HASH = re.compile(r"(?:sha-?256[:$])?([0-9a-f]{64})\Z", re.IGNORECASE)
HINT = "imported"


def digest(token: str) -> bytes:
    """What is stored in the place of an imported token."""
    return stored_digest(hashlib.sha256(token.encode()).hexdigest())


def stored_digest(sha256: str) -> bytes:
    """The same, from the hexadecimal SHA-256 of the token."""
    return token_digest(settings.API_KEY_PEPPER, f"sha256:{sha256}")


def sha256_of(key_hash: str) -> str | None:
    """The hexadecimal SHA-256 that another system stored; None where it stored something else, such as bcrypt."""
    found = HASH.match(key_hash)
    return found[1].lower() if found else None


def key_import(
    *,
    key_id: uuid.UUID,
    name: str,
    sha256: str,
    scopes: Iterable[str],
    created_by: uuid.UUID | None,
    expires_at: datetime | None,
    actor: str,
) -> ApiKey:
    """A key of the bound tenant whose token is known elsewhere. Runs in the caller's transaction.

    created_by: as of `keys.key_create`. Raises ValidationError.
    """
    own = Limits(scopes=tuple(scopes), expires_at=expires_at)
    if wrong := key_limits.mistakes(own):
        raise ValidationError(wrong)
    key = ApiKey(
        id=key_id,
        tenant_id=scope.current_tenant().id,
        name=name,
        digest=stored_digest(sha256),
        hint=HINT,
        scopes=list(own.scopes),
        created_by_id=created_by,
        expires_at=expires_at,
    )
    key.clean_fields(exclude=["digest", "created_by", "parent"])
    key.save(force_insert=True)
    audit.record("api_key.imported", actor=actor, target=str(key.id), name=name, scopes=list(own.scopes))
    return key
