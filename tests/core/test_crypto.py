"""Two layers of keys, and digests in place of tokens."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import crypto
from core.crypto import SecretUnreadable


@settings(max_examples=30)
@given(st.text())
def test_sealed_and_back(plain: str) -> None:
    try:
        plain.encode()
    except UnicodeEncodeError:
        return
    key = crypto.new_key()
    sealed = crypto.seal(key, plain)
    assert crypto.unseal(key, sealed) == plain
    assert len(plain) < 8 or plain not in sealed
    assert crypto.seal(key, plain) != sealed, "the same text twice must not look the same"


def test_another_key_does_not_open() -> None:
    sealed = crypto.seal(crypto.new_key(), "hunter2")
    with pytest.raises(SecretUnreadable) as error:
        crypto.unseal(crypto.new_key(), sealed)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_what_was_tampered_with_does_not_open() -> None:
    key = crypto.new_key()
    sealed = crypto.seal(key, "hunter2")
    middle = len(sealed) // 2
    flipped = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    for broken in ("", "x", "gAAAAA", "\x00", "ü", sealed[:-4], sealed[4:], sealed[:40], flipped):
        with pytest.raises(SecretUnreadable):
            crypto.unseal(key, broken)


def test_rotation() -> None:
    """The newest key wraps; any of them opens; without the old one nothing does, and says so."""
    old, new, data = crypto.new_key(), crypto.new_key(), crypto.new_key()
    wrapped = crypto.wrap([old], data)
    assert crypto.unwrap([new, old], wrapped) == data
    again = crypto.wrap([new, old], data)
    assert crypto.unwrap([new], again) == data
    with pytest.raises(SecretUnreadable):
        crypto.unwrap([new], wrapped)
    with pytest.raises(SecretUnreadable):
        crypto.unwrap([crypto.new_key()], "nonsense")


def test_digests_are_keyed() -> None:
    found = crypto.token_digest("pepper", "ak_token")
    assert found == hmac.new(b"pepper", b"ak_token", hashlib.sha256).digest()
    assert len(found) == 32
    assert found != crypto.token_digest("other", "ak_token")
    assert found != crypto.token_digest("pepper", "ak_token2")
