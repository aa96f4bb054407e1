"""Vendors that speak chat completions at an address of their own: they need a key and no base URL.

Addresses from the vendors' API documentation; who buys from another region (DashScope's in Singapore, Moonshot's
international one) enters that as base URL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.errors import PaasError
from llm.client import WireClient, endpoint_of
from llm.deltas import OPENAI, Dialect, ModelRequest
from llm.registry import ModelClient, ProviderRef


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor: its kind, its name for people, and its address."""

    kind: str
    name: str
    base_url: str
    dialect: Dialect = OPENAI

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for the account. Raises PaasError provider_not_configured without a key."""
        if not account.api_key:
            raise PaasError("provider_not_configured", f"This {self.name} provider has no API key. Enter one.")
        adapt = qwen_request if self.kind == "qwen" else None
        return WireClient(endpoint_of(account, self.base_url), self.dialect, adapt=adapt)


def qwen_request(request: ModelRequest) -> ModelRequest:
    """The request as DashScope takes it: thinking is `enable_thinking`, and only in a stream may it be on."""
    if "thinking" not in request.parameters:
        return request
    parameters = dict(request.parameters)
    value = parameters.pop("thinking")
    kind = value.get("type") if isinstance(value, dict) else value
    return replace(request, parameters=parameters | {"enable_thinking": kind in (True, "enabled")})


OPENAI_VENDOR = Vendor("openai", "OpenAI", "https://api.openai.com/v1")
DEEPSEEK = Vendor("deepseek", "DeepSeek", "https://api.deepseek.com")
QWEN = Vendor("qwen", "Qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1")
MOONSHOT = Vendor("moonshot", "Moonshot", "https://api.moonshot.cn/v1")
