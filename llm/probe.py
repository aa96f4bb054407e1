"""The smallest true call of a vendor: does this key work, and does this model answer?

What comes back is an answer either way; a fault of the vendor's is a result, not an error of ours.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, replace

from core.errors import PaasError, from_exception
from llm import wire
from llm.client import WireClient
from llm.deltas import ModelRequest
from llm.registry import ProviderRef, client_for

MAX_TOKENS = 16  # less is refused by some models that think
SECONDS = 20.0
AT_ONCE = 2
_places = threading.BoundedSemaphore(AT_ONCE)
# The vendor's smallest model of its day, where nobody names one.
SMALLEST = {
    "zhipu": "glm-4.5-flash",
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "deepseek": "deepseek-chat",
    "qwen": "qwen-turbo",
    "moonshot": "moonshot-v1-8k",
    "local": "smollm2",
    "scripted": "demo",
}
ADVICE = {
    "provider_auth_failed": "The vendor does not accept this API key. Copy it again, or make a new one there.",
    "provider_rate_limited": "The vendor knows the key but refuses calls for now: too many, or no credit is left.",
    "model_not_found": "The vendor does not have this model, or this key may not use it. Choose another model.",
    "provider_timeout": "The vendor did not answer in time. Check the address, or try again later.",
    "provider_unavailable": "The vendor cannot be reached or has failed. Check the address, or try again later.",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a test call found. milliseconds: until the whole answer. code and message: what was wrong, if anything."""

    ok: bool
    model: str
    milliseconds: int
    code: str = ""
    message: str = ""
    provider_message: str = ""


def provider_probe(ref: ProviderRef, model: str) -> Probe:
    """Ask `model` for a few tokens, for at most SECONDS. For threads without an event loop.

    Raises rate_limited while AT_ONCE others are under way: each holds a thread of the process.
    """
    if not _places.acquire(blocking=False):
        raise PaasError("rate_limited", "Other keys are being tested. Try again in a few seconds.", retry_after=5)
    try:
        return asyncio.run(_probe(ref, model))
    finally:
        _places.release()


async def _probe(ref: ProviderRef, model: str) -> Probe:
    started = time.monotonic()
    error: PaasError | None = None
    try:
        client = client_for(ref)
        if isinstance(client, WireClient):
            client = replace(client, endpoint=replace(client.endpoint, first_byte_timeout=SECONDS / 2))
        async with asyncio.timeout(SECONDS):
            await client.complete(ModelRequest(model, [{"role": "user", "content": "Say OK."}], MAX_TOKENS))
    except TimeoutError:
        error = PaasError("provider_timeout")
    except Exception as failure:
        error = from_exception(failure)
    finally:
        await wire.close()
    spent = round((time.monotonic() - started) * 1000)
    if error is None:
        return Probe(True, model, spent)
    said = str(error.details.get("provider_message", ""))
    return Probe(False, model, spent, error.code, ADVICE.get(error.code, error.message), said)
