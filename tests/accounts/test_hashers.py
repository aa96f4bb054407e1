"""Hashing passwords takes one core at most, however many sign in (P39)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import Any

import bcrypt
import pytest
from django.contrib.auth.hashers import BCryptSHA256PasswordHasher, check_password, identify_hasher

from accounts import hashers
from accounts.hashers import ImportedBCrypt, QueuedBCrypt, imported_password
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


@pytest.mark.parametrize("kind", [b"2a", b"2b", b"2y"])
def test_passwords_that_bcrypt_hashed_elsewhere(kind: bytes) -> None:
    """As they lie in a Phase 2 database: the whole of what bcrypt reads counts, and no more (P39)."""
    long = "密" * 40  # 120 bytes; bcrypt reads 72
    for password, wrong in (("correct horse", "correct horse "), (long, "密" * 23 + "x" * 17)):
        made = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).replace(b"$2b$", b"$%s$" % kind)
        stored = imported_password(made.decode())
        assert stored is not None
        assert isinstance(identify_hasher(stored), ImportedBCrypt)
        upgraded: list[str] = []
        assert check_password(password, stored, upgraded.append)
        assert upgraded == [password], "and it is hashed anew"
        assert not check_password(wrong, stored)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$12$short",
        "$2b$31$" + "a" * 53,
        "$2b$03$" + "a" * 53,
        "$2x$12$" + "a" * 53,
        "$argon2id$v=19$x",
    ],
)
def test_what_is_no_such_hash_is_no_password(text: str) -> None:
    """A cost of 31 would take days at the first sign-in."""
    assert imported_password(text) is None
