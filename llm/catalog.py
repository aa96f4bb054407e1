"""What is known of models: how much they read and write, and what they cost.

The data is catalog.json beside this file, written by `manage.py refresh_catalog` (its docstring says from
what). An account's own entries (`ProviderAccount.models`) win over it, field by field. A price that nobody
knows is None, "unpriced"; it is never taken for zero.

A model is looked up among the vendors of its provider kind. An `openai_compatible` account may be any
vendor, so there the list price of the vendor whose model has that id is taken; who runs such a model
himself, or buys it from somebody else, sets the price in the account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from llm.features import ASSUMED, FEATURES, features_of

CATALOG_FILE = Path(__file__).with_name("catalog.json")

# The vendors of each kind, in the order in which they are asked. Zhipu's models that the Chinese list
# does not have are looked up in the international one.
VENDORS: dict[str, tuple[str, ...]] = {
    "zhipu": ("zhipuai", "zai"),
    "openai_compatible": ("openai", "deepseek", "moonshotai", "zai", "zhipuai", "local"),
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "deepseek": ("deepseek",),
    "qwen": (),
    "moonshot": ("moonshotai",),
    "local": ("local",),
    "scripted": (),
}

_TOKENS = ("context_tokens", "max_output_tokens")
_PRICES = ("input_price", "output_price", "cached_price", "reasoning_price", "embedding_price", "tool_price")
# What may follow a catalogued family name and still be the same model at the same price: a date, or a word
# for the newest edition. Not a size after a colon, as Ollama names what it runs itself. A fine-tuned
# OpenAI model (`ft:<model>:<owner>::<id>`) has the price of its family whatever follows.
_EDITION = re.compile(r"-(\d{4}[\d-]*|latest|preview.*|exp)")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Limits in tokens and prices per million tokens in `currency`; None is unknown.

    cached_price: of input tokens that the vendor read from its cache; None: input_price holds for them.
    reasoning_price: of output tokens that are thinking; None: output_price holds for them. embedding_price: of the
    input of an embeddings model. tool_price: of one call of a tool.
    Where a vendor's price rises with the length of the input, the lowest step is given. features: words of
    llm.features. embeddings, rerank: it gives vectors, or scores, and no answers; only an account says that of a model,
    and embedding_price is that of the input of both.
    """

    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    cached_price: Decimal | None = None
    currency: str = "USD"
    reasoning_price: Decimal | None = None
    embedding_price: Decimal | None = None
    tool_price: Decimal | None = None
    features: frozenset[str] = ASSUMED
    embeddings: bool = False
    rerank: bool = False

    @property
    def priced(self) -> bool:
        """Whether a call of this model can be given a cost."""
        return self.input_price is not None and self.output_price is not None


UNKNOWN = ModelInfo()


def model_info(provider_kind: str, model: str, overrides: Mapping[str, Any] | None = None) -> ModelInfo:
    """What is known of `model` for an account of this kind; `overrides` is ProviderAccount.models.

    Raises ValueError when the override of this model is malformed (ProviderAccount.clean refuses those).
    """
    listed = _catalogued(provider_kind, model)
    # An account of Zhipu's is surely theirs; any other may serve what only has the name of a vendor's model.
    features = features_of(listed[0] if listed else provider_kind, model)
    found = replace(listed[2] if listed else UNKNOWN, features=features)
    own = (overrides or {}).get(model)
    return found if own is None else replace(found, **override_fields(model, own))


def listed_at(provider_kind: str, model: str) -> tuple[str, str] | None:
    """(vendor, name) under which the list has `model` for an account of this kind: the key of its price's history."""
    found = _catalogued(provider_kind, model)
    return found[:2] if found else None


def listing() -> tuple[date, str, list[tuple[str, str, ModelInfo]]]:
    """The list's day, its source, and every (vendor, name, what is known) of it."""
    document = orjson.loads(CATALOG_FILE.read_bytes())
    vendors: dict[str, list[dict[str, Any]]] = document["vendors"]
    found = [(vendor, name, _info(row)) for vendor, rows in vendors.items() for row in rows for name in row["names"]]
    return date.fromisoformat(document["as_of"]), document["source"], found


def known_models(provider_kind: str) -> list[str]:
    """The ids that the catalogue has for a kind, sorted: suggestions for people, not a limit."""
    rows = [item for vendor in VENDORS.get(provider_kind, ()) for item in _index(vendor)[0].items()]
    return sorted({name for name, row in rows if ":" not in name and "embedding_price" not in row})


def answers(entry: Mapping[str, Any]) -> bool:
    """Whether a model that an account declares so can be talked to: it is neither for vectors nor for scores."""
    return not (entry.get("embeddings") or entry.get("rerank"))


def override_fields(model: str, entry: Any) -> dict[str, Any]:
    """The fields of ModelInfo that an account sets for a model.

    `entry` maps field names to whole tokens, prices (numbers or decimal text, 0 for free) or a currency of
    three letters; null takes a catalogued value away. `features` is a list of words of llm.features, `embeddings`
    and `rerank` are true or false. Raises ValueError with a sentence for people.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f'{model}: expected an object such as {{"context_tokens": 128000}}.')
    fields: dict[str, Any] = {}
    for name, value in entry.items():
        if name in _READERS:
            fields[name] = _READERS[name](model, name, value)
        elif name == "currency":
            if not (isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value)):
                raise ValueError(f"{model}: currency must be three capital letters, such as USD or CNY.")
            fields[name] = value
        else:
            raise ValueError(f"{model}: there is no field {name!r}; use {', '.join(_READERS)} or currency.")
    prices = [name for name in _PRICES if fields.get(name) is not None]
    if "currency" in fields and "embedding_price" in prices and "input_price" not in prices:
        fields |= {"input_price": None, "output_price": None}  # catalogued ones may be in another currency
    elif "currency" in fields and not {"input_price", "output_price"} <= set(prices):
        raise ValueError(f"{model}: a currency needs input_price and output_price beside it.")
    if {"input_price", "output_price"} <= set(prices):
        fields.setdefault("cached_price", None)  # a catalogued cache price belongs to the catalogued prices
        fields.setdefault("reasoning_price", None)
        fields.setdefault("currency", "USD")
    return fields


def _tokens(model: str, name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{model}: {name} must be a whole number of tokens, at least 1.")
    return value


def _price(model: str, name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise InvalidOperation
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price < 0 or price > 1_000_000:
        raise ValueError(f'{model}: {name} must be a price per million tokens, such as "0.60".')
    return price


def _ability(model: str, name: str, value: Any) -> frozenset[str] | bool:
    if name in ("embeddings", "rerank"):
        if not isinstance(value, bool):
            raise ValueError(f"{model}: {name} must be true or false.")
        return value
    if not isinstance(value, list) or not all(word in FEATURES for word in value):
        raise ValueError(f"{model}: features must be a list of these words: {', '.join(FEATURES)}.")
    return frozenset(value)


_READERS: dict[str, Callable[[str, str, Any], Any]] = {
    **dict.fromkeys(_TOKENS, _tokens),
    **dict.fromkeys(_PRICES, _price),
    **dict.fromkeys(("features", "embeddings", "rerank"), _ability),
}


@lru_cache(maxsize=2048)
def _catalogued(kind: str, model: str) -> tuple[str, str, ModelInfo] | None:
    name = model.lower()
    for vendor in VENDORS.get(kind, ()):
        exact, prefixes = _index(vendor)
        if name in exact:
            return vendor, name, _info(exact[name])
        for prefix, row in prefixes:
            rest = name.removeprefix(prefix)
            if rest != name and (prefix.startswith("ft:") or _EDITION.fullmatch(rest)):
                return vendor, row["names"][0], _info(row)
    return None


def _info(row: Mapping[str, Any]) -> ModelInfo:
    prices: dict[str, Any] = {name: Decimal(row[name]) for name in _PRICES if name in row}
    return ModelInfo(
        row.get("context_tokens"), row.get("max_output_tokens"), currency=row.get("currency", "USD"), **prices
    )


@cache
def _index(vendor: str) -> tuple[dict[str, dict[str, Any]], list[tuple[str, dict[str, Any]]]]:
    """A vendor's rows by exact lower-case name, and by family name, longest first."""
    rows = _load().get(vendor, [])
    exact = {name: row for row in rows for name in row["names"]}
    prefixes = [(prefix, row) for row in rows for prefix in row.get("families", ())]
    return exact, sorted(prefixes, key=lambda item: -len(item[0]))


@cache
def _load() -> dict[str, list[dict[str, Any]]]:
    vendors: dict[str, list[dict[str, Any]]] = orjson.loads(CATALOG_FILE.read_bytes())["vendors"]
    return vendors
