"""A sealed stream opens whole and unchanged, or not at all."""

from __future__ import annotations

import base64
import io
import os

import pytest

from core import crypto, sealed_streams
from core.sealed_streams import PIECE, SALT, TAG, Opener, Sealer, StreamDamaged

KEY = bytes(range(32))


def sealed(plain: bytes, name: str = "part") -> bytes:
    target = io.BytesIO()
    with Sealer(target, KEY, name) as sealer:
        for start in range(0, len(plain), 10_000):
            sealer.write(plain[start : start + 10_000])
    return target.getvalue()


def opened(stream: bytes, name: str = "part", key: bytes = KEY) -> bytes:
    return io.BufferedReader(Opener(io.BytesIO(stream), key, name), PIECE).read()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_what_went_in_comes_out(size: int) -> None:
    plain = os.urandom(size)
    stream = sealed(plain)
    assert opened(stream) == plain
    assert stream != sealed(plain), "each stream has a key of its own"


def test_whatever_is_done_to_it_is_found_out() -> None:
    whole = sealed(os.urandom(2 * PIECE + 5))
    piece = PIECE + TAG
    first, second = whole[SALT : SALT + piece], whole[SALT + piece : SALT + 2 * piece]
    damaged = {
        "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut off between pieces": whole[: SALT + 2 * piece],
        "cut off in a piece": whole[:-3],
        "empty": b"",
        "pieces exchanged": whole[:SALT] + second + first + whole[SALT + 2 * piece :],
        "something behind": whole + b"x",
        "another salt": os.urandom(SALT) + whole[SALT:],
    }
    for how, stream in damaged.items():
        with pytest.raises(StreamDamaged):
            pytest.fail(f"{how}: {len(opened(stream))} bytes")
    for name, key in (("other", KEY), ("part", bytes(32))):
        with pytest.raises(StreamDamaged):
            opened(whole, name, key)


def test_a_key_is_32_bytes() -> None:
    assert len(sealed_streams.key_of(crypto.new_key() + "\n")) == 32
    for text in ("", "x", base64.urlsafe_b64encode(bytes(16)).decode(), "\N{SNOWMAN}" * 44):
        with pytest.raises(ValueError, match="32 bytes"):
            sealed_streams.key_of(text)
