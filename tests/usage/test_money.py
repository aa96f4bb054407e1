"""Arithmetic with money: exact, rounded once, and the same in whatever order it is done."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage import money
from usage.money import Counts, Rates

price = st.decimals(0, 1_000_000, places=9, allow_nan=False, allow_infinity=False)
tokens = st.integers(0, 10**9)
amount = st.decimals(-(10**9), 10**9, places=12, allow_nan=False, allow_infinity=False)


@given(price, price, st.none() | price, st.none() | price, st.none() | price, tokens, tokens, tokens, tokens, tokens)
def test_a_call_costs_exactly_its_parts(
    of_input: Decimal,
    of_output: Decimal,
    of_cached: Decimal | None,
    of_reasoning: Decimal | None,
    of_tool: Decimal | None,
    tokens_in: int,
    tokens_out: int,
    cached: int,
    reasoning: int,
    tools: int,
) -> None:
    """Cached tokens are a part of the input and reasoning tokens of the output: no token is charged twice."""
    rates = Rates(of_input, of_output, of_cached, of_reasoning, tool_call=of_tool)
    cost = money.call_cost(rates, Counts(tokens_in, tokens_out, cached, reasoning, tools % 1000))
    if of_tool is None and tools % 1000:
        assert cost is None
        return
    cached, reasoning = min(cached, tokens_in), min(reasoning, tokens_out)
    exact = Fraction(of_input) * (tokens_in - cached) + Fraction(of_output) * (tokens_out - reasoning)
    exact += Fraction(of_input if of_cached is None else of_cached) * cached
    exact += Fraction(of_output if of_reasoning is None else of_reasoning) * reasoning
    exact = exact / 10**6 + Fraction(of_tool or 0) * (tools % 1000)
    assert cost is not None
    assert abs(Fraction(cost) - exact) <= Fraction(1, 2 * 10**12)


def test_without_a_price_there_is_no_cost() -> None:
    used = Counts(1000, 1000)
    for known in ({}, {"input": Decimal(1)}, {"output": Decimal(1)}):
        assert money.call_cost(Rates(**known), used) is None
    assert money.embeddings_cost(Rates(input=Decimal(1)), 1000) is None
    assert money.call_cost(Rates(Decimal(0), Decimal(0)), used) == 0


def test_a_part_with_a_price_of_its_own() -> None:
    rates = Rates(Decimal(2), Decimal(10), Decimal("0.5"), Decimal(20), Decimal("0.1"), Decimal("0.01"))
    assert money.call_cost(rates, Counts(1000, 100, 900, 40, 3)) == (
        (100 * Decimal(2) + 900 * Decimal("0.5") + 60 * Decimal(10) + 40 * Decimal(20)) / 10**6 + 3 * Decimal("0.01")
    )
    assert money.embeddings_cost(rates, 2_000_000) == Decimal("0.2")


@given(st.lists(amount, max_size=60), st.randoms(use_true_random=False), st.integers(1, 7))
def test_it_does_not_matter_how_it_is_added_up(amounts: list[Decimal], chance: random.Random, parts: int) -> None:
    """Shuffled, and added up in parts of parts: the same to the last place, and to the cent."""
    whole = money.added(amounts)
    assert Fraction(whole) == sum(map(Fraction, amounts), Fraction(0))
    shuffled = list(amounts)
    chance.shuffle(shuffled)
    again = money.added(money.added(shuffled[part::parts]) for part in range(parts))
    assert again == whole
    assert money.total(again, "USD") == money.total(whole, "USD")


@pytest.mark.parametrize(
    ("exact", "currency", "billed"),
    [
        ("1.005", "USD", "1.00"), ("1.015", "USD", "1.02"), ("1.0150000001", "USD", "1.02"), ("-1.005", "CNY", "-1.00"),
        ("0.5", "JPY", "0"), ("1.5", "JPY", "2"), ("1.0005", "KWD", "1.000"), ("0", "USD", "0.00"),
    ],
)  # fmt: skip
def test_rounded_half_even_to_the_unit(exact: str, currency: str, billed: str) -> None:
    assert format(money.total(Decimal(exact), currency), "f") == billed


@given(price, st.decimals(-100, 10_000, places=4, allow_nan=False, allow_infinity=False))
def test_margin(listed: Decimal, percent: Decimal) -> None:
    raised = Rates(listed, None).plus(percent)
    assert raised.output is None
    assert raised.input is not None
    assert abs(Fraction(raised.input) - Fraction(listed) * (100 + Fraction(percent)) / 100) <= Fraction(1, 2 * 10**9)


@given(amount)
def test_amounts_in_digits(one: Decimal) -> None:
    said = money.text(one)
    assert Decimal(said) == one
    assert "E" not in said
    assert len(said.partition(".")[2]) >= 2
