"""The prices that tokens are held at."""

from __future__ import annotations

from decimal import Decimal

from llm.catalog import ModelInfo


def terms_of(info: ModelInfo) -> dict[str, str | None]:
    """The dearest that a token of either kind can become: nobody knows before what will be read from a cache, or what
    will be thought."""
    tokens_in, tokens_out = (
        _dearest(info.input_price, info.cached_price),
        _dearest(info.output_price, info.reasoning_price),
    )
    return {"input_price": tokens_in, "output_price": tokens_out, "currency": info.currency}


def _dearest(price: Decimal | None, part: Decimal | None) -> str | None:
    return None if price is None else format(max(price, part or price), "f")
