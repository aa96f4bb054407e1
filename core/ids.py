"""UUIDv7: ids that sort by time, so that indexes stay compact and lists need no extra column."""

from __future__ import annotations

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> uuid.UUID:
    """A UUID version 7 (RFC 9562 §5.7), strictly increasing within a process.

    48 bits of milliseconds, then a 12-bit counter that starts at random in its lower half each
    millisecond (RFC 9562 §6.2, method 1), then 62 random bits.
    """
    global _last_ms, _counter
    random = int.from_bytes(os.urandom(10), "big")
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, (random >> 64) & 0x7FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        high = (_last_ms << 16) | 0x7000 | _counter
    return uuid.UUID(int=(high << 64) | (0b10 << 62) | (random & ((1 << 62) - 1)))
