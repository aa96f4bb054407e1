"""Column types of pgvector, as far as they are needed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models


class HalfVectorField(models.Field):  # type: ignore[type-arg]
    """A pgvector halfvec of any length: 16-bit floats, sent as text. Read it in SQL; rows do not carry it around."""

    def db_type(self, connection: Any) -> str:
        return "public.halfvec"

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else as_text(value)


def as_text(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(format(number, ".6g") for number in vector) + "]"
