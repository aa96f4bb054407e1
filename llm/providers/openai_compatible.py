"""Any vendor that speaks OpenAI's chat completions: OpenAI, DeepSeek, Qwen, Moonshot, vLLM, Ollama ..."""

from __future__ import annotations

from core.errors import PaasError
from llm.client import WireClient, endpoint_of
from llm.registry import ModelClient, ProviderRef


class OpenAICompatible:
    """Needs a base URL; a key only where the vendor wants one."""

    kind = "openai_compatible"

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for the account's base URL. Raises PaasError provider_not_configured without one."""
        if not account.base_url:
            raise PaasError("provider_not_configured", "This model provider has no base URL. Set one.")
        return WireClient(endpoint_of(account))
