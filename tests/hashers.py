"""A cheap password hash: the real one takes a quarter of a second on purpose."""

from accounts.hashers import QueuedBCrypt


class FastBCrypt(QueuedBCrypt):
    rounds = 4
