"""What a tenant is charged for a model: the model's info from llm/, with the prices that usage/ decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from llm.catalog import ModelInfo, listed_at, model_info, override_fields
from llm.models import ProviderAccount
from llm.platform_accounts import models_of
from tenants import scope
from usage import prices
from usage.money import Rates

# Fields of a model's info as the price list calls them.
COMPONENTS = {
    "input_price": "input", "output_price": "output", "cached_price": "cached", "reasoning_price": "reasoning",
    "embedding_price": "embeddings", "tool_price": "tool_call", "currency": "currency",
}  # fmt: skip


def charged_info(account: ProviderAccount, model: str, at: datetime | None = None) -> ModelInfo:
    """What is known of a model of an account, with the prices that the bound tenant is charged at a moment (None: now).

    usage/prices.py says what wins over what, and for how long it is remembered.
    """
    models = models_of(account)
    entry = models.get(model)
    own = {} if entry is None else override_fields(model, entry)
    listed = listed_at(account.kind, model)
    places = ((account.kind, model.lower()), *([listed] if listed else []))
    charged = prices.terms_of(scope.current_tenant().id, places, at).charged(
        {COMPONENTS[field]: value for field, value in own.items() if field in COMPONENTS},
        unlisted=rates_of(model_info(account.kind, model)),
    )
    found = model_info(account.kind, model, models)
    return replace(found, **{field: getattr(charged, name) for field, name in COMPONENTS.items()})


def rates_of(info: ModelInfo) -> Rates:
    """A model's prices as the price list has them."""
    return Rates(**{name: getattr(info, field) for field, name in COMPONENTS.items()})
