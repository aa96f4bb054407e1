"""Anthropic's Claude models, over their own Messages wire (llm/anthropic.py); also of others that speak it."""

from __future__ import annotations

from dataclasses import replace

from core.errors import PaasError
from llm.anthropic import MESSAGES
from llm.client import WireClient, endpoint_of
from llm.registry import ModelClient, ProviderRef

BASE_URL = "https://api.anthropic.com/v1"


class Anthropic:
    """Needs a key only. A base URL may end before `/v1`, as Anthropic's own clients take it."""

    kind = "anthropic"

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for the account. Raises PaasError provider_not_configured without a key."""
        if not account.api_key:
            raise PaasError("provider_not_configured", "This Anthropic provider has no API key. Enter one.")
        endpoint = endpoint_of(account, BASE_URL)
        base_url = endpoint.base_url.rstrip("/")
        if not base_url.endswith("/v1"):
            endpoint = replace(endpoint, base_url=f"{base_url}/v1")
        return WireClient(endpoint, MESSAGES)
