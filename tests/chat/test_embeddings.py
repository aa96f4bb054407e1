"""`/v1/embeddings`: vectors, and the same money as everywhere: held, settled, recorded, exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bench.embeddings import vector_of
from bench.vendor import Vendor
from chat import embeddings, recovery
from core.errors import PaasError
from llm import breaker
from llm.embeddings import EmbeddingRequest
from tests.chat.ledger import eventually
from tests.conftest import in_thread

Ask = Callable[..., Any]


@pytest.fixture
def ask(site: Any, api_key: Any, embedder: None) -> Ask:
    """`await ask(input=...)`: (status, body) of a call."""

    own = api_key()

    async def call(token: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
        client = site.client("acme", token=token or own)
        async with client.post("/v1/embeddings", json={"model": "vectors/embed-4", "input": "a"} | fields) as response:
            return response.status, await response.json()

    return call


async def test_vectors_and_their_bill(ask: Ask, ledger: Any) -> None:
    before = ledger.quota()["used"] if ledger.rows("SELECT 1 FROM usage_quota") else 0
    status, body = await ask(input=["ab", "c"], dimensions=2, user="me")
    assert status == 200
    assert body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": vector_of("ab", 2)},
            {"object": "embedding", "index": 1, "embedding": vector_of("c", 2)},
        ],
        "model": "vectors/embed-4",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    record = ledger.one("SELECT * FROM usage_usagerecord")
    assert (record["kind"], record["input_tokens"], record["output_tokens"], record["counted"]) == (
        "embeddings",
        3,
        0,
        False,
    )
    assert (record["provider"], record["model"], record["agent_id"]) == ("vectors", "embed-4", None)
    assert (record["input_price"], record["cost"]) == (Decimal("0.02"), Decimal("0.00000006"))
    assert ledger.quota()["used"] == before + 3
    assert not ledger.left_behind()
    status, body = await ask(model="embed-silent-4", input="four")  # by its name alone, for no other has it
    assert (status, body["model"], body["usage"]["prompt_tokens"]) == (200, "vectors/embed-silent-4", 2)
    assert ledger.one("SELECT counted, cost FROM usage_usagerecord WHERE model = 'embed-silent-4'") == {
        "counted": True,
        "cost": None,
    }


async def test_what_fails_costs_nothing_and_holds_nothing(ask: Ask, ledger: Any) -> None:
    status, body = await ask(model="vectors/fault-500")
    assert (status, body["error"]["code"]) == (502, "provider_unavailable")
    assert ledger.one("SELECT outcome, error_code FROM usage_reservation") == {
        "outcome": "failed",
        "error_code": "provider_unavailable",
    }
    assert ledger.rows("SELECT 1 FROM usage_usagerecord") == []
    ledger.allow(2)
    status, body = await ask(input="1234567890")
    assert (status, body["error"]["code"]) == (429, "quota_exceeded")
    ledger.allow(None)
    ledger.limit(1, "cost", currency="USD")
    status, body = await ask(model="vectors/embed-silent-4")
    assert body["error"]["code"] == "model_unpriced"
    assert (await ask())[0] == 200
    assert not ledger.left_behind()


@pytest.mark.exhaustive
async def test_a_vendor_that_is_dead_is_left_alone(ask: Ask, vendor: Vendor, ledger: Any) -> None:
    """A45: as for chat. After FAULTS calls nobody waits for it, nothing is held, and whoever asks is told when to
    come back; another model of the same account goes on."""
    for _ in range(breaker.FAULTS):
        assert (await ask(model="vectors/fault-500"))[0] == 502
    asked, held = vendor.stats.requests, len(ledger.rows("SELECT 1 FROM usage_reservation"))
    status, body = await ask(model="vectors/fault-500")
    assert (status, body["error"]["code"]) == (502, "provider_unavailable")
    assert (vendor.stats.requests, len(ledger.rows("SELECT 1 FROM usage_reservation"))) == (asked, held)
    assert (await ask())[0] == 200


async def test_a_client_that_leaves_pays_all_the_same(
    ask: Ask, vendor: Vendor, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor works on, and bills; so a call is ended by its answer or its time."""
    monkeypatch.setattr(embeddings, "CALL_SECONDS", 1.0)
    asking = asyncio.create_task(ask(model="vectors/fault-hang"))
    await eventually(lambda: vendor.stats.requests == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await eventually(lambda: not ledger.left_behind())
    assert ledger.value("SELECT error_code FROM usage_reservation") == "provider_timeout"


async def test_a_process_that_dies_gives_its_tokens_back(
    host: Any, api_key: Any, embedder: None, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T8: the lease runs out, and the sweep settles a call that has no run."""
    from accounts.authentication import actor_of_headers

    actor = await actor_of_headers({"authorization": f"Bearer {api_key()}"}, None)
    monkeypatch.setattr(embeddings, "LEASE_SECONDS", -1)
    spec = await embeddings.embedding_model_for(actor, "vectors/embed-4")
    await embeddings._hold(actor, spec, embeddings.uuid7(), 7)
    assert ledger.left_behind() == {"reserved": 7, "held": 1}
    await recovery.sweep(host)
    assert not ledger.left_behind()
    assert ledger.one("SELECT outcome, error_code FROM usage_reservation") == {
        "outcome": "failed",
        "error_code": "run_interrupted",
    }
    monkeypatch.setattr(host, "stopping", True)
    with pytest.raises(PaasError, match="restarting"):
        await embeddings.embed(actor, "vectors/embed-4", EmbeddingRequest("", ["a"]))


async def test_who_may_use_which(ask: Ask, site: Any, db: Any, api_key: Any) -> None:
    """A key that is limited to agents has no embeddings; one that is limited to models has those."""

    def key(name: str, scopes: list[str], **limits: Any) -> str:
        from accounts.keys import key_create
        from tenants import scope

        with scope.bind(db.acme):
            return key_create(name=name, scopes=scopes, actor="test", **limits)[1]

    for limits, shown in (
        ({}, True),
        ({"agents": ["assistant"]}, False),
        ({"models": ["embed-4"]}, True),
        ({"models": ["other"]}, False),
        ({"agents": ["assistant"], "models": ["embed-4"]}, True),
    ):
        token = in_thread(lambda limits=limits: key(str(limits), ["*"], **limits))
        assert (await ask(token))[0] == (200 if shown else 404), limits
        async with site.client("acme", token=token).get("/v1/models") as response:
            assert ("vectors/embed-4" in [one["id"] for one in (await response.json())["data"]]) is shown
    client = site.client("acme", token=in_thread(lambda: key("all", ["*"])))
    async with client.get("/v1/models/vectors%2Fembed-4") as response:
        assert (await response.json())["id"] == "vectors/embed-4"
    for token, code in ((api_key("globex"), 401), (in_thread(lambda: key("reader", ["chat:read"])), 403)):
        assert (await ask(token))[0] == code
    for model in ("vectors/bench-0-0-1", "assistant", "vectors/\0", "embed"):
        status, body = await ask(model=model)
        assert (status, body["error"]["code"], body["error"]["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ""}, "model"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[1], "a"]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"user": 1}, "user"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_valid_is_named(change: dict[str, Any], param: str) -> None:
    from chat.transports.openai_embeddings import parse

    with pytest.raises(PaasError) as error:
        parse({"model": "m", "input": "a"} | change)
    assert (error.value.code, error.value.details["param"]) == ("validation_failed", param)


def test_texts_and_tokens_are_taken_within_limits() -> None:
    from chat.transports.openai_embeddings import parse

    for given, inputs in (("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])):
        assert parse({"model": "m", "input": given})[1].inputs == inputs
    with pytest.raises(PaasError) as error:
        parse({"model": "m", "input": ["x" * 100_000] * 11})
    assert error.value.code == "message_too_long"
