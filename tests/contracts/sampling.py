"""What `make test` asks of a matrix, and what is left of it for `make exhaustive` (ADR 16)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from zlib import crc32

import pytest

Asker = TypeVar("Asker")

SAMPLED = pytest.mark.parametrize("rest", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
"""A test asks at every route: as some in `make test`, as the others (`rest`) in `make exhaustive`."""


def sampled(values: Iterable[Any], kept: Callable[[Any], bool]) -> list[Any]:
    """For `parametrize`: `make test` has those that are kept, `make exhaustive` the others."""
    return [pytest.param(one, marks=() if kept(one) else pytest.mark.exhaustive) for one in values]


FEW = 2
"""So many cases of one test with a database are in `make test`; without one, cases cost nothing, and all are."""


def sample(items: Iterable[pytest.Item]) -> None:
    """Mark what is more than a FEW cases of one test with a database as `exhaustive`, where it has not said it itself."""
    cases = defaultdict[str, list[pytest.Function]](list)
    for item in items:
        if isinstance(item, pytest.Function) and {"db", "platform"} & set(item.fixturenames):
            cases[item.nodeid.partition("[")[0]].append(item)
    for of_one in cases.values():
        if any(item.get_closest_marker("exhaustive") for item in of_one):
            continue
        for item in sorted(of_one, key=lambda item: turn(item.nodeid))[FEW:]:
            item.add_marker("exhaustive")


def turn(route: str) -> int:
    """Who asks at a route, or whether a case is asked, follows from its name, so that a run can be repeated."""
    return crc32(route.encode())


def some(route: str, of: list[Asker], rest: bool) -> list[Asker]:
    """Of all who may ask at a route the one whose turn it is there; rest: the others."""
    first = turn(route) % len(of) if of else 0
    return of[:first] + of[first + 1 :] if rest else of[first : first + 1]
