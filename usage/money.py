"""The one place of arithmetic with money. All of it is Decimal; a float is refused.

- A price is of a million tokens (of one call for tools), kept to 9 places: `price()`.
- What one call costs is kept to 12 places: `call_cost()`.
- A sum of entries is exact. It is rounded once, at the end, to the unit of its currency: `total()`.

Both roundings are half-even, so they favour nobody. Since entries are never rounded to cents, and the total is
rounded once, it does not matter in what order or in which parts they are added up.

Vendors report cached tokens as a part of the input and reasoning tokens as a part of the output (OpenAI's
`prompt_tokens_details.cached_tokens` and `completion_tokens_details.reasoning_tokens`, and all that speak its
protocol). So a part with a price of its own is taken out of the whole; without one it costs as much as the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

MILLION = Decimal(1_000_000)
PRICE_PLACES = Decimal("1e-9")
COST_PLACES = Decimal("1e-12")
# Enough for 10^9 tokens at 10^9 a million, to the last place, summed up 10^12 times.
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
# Minor units of ISO 4217 that are not hundredths.
UNITS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "KWD": 3, "BHD": 3, "OMR": 3, "JOD": 3, "TND": 3}


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in `currency`; None is unknown. input, output, cached, reasoning, embeddings: of a million tokens."""

    input: Decimal | None = None
    output: Decimal | None = None
    cached: Decimal | None = None
    reasoning: Decimal | None = None
    embeddings: Decimal | None = None
    tool_call: Decimal | None = None
    currency: str = "USD"

    @property
    def priced(self) -> bool:
        """Whether a chat call can be given a cost."""
        return self.input is not None and self.output is not None

    def kept(self) -> Rates:
        """As an entry of the ledger keeps them."""
        kept: dict[str, Any] = {name: price(getattr(self, name)) for name in PRICES}
        return replace(self, **kept)

    def plus(self, percent: Decimal) -> Rates:
        """With a margin on top, as kept."""
        if not percent:
            return self.kept()
        with localcontext(EXACT):
            factor = 1 + percent / 100
            found = {name: getattr(self, name) for name in PRICES}
            raised: dict[str, Any] = {
                name: None if amount is None else price(amount * factor) for name, amount in found.items()
            }
        return replace(self, **raised)


PRICES = tuple(field.name for field in fields(Rates) if field.name != "currency")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a call used. cached is a part of input, reasoning a part of output."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    tool_calls: int = 0


def price(amount: Decimal | None) -> Decimal | None:
    """A price as it is kept."""
    return None if amount is None else amount.quantize(PRICE_PLACES, context=EXACT)


def call_cost(rates: Rates, used: Counts) -> Decimal | None:
    """What a chat call costs, to 12 places; None when something that it used has no price."""
    if rates.input is None or rates.output is None or (used.tool_calls and rates.tool_call is None):
        return None
    cached, reasoning = min(used.cached, used.input), min(used.reasoning, used.output)
    of_cached = rates.input if rates.cached is None else rates.cached
    of_reasoning = rates.output if rates.reasoning is None else rates.reasoning
    with localcontext(EXACT):
        tokens = (
            (used.input - cached) * rates.input
            + cached * of_cached
            + (used.output - reasoning) * rates.output
            + reasoning * of_reasoning
        )
        cost = tokens / MILLION + used.tool_calls * (rates.tool_call or 0)
        return cost.quantize(COST_PLACES)


def embeddings_cost(rates: Rates, tokens: int) -> Decimal | None:
    """What an embeddings call costs, to 12 places; None when it has no price."""
    if rates.embeddings is None:
        return None
    with localcontext(EXACT):
        return (tokens * rates.embeddings / MILLION).quantize(COST_PLACES)


def added(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    with localcontext(EXACT):
        return sum(amounts, Decimal(0)).quantize(COST_PLACES)


def total(exact: Decimal, currency: str) -> Decimal:
    """A sum as it is billed: rounded half-even to the currency's unit."""
    return exact.quantize(Decimal(1).scaleb(-UNITS.get(currency, 2)), context=EXACT)


def text(amount: Decimal) -> str:
    """An amount in digits, without exponent and without needless zeros; two places at least."""
    digits = format(amount.normalize(EXACT), "f") if amount else "0"
    whole, _, places = digits.partition(".")
    return f"{whole}.{places.ljust(2, '0')}"
