from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command

from llm import catalog
from llm.catalog import ModelInfo, known_models, model_info
from llm.registry import PROVIDERS


def test_every_kind_has_its_vendors() -> None:
    assert set(catalog.VENDORS) == set(PROVIDERS)


def test_the_file_is_what_the_command_makes_of_the_price_list() -> None:
    call_command("refresh_catalog", "--check", verbosity=0)


def test_a_priced_model() -> None:
    info = model_info("zhipu", "GLM-4.7", {})
    assert info == model_info("zhipu", "glm-4.7")
    assert info.priced
    assert isinstance(info.input_price, Decimal)
    assert (info.context_tokens, info.max_output_tokens, info.currency) == (200_000, 128_000, "USD")


def test_a_model_that_only_the_international_list_has() -> None:
    assert model_info("zhipu", "glm-4.6").priced


@pytest.mark.parametrize("model", ["gpt-4o-mini", "deepseek-chat", "kimi-k2.6", "glm-4.6"])
def test_an_openai_compatible_account_may_be_any_vendor(model: str) -> None:
    assert model_info("openai_compatible", model).priced


@pytest.mark.parametrize(
    "model", ["gpt-5-nano-2025-12-01", "deepseek-chat-latest", "ft:gpt-4o-mini-2024-07-18:acme::1"]
)
def test_an_edition_has_the_price_of_its_family(model: str) -> None:
    assert model_info("openai_compatible", model).priced


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai_compatible", "bench-0-0-200"),
        ("openai_compatible", "deepseek-r1:7b"),
        ("openai_compatible", ""),
        ("openai_compatible", "gpt-4o-mini-of-our-own"),
        ("scripted", "gpt-4o"),
        ("local", "gpt-4o"),
        ("nothing", "gpt-4o"),
    ],
)
def test_what_nobody_knows_is_unpriced_and_never_free(kind: str, model: str) -> None:
    info = model_info(kind, model)
    assert info == ModelInfo()
    assert not info.priced
    assert info.input_price is None


def test_the_embedded_model() -> None:
    info = model_info("local", "smollm2-135m-instruct")
    assert info.context_tokens == 4096
    assert not info.priced


def test_no_price_is_zero_or_without_its_other_half() -> None:
    for vendor in {vendor for vendors in catalog.VENDORS.values() for vendor in vendors}:
        for row in catalog._load()[vendor]:
            assert ("input_price" in row) == ("output_price" in row), row
            assert all(Decimal(row[name]) >= 0 for name in row if name.endswith("_price"))
            assert row.get("context_tokens", 1) > 0


# --- an account's own entries ---------------------------------------------------------------------


def test_own_entries_win_field_by_field() -> None:
    info = model_info("zhipu", "glm-4.7", {"glm-4.7": {"context_tokens": 32_000}})
    assert info.context_tokens == 32_000
    assert info.input_price == model_info("zhipu", "glm-4.7").input_price


def test_own_prices_replace_the_catalogued_ones_as_a_whole() -> None:
    own = {"input_price": "2", "output_price": 8.5, "currency": "CNY"}
    info = model_info("zhipu", "glm-4.7", {"glm-4.7": own})
    assert (info.input_price, info.output_price, info.currency) == (Decimal("2"), Decimal("8.5"), "CNY")
    assert info.cached_price is None


def test_free_must_be_said() -> None:
    info = model_info("local", "mine", {"mine": {"input_price": 0, "output_price": 0}})
    assert info.input_price == 0
    assert info.priced


def test_a_price_can_be_taken_away() -> None:
    own = {"input_price": None, "output_price": None}
    assert not model_info("openai_compatible", "gpt-4o", {"gpt-4o": own}).priced


@pytest.mark.parametrize(
    "entry",
    [
        5,
        [],
        {"context_tokens": 0},
        {"context_tokens": "many"},
        {"context_tokens": True},
        {"max_output_tokens": 1.5},
        {"input_price": -1},
        {"input_price": "NaN"},
        {"input_price": "Infinity"},
        {"input_price": "cheap"},
        {"input_price": True},
        {"input_price": []},
        {"currency": "dollars"},
        {"currency": "CNY"},
        {"price": 1},
        {"input_price": 1, "currency": "USD"},
    ],
)
def test_a_malformed_entry_says_which_model(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"^mine: "):
        model_info("local", "mine", {"mine": entry})


def test_suggestions() -> None:
    assert "glm-4.7" in known_models("zhipu")
    assert known_models("scripted") == []
    assert not any(name.startswith(("ft:", "text-", "dall-e")) for name in known_models("openai_compatible"))


# --- cost -----------------------------------------------------------------------------------------


def test_loading_needs_no_price_package() -> None:
    code = (
        "import sys; from llm import catalog; assert catalog.model_info('openai_compatible', 'gpt-4o').priced;"
        "print('genai_prices' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
