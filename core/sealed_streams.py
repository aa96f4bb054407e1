"""Files that are encrypted as they are written: whoever changes, cuts off or exchanges a piece is found out.

A stream is a salt of 16 bytes and pieces of 64 KiB, each under AES-256-GCM with a key that is this stream's own
(HKDF of the given key and the salt), its number as nonce, and a mark on the last one (the STREAM construction of
Hoang, Reyhanitabar, Rogaway and Vizár, 2015). The stream's name is authenticated with each piece.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PIECE = 64 * 1024
TAG = 16
SALT = 16


class StreamDamaged(Exception):
    """A sealed stream does not open: it was changed or cut off, or the key is another one."""


def key_of(text: str) -> bytes:
    """The 32 bytes behind a key as `core.crypto.new_key` makes it. Raises ValueError."""
    try:
        key = base64.urlsafe_b64decode(text.strip().encode())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("A key is 32 bytes in url-safe base64.")
    return key


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"agent-paas stream").derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class Sealer(io.RawIOBase):
    """Writes to `target` what is written to it, sealed. `close` writes the last piece; `target` stays open."""

    def __init__(self, target: IO[bytes], key: bytes, name: str) -> None:
        self._target, self._name = target, name.encode()
        salt = os.urandom(SALT)
        self._cipher, self._waiting, self._number = _cipher(key, salt), bytearray(), 0
        target.write(salt)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        while len(self._waiting) > PIECE:  # the last piece is the one that `close` writes
            self._put(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._put(bytes(self._waiting), last=True)
        super().close()

    def _put(self, piece: bytes, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, self._name))
        self._number += 1


class Opener(io.RawIOBase):
    """Reads what a Sealer wrote to `source`. Raises StreamDamaged; nothing of a damaged piece is given out."""

    def __init__(self, source: IO[bytes], key: bytes, name: str) -> None:
        self._source, self._name = source, name.encode()
        self._cipher, self._number = _cipher(key, source.read(SALT)), 0
        self._following = source.read(PIECE + TAG)
        self._opened = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._opened and not self._ended:
            self._open_one()
        count = min(len(buffer), len(self._opened))
        buffer[:count] = self._opened[:count]
        self._opened = self._opened[count:]
        return count

    def _open_one(self) -> None:
        piece, self._following = self._following, self._source.read(PIECE + TAG)
        self._ended = not self._following
        try:
            plain = self._cipher.decrypt(_nonce(self._number, last=self._ended), piece, self._name)
        except InvalidTag:
            raise StreamDamaged("It was changed or cut off, or it was sealed with another key.") from None
        self._opened = memoryview(plain)
        self._number += 1
