"""What an account may be, before any database sees it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from llm.models import ProviderAccount


def account(**fields: Any) -> ProviderAccount:
    return ProviderAccount(
        **{"name": "vendor", "kind": "openai_compatible", "base_url": "https://api.example.com/v1"} | fields
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"base_url": "http://10.0.0.1:8080"},
        {"base_url": "https://x.example/openai/d?api-version=1"},
        {"kind": "zhipu", "base_url": "", "api_key": "id.secret"},
        {"kind": "local", "base_url": ""},
        {"kind": "scripted", "base_url": ""},
        {"models": {"mine": {"context_tokens": 1000, "input_price": "0.5", "output_price": 1}}},
    ],
)
def test_a_proper_account(fields: dict[str, Any]) -> None:
    account(**fields).clean()


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"kind": "nobody"}, "kind", "Choose one of"),
        ({"base_url": ""}, "base_url", "Enter the vendor's base URL"),
        ({"base_url": "api.example.com/v1"}, "base_url", "must begin with http"),
        ({"base_url": "ftp://api.example.com"}, "base_url", "must begin with http"),
        ({"base_url": "https://"}, "base_url", "name a host"),
        ({"base_url": "https://[::1"}, "base_url", "not a URL"),
        ({"base_url": "https://h:port/v1"}, "base_url", "not a URL"),
        ({"base_url": "https://key@h.example/v1"}, "base_url", "user name"),
        ({"base_url": "https://h.example/v1#x"}, "base_url", "after #"),
        ({"base_url": "https://h.example/ v1"}, "base_url", "space"),
        ({"base_url": "https://h.example/v1/chat/completions"}, "base_url", "Leave /chat/completions away"),
        ({"kind": "zhipu", "base_url": ""}, "api_key", "Enter the Zhipu API key"),
        ({"kind": "anthropic", "base_url": ""}, "api_key", "Enter the Anthropic API key"),
        ({"api_key": "two words"}, "api_key", "Copy it again"),
        ({"api_key": "sk-\n1"}, "api_key", "Copy it again"),
        ({"api_key": "ключ"}, "api_key", "Copy it again"),
        ({"models": []}, "models", "Expected an object"),
        ({"models": {"mine": {"context_tokens": -1}}}, "models", "mine: context_tokens"),
        ({"models": {str(number): {} for number in range(501)}}, "models", "At most 500"),
    ],
)
def test_what_is_wrong_is_said_by_field(fields: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        account(**fields).clean()
    assert set(error.value.message_dict) == {field}
    assert said in error.value.message_dict[field][0]
    assert str(fields.get("api_key") or "never") not in str(error.value)
