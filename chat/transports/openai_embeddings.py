"""OpenAI's embeddings: what may be asked, and how vectors look."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from chat.client_tools import invalid
from chat.transports.openai_request import MOST_CHARS
from core.errors import PaasError
from llm.embeddings import EmbeddingRequest, Embeddings, Input

MOST_INPUTS = 2048
MOST_DIMENSIONS = 8192
MOST_TOKEN_ID = 2**31


def parse(body: dict[str, Any]) -> tuple[str, EmbeddingRequest]:
    """The model's id and the request that a body asks for. Raises validation_failed or message_too_long."""
    model, dimensions, form = body.get("model"), body.get("dimensions"), body.get("encoding_format")
    if not isinstance(model, str) or not model:
        raise invalid("model", "model is required: the id of an embeddings model.")
    if dimensions is not None and not (type(dimensions) is int and 1 <= dimensions <= MOST_DIMENSIONS):
        raise invalid("dimensions", f"dimensions is a whole number from 1 to {MOST_DIMENSIONS}.")
    if form not in (None, "float", "base64"):
        raise invalid("encoding_format", "encoding_format is float or base64.")
    if not isinstance(body.get("user"), str | None):
        raise invalid("user", "user is a text.")
    return model, EmbeddingRequest("", _inputs(body.get("input")), dimensions, form == "base64")


def _inputs(value: Any) -> list[Input]:
    """A text, a list of texts, a list of tokens, or a list of such lists."""
    found = [value] if isinstance(value, str) or _are_tokens(value) else value
    if not isinstance(found, list) or not 0 < len(found) <= MOST_INPUTS:
        raise invalid("input", f"input is a text or a list of 1 to {MOST_INPUTS} texts (or lists of tokens).")
    if not (all(isinstance(one, str) and one for one in found) or all(_are_tokens(one) for one in found)):
        raise invalid("input", "Every input is a text that is not empty; or every one is a list of tokens.")
    if sum(len(one) for one in found) > settings.MAX_MESSAGE_CHARS * MOST_CHARS:
        raise PaasError("message_too_long", details={"param": "input"})
    return found


def _are_tokens(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(type(token) is int and 0 <= token < MOST_TOKEN_ID for token in value)


def view(model: str, found: Embeddings, counted: int) -> dict[str, Any]:
    """The answer; `counted`: tokens, where the vendor said nothing."""
    tokens = counted if found.input_tokens is None else found.input_tokens
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(found.vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
