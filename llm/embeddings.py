"""A call of a vendor's embeddings: texts in, one vector for each out. OpenAI's protocol, which the others share."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llm import wire
from llm.deltas import OPENAI, Dialect, Endpoint
from llm.faults import bad_response, vendor_error
from llm.tokens import estimate_tokens

Input = str | list[int]  # a text, or its tokens in the model's own vocabulary


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What is asked for. dimensions None: as many as the model gives. base64: little-endian 32-bit floats, encoded."""

    model: str
    inputs: Sequence[Input]
    dimensions: int | None = None
    base64: bool = False

    @property
    def estimate(self) -> int:
        """How many tokens the inputs will be, about: what is reserved, and what counts if the vendor does not say."""
        return sum(estimate_tokens(one) if isinstance(one, str) else len(one) for one in self.inputs) or 1


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector an input, in order: base64 text where that was asked for. input_tokens None: the vendor is silent."""

    vectors: list[list[float] | str]
    input_tokens: int | None


async def embed(endpoint: Endpoint, request: EmbeddingRequest, dialect: Dialect = OPENAI) -> Embeddings:
    """The vectors of a vendor's model. Raises PaasError as wire.complete does."""
    body: dict[str, Any] = {"model": request.model, "input": list(request.inputs)}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.base64 and dialect.sends_encoding_format:
        body["encoding_format"] = "base64"
    return parsed(await wire.post(endpoint, "/embeddings", body, dialect), request, dialect, endpoint.api_key)


def parsed(body: bytes, request: EmbeddingRequest, dialect: Dialect = OPENAI, secret: str = "") -> Embeddings:
    """A vendor's document as vectors in the asked form, whichever form it chose itself.

    Raises PaasError: the vendor's error when it is one, provider_bad_response when it is not one vector an input.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_response("its answer is not JSON", body) from None
    if isinstance(document, dict) and "data" not in document and ("error" in document or "code" in document):
        raise vendor_error(document, dialect, secret)
    try:
        rows = sorted(document["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(len(request.inputs))):
            raise ValueError("not one vector an input")
        vectors = [_vector(row["embedding"], request.base64) for row in rows]
        tokens = (document.get("usage") or {}).get("prompt_tokens")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise bad_response("its answer has another shape than embeddings") from None
    return Embeddings(vectors, tokens if type(tokens) is int and 0 <= tokens < 2**53 else None)


def _vector(found: Any, as_text: bool) -> list[float] | str:
    if isinstance(found, str):
        raw = binascii.a2b_base64(found, strict_mode=True)
        if not raw or len(raw) % 4:
            raise ValueError("not a vector of 32-bit floats")
        return found if as_text else _little(array("f", raw)).tolist()
    if not found or not all(type(number) in (float, int) for number in found):
        raise ValueError("not a vector")
    return base64.b64encode(_little(array("f", found)).tobytes()).decode() if as_text else found


def _little(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
