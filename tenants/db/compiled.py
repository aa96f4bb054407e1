"""Queries of the hot path whose SQL is composed once: Django takes longer over that than PostgreSQL over the answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class Compiled(Generic[Row]):
    """Rows of one model, found by UUIDs.

    compose: the query, given as many UUIDs as there are `arguments`; only they may differ from one use to another.
    What it annotates is an attribute of the rows; what it would select of other models is not read.
    """

    def __init__(self, compose: Callable[..., QuerySet[Row]], arguments: int) -> None:
        self._compose = compose
        self._stand_ins = [uuid.UUID(int=number) for number in range(arguments)]
        self._made: tuple[type[Row], str, tuple[Any, ...]] | None = None

    def __call__(self, *given: uuid.UUID) -> Iterator[Row]:
        """The rows for these UUIDs."""
        if (made := self._made) is None:
            rows = self._compose(*self._stand_ins)
            made = self._made = (rows.model, *rows.query.sql_with_params())
        model, sql, params = made
        values = dict(zip(self._stand_ins, given, strict=True))
        asked = [values.get(one, one) if isinstance(one, uuid.UUID) else one for one in params]
        return iter(model._base_manager.raw(sql, asked))
