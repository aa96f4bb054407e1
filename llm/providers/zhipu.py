"""Zhipu's GLM models (open.bigmodel.cn, and z.ai by its base URL).

Differences from OpenAI, by Zhipu's API documentation:
- usage always comes in the last chunk, without `stream_options`;
- `thinking: {"type": "enabled" | "disabled"}` switches the reasoning of GLM-4.5 and later, which streams as
  `reasoning_content`; here `thinking` may also be true, false, or the word alone;
- `tool_choice` knows "auto" only, and anything else is an error there, so it is left out (with "none" the tools too);
- an image is base64 text without the head of a data URL;
- errors carry business codes, in the body of an HTTP error or of a 200;
- a key is `<id>.<secret>`. It is sent whole, as Zhipu's own SDK does by default. Written as
  `jwt:<id>.<secret>` it is used in the older way: a signed token that lives three minutes is sent, and the
  secret never leaves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import replace
from typing import Any

import orjson

from core.errors import PaasError
from llm.client import WireClient, endpoint_of
from llm.deltas import Dialect, ModelRequest
from llm.registry import ModelClient, ProviderRef

BASE_URL = "https://open.bigmodel.cn/api/paas/v4"
SIGNED_PREFIX = "jwt:"
TOKEN_SECONDS = 180

# From the table of error codes in Zhipu's API documentation.
ERROR_CODES = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004", "1110", "1112", "1220"), "provider_auth_failed"),
    **dict.fromkeys(("1113", "1210", "1212", "1213", "1214", "1215", "1301"), "provider_request_rejected"),
    **dict.fromkeys(("1302", "1303", "1304", "1305", "1308"), "provider_rate_limited"),
    **dict.fromkeys(("500", "1120", "1230", "1234"), "provider_unavailable"),
    **dict.fromkeys(("1211", "1222"), "model_not_found"),
    "1261": "context_too_long",
}

GLM = Dialect(sends_usage_option=False, error_codes=ERROR_CODES, sends_encoding_format=False)


class Zhipu:
    """Needs a key only; the base URL defaults to open.bigmodel.cn."""

    kind = "zhipu"

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for the account. Raises PaasError provider_not_configured without a key."""
        if not account.api_key:
            raise PaasError("provider_not_configured", "This Zhipu provider has no API key. Enter one.")
        endpoint = endpoint_of(account, BASE_URL)
        if not account.api_key.startswith(SIGNED_PREFIX):
            return WireClient(endpoint, GLM, adapt=adapted)
        key_id, dot, secret = account.api_key.removeprefix(SIGNED_PREFIX).partition(".")
        if not (key_id and dot and secret):
            raise PaasError("provider_not_configured", "A Zhipu key that signs has the form jwt:<id>.<secret>.")
        return WireClient(endpoint, GLM, adapt=adapted, key=lambda: signed_token(key_id, secret, time.time()))


def adapted(request: ModelRequest) -> ModelRequest:
    """The request as Zhipu takes it: `thinking` as an object, no `tool_choice` but "auto", images bare."""
    parameters, tools = dict(request.parameters), request.tools
    messages = [_bare(message) if isinstance(message.get("content"), list) else message for message in request.messages]
    if "thinking" in parameters:
        parameters["thinking"] = _thinking(parameters["thinking"])
    if parameters.get("tool_choice", "auto") != "auto":
        tools = None if parameters["tool_choice"] == "none" else tools
        del parameters["tool_choice"]
    return replace(request, messages=messages, parameters=parameters, tools=tools)


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose images are base64 text alone, as Zhipu's own SDK sends them."""
    parts = []
    for part in message["content"]:
        if part.get("type") == "image_url" and part["image_url"]["url"].startswith("data:"):
            url = part["image_url"]["url"].partition(",")[2]
            part = {"type": "image_url", "image_url": part["image_url"] | {"url": url}}  # noqa: PLW2901
        parts.append(part)
    return message | {"content": parts}


def signed_token(key_id: str, secret: str, now: float) -> str:
    """Zhipu's token: a JWT (HS256, header `sign_type: SIGN`) over the key's id and `now`, in milliseconds.

    `now` is Unix time in seconds; the token holds for three minutes.
    """
    header = {"alg": "HS256", "sign_type": "SIGN"}
    payload = {"api_key": key_id, "exp": round((now + TOKEN_SECONDS) * 1000), "timestamp": round(now * 1000)}
    signed = b".".join(_base64(orjson.dumps(part)) for part in (header, payload))
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + _base64(digest)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _thinking(value: Any) -> Any:
    if isinstance(value, bool):
        return {"type": "enabled" if value else "disabled"}
    return {"type": value} if isinstance(value, str) else value
