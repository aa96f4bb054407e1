"""The model server that comes with the platform: llama.cpp on loopback, in OpenAI's protocol.

Its address is the account's base URL or, without one, the setting LOCAL_MODEL_URL. While the server is
not up yet, or is still reading its weights, calls fail with model_starting instead of a vendor's error.
"""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings

from core.errors import PaasError
from llm.client import WireClient, endpoint_of
from llm.deltas import Dialect
from llm.registry import ModelClient, ProviderRef

LLAMA_CPP = Dialect(unreachable="model_starting", loading="model_starting")


class Local:
    """Needs nothing when LOCAL_MODEL_URL is set. That address is the operator's, so it may be private."""

    kind = "local"

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for the local server. Raises PaasError provider_not_configured when there is none."""
        endpoint = endpoint_of(account, getattr(settings, "LOCAL_MODEL_URL", ""))
        if not endpoint.base_url:
            raise PaasError("provider_not_configured", "There is no local model on this platform. Choose another one.")
        if not account.base_url:
            endpoint = replace(endpoint, allow_private=True)
        return WireClient(endpoint, LLAMA_CPP)
