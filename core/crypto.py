"""Encryption of stored secrets, and keyed digests of tokens.

Two layers: FIELD_KEYS (Fernet keys, newest first) wrap one random data key per tenant; the data key
encrypts that tenant's secrets. Rotating FIELD_KEYS re-wraps data keys only, and dropping a tenant's
data key makes its secrets unreadable for good. Fernet is AES-128-CBC with HMAC-SHA256 (its specification).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class SecretUnreadable(Exception):
    """A stored secret does not open with the keys at hand. Restore the old key to FIELD_KEYS."""


def new_key() -> str:
    """A fresh Fernet key: 32 random bytes, url-safe base64."""
    return Fernet.generate_key().decode()


def wrap(keys: Sequence[str], data_key: str) -> str:
    """`data_key` encrypted under the first of `keys`."""
    return MultiFernet([Fernet(key) for key in keys]).encrypt(data_key.encode()).decode()


def unwrap(keys: Sequence[str], wrapped: str) -> str:
    """The data key, opened with whichever of `keys` fits. Raises SecretUnreadable."""
    try:
        return MultiFernet([Fernet(key) for key in keys]).decrypt(wrapped.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("No key of FIELD_KEYS opens this data key.") from None


def is_newest(keys: Sequence[str], wrapped: str) -> bool:
    """Whether the first of `keys` opens it, so that the others are not needed for it."""
    try:
        Fernet(keys[0]).decrypt(wrapped.encode())
    except InvalidToken:
        return False
    return True


def rewrap(keys: Sequence[str], wrapped: str) -> str:
    """The same under the first of `keys`. Raises SecretUnreadable."""
    try:
        return MultiFernet([Fernet(key) for key in keys]).rotate(wrapped.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("No key of FIELD_KEYS opens this.") from None


def seal(data_key: str, plain: str) -> str:
    """`plain` encrypted under a tenant's data key."""
    return Fernet(data_key).encrypt(plain.encode()).decode()


def unseal(data_key: str, sealed: str) -> str:
    """The plain text of `sealed`. Raises SecretUnreadable."""
    try:
        return Fernet(data_key).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("This secret was sealed with another data key.") from None


def token_digest(pepper: str, token: str) -> bytes:
    """HMAC-SHA256 of a bearer token (32 bytes): what is stored and looked up in its place.

    Tokens carry 256 random bits, so a slow hash would add nothing but time (P41).
    """
    return hmac.new(pepper.encode(), token.encode(), hashlib.sha256).digest()


def derived_key(secret: str, purpose: str) -> bytes:
    """32 bytes for `purpose` alone (HKDF-SHA256, RFC 5869): who learns them knows neither `secret` nor other keys."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())
