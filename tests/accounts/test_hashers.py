"""Hashing passwords takes one core at most, however many sign in (P39)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import Any

import pytest
from django.contrib.auth.hashers import BCryptSHA256PasswordHasher

from accounts import hashers
from accounts.hashers import QueuedBCrypt
from core.errors import PaasError


def test_one_at_a_time_twenty_wait_the_rest_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    go, inside, most, refused = Event(), Semaphore(0), [0, 0], Semaphore(0)

    def slow(self: Any, password: str, salt: Any) -> str:
        most[0] += 1
        most[1] = max(most)
        inside.release()
        go.wait(10)
        most[0] -= 1
        return "hash"

    monkeypatch.setattr(BCryptSHA256PasswordHasher, "encode", slow)

    def hash_one() -> str:
        try:
            return QueuedBCrypt().encode("x", "salt")
        except PaasError as error:
            refused.release()
            return error.code

    many = hashers.SLOTS + hashers.QUEUE + 5
    with ThreadPoolExecutor(many) as threads:
        results = [threads.submit(hash_one) for _ in range(many)]
        assert inside.acquire(timeout=10)
        for _ in range(5):  # refused at once, while the first still hashes
            assert refused.acquire(timeout=10)
        go.set()
        found = sorted(result.result() for result in results)
    assert found == ["hash"] * (many - 5) + ["rate_limited"] * 5
    assert most[1] == hashers.SLOTS


@pytest.mark.parametrize("length", [8, 64, 72, 73, 200])
def test_long_passwords_count_whole(length: int) -> None:
    """bcrypt itself stops at 72 bytes, or fails."""
    hasher = type("Cheap", (QueuedBCrypt,), {"rounds": 4})()
    password = "密" * (length // 3) + "x" * (length % 3 + 1)
    encoded = hasher.encode(password, hasher.salt())
    assert hasher.verify(password, encoded)
    assert not hasher.verify(password[:-1] + "y", encoded)


def test_the_cost_is_twelve() -> None:
    assert QueuedBCrypt.rounds == 12
    assert "$12$" in QueuedBCrypt().encode("x", QueuedBCrypt().salt())
