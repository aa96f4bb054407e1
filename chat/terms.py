"""The prices that tokens are held at."""

from __future__ import annotations

from decimal import Decimal

from llm.catalog import ModelInfo


def terms_of(info: ModelInfo, *others: ModelInfo) -> dict[str, str | None]:
    """The dearest that a token of either kind can become: nobody knows before what will be read from a cache, what
    will be thought, or whether a model that stands in will answer."""
    infos = (info, *others)
    tokens_in = _dearest(info.input_price, *(price for one in infos for price in (one.input_price, one.cached_price)))
    tokens_out = _dearest(
        info.output_price, *(price for one in infos for price in (one.output_price, one.reasoning_price))
    )
    return {"input_price": tokens_in, "output_price": tokens_out, "currency": info.currency}


def _dearest(price: Decimal | None, *others: Decimal | None) -> str | None:
    return None if price is None else format(max(price, *(one for one in others if one is not None)), "f")
