"""Rerankers of vendors: one protocol, and its three ways to say what was used."""

from __future__ import annotations

import pytest

from bench.embeddings import tokens_of
from bench.vendor import Vendor
from core.errors import PaasError
from core.ids import uuid7
from llm.registry import ProviderRef, client_for
from llm.rerank import Reranked, RerankRequest, parsed

PASSAGES = ["the pump", "a blocked pump", "nothing"]


async def test_every_provider_gives_scores(closing_wire: None) -> None:
    request = RerankRequest("rerank-words", "blocked pump", PASSAGES)
    async with Vendor(key="id.secret") as vendor:
        for kind, url in (
            ("openai_compatible", vendor.base_url),
            ("zhipu", vendor.zhipu_url),
            ("local", vendor.base_url),
        ):
            client = client_for(ProviderRef(uuid7(), kind, url, "id.secret", allow_private=True))
            used = tokens_of(["blocked pump", *PASSAGES])
            assert await client.rerank(request) == Reranked([0.5, 1.0, 0.0], used), "in the order of the passages"
            assert set(vendor.stats.bodies[-1]) == {"model", "query", "documents", "top_n"}
        for model, code in (("fault-500", "provider_unavailable"), ("no", "model_not_found"),
                            ("rerank-short", "provider_bad_response")):  # fmt: skip
            with pytest.raises(PaasError) as error:
                await client.rerank(RerankRequest(model, "a", PASSAGES))
            assert error.value.code == code
        assert (await client.rerank(RerankRequest("rerank-silent", "a", PASSAGES))).input_tokens is None
    scripted = await client_for(ProviderRef(uuid7(), "scripted")).rerank(request)
    assert scripted == Reranked([0.5, 1.0, 0.0], request.estimate)
    with pytest.raises(PaasError) as error:
        await client_for(ProviderRef(uuid7(), "anthropic", "", "key")).rerank(request)
    assert error.value.code == "model_not_found"


def test_answers_of_rerankers() -> None:
    request = RerankRequest("m", "a b", ["x", "y"])
    rows = b'{"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": -2}]'
    for more, tokens in (
        (b', "usage": {"total_tokens": 7}}', 7),
        (b', "meta": {"tokens": {"input_tokens": 9}}}', 9),  # Cohere's
        (b"}", None),
        (b', "usage": {"total_tokens": -1}}', None),
    ):
        assert parsed(rows + more, request) == Reranked([-2, 0.5], tokens)
    for body in (
        *(b"<html>", b"[]", b"{}", b'{"results": []}', rows.replace(b"1,", b"0,") + b"}"),
        rows.replace(b"0.5", b'"x"') + b"}",
        rows.replace(b"0.5", b'"nan"') + b"}",
    ):
        with pytest.raises(PaasError) as refused:
            parsed(body, request)
        assert refused.value.code == "provider_bad_response", body
    with pytest.raises(PaasError):
        parsed(b'{"error": {"message": "no such model", "type": "invalid_request_error"}}', request)
