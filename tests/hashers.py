"""A cheap password hash: the real one takes a quarter of a second on purpose."""

import bcrypt
import pytest

from accounts.hashers import QueuedBCrypt


class FastBCrypt(QueuedBCrypt):
    rounds = 4


def costs_of_hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cost of each hash that is made from now on: how long it takes, without a clock."""
    costs: list[int] = []
    whole = bcrypt.hashpw

    def hashpw(password: bytes, salt: bytes) -> bytes:
        costs.append(int(salt.split(b"$")[2]))
        return whole(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    return costs
