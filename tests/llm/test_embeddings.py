"""Embeddings over the wire: both encodings, whichever the vendor chooses, and answers that are none."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from bench.embeddings import tokens_of, vector_of
from bench.vendor import Vendor
from core.errors import PaasError
from core.ids import uuid7
from llm.embeddings import EmbeddingRequest, parsed
from llm.registry import ProviderRef, client_for


async def test_every_provider_gives_vectors(closing_wire: None) -> None:
    texts = ["a", "你好", "a"]
    async with Vendor(key="id.secret") as vendor:
        for kind, url in (
            ("openai_compatible", vendor.base_url),
            ("zhipu", vendor.zhipu_url),
            ("local", vendor.base_url),
        ):
            client = client_for(ProviderRef(uuid7(), kind, url, "id.secret", allow_private=True))
            found = await client.embed(EmbeddingRequest("embed-8", texts))
            assert (found.vectors, found.input_tokens) == ([vector_of(text, 8) for text in texts], tokens_of(texts))
            text = (await client.embed(EmbeddingRequest("embed-8", [[1, 2, 3]], dimensions=3, base64=True))).vectors[0]
            assert isinstance(text, str)
            assert list(struct.unpack("<3f", base64.b64decode(text))) == vector_of([1, 2, 3], 3)
            asked = vendor.stats.bodies[-1]
            assert asked.get("encoding_format") == (
                None if kind == "zhipu" else "base64"
            )  # GLM's API has no such field
            assert set(asked) <= {"model", "input", "dimensions", "encoding_format"}
        assert (await client.embed(EmbeddingRequest("embed-silent-2", ["a"]))).input_tokens is None
        for model, code in (
            ("fault-500", "provider_unavailable"),
            ("fault-429", "provider_rate_limited"),
            ("no", "model_not_found"),
        ):
            with pytest.raises(PaasError) as error:
                await client.embed(EmbeddingRequest(model, ["a"]))
            assert error.value.code == code
    scripted = await client_for(ProviderRef(uuid7(), "scripted")).embed(EmbeddingRequest("m", texts))
    assert scripted.vectors[0] == scripted.vectors[2] != scripted.vectors[1]
    assert scripted.input_tokens == EmbeddingRequest("m", texts).estimate


def test_vectors_come_in_the_asked_form_and_in_order() -> None:
    numbers = base64.b64encode(struct.pack("<2f", 0.5, -1)).decode()
    rows = [{"index": 1, "embedding": numbers}, {"index": 0, "embedding": [1, 0.25]}]
    document = orjson.dumps({"data": rows})
    assert parsed(document, EmbeddingRequest("m", ["a", "b"])).vectors == [[1, 0.25], [0.5, -1.0]]
    assert parsed(document, EmbeddingRequest("m", ["a", "b"], base64=True)).vectors[1] == numbers


@pytest.mark.parametrize(
    "document",
    [
        b"not json",
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}]},  # one for two
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [True]}, {"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": "AAA="}, {"index": 1, "embedding": [1.0]}]},
        {"data": None},
        [],
    ],
    ids=str,
)
def test_an_answer_that_is_not_one_vector_an_input(document: Any) -> None:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    with pytest.raises(PaasError) as error:
        parsed(body, EmbeddingRequest("m", ["a", "b"], base64=True))
    assert error.value.code == "provider_bad_response"


@pytest.mark.parametrize("tokens", [-1, 1.5, "9", 2**60, None, True])
def test_a_report_that_cannot_be_is_none(tokens: Any) -> None:
    document = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": tokens}}
    assert parsed(orjson.dumps(document), EmbeddingRequest("m", ["a"])).input_tokens is None
