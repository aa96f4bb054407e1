"""Turns on the operator's own model accounts: whose key asks, what they cost, and when the plan has them no more."""

from __future__ import annotations

from typing import Any

from agents import access
from agents.embeddings import embedding_models_for
from bench.vendor import vendor_in_thread
from core.errors import PaasError
from tests.chat.talk import ask
from tests.conftest import Platform, forget_caches, in_thread
from tests.llm.test_platform_accounts import KEY, MODEL, MODELS, agent_on, in_acme, offered, on_plan
from tests.usage.test_prices import margin


async def test_it_answers_for_a_plan_that_has_it_and_is_billed(
    db: Platform, host: Any, actor: Any, ledger: Any
) -> None:
    """With the operator's key and address, at its price with the margin; after the plan is another one, a clear no."""
    with vendor_in_thread(key=KEY) as vendor:
        offered(f"http://127.0.0.1:{vendor.port}/v1")
        in_thread(lambda: margin("50", tenant_id=db.acme.id))
        in_acme(db, agent_on)
        forget_caches()
        told = await ask(actor("member"), agent="shared-agent")
        (record,) = ledger.usage(told.run_id)
        assert (record["provider"], record["model"]) == ("shared", MODEL)
        assert (str(record["input_price"].normalize()), str(record["output_price"].normalize())) == ("1.5", "3")
        (found,) = await embedding_models_for(actor("member"))
        assert (found.id, KEY in repr(found)) == ("shared/vectors", False)

        offered(f"http://127.0.0.1:{vendor.port}/v1", models={MODEL: MODELS[MODEL] | {"output_price": "4"}})
        spec = await access.agent_for(actor("member"), "shared-agent")
        assert spec.info.output_price == 6, "a new price needs nobody to look at the account first"
        offered(f"http://127.0.0.1:{vendor.port}/v1", allowed_models=["another"])
        assert await code_of(actor("member")) == "model_not_found"
        offered(f"http://127.0.0.1:{vendor.port}/v1", allowed_models=[])
        assert await code_of(actor("member")) == ""
        for change in (lambda: on_plan(db.acme, "free"), lambda: offered(enabled=False), lambda: offered(plans=[])):
            change()
            assert await code_of(actor("member")) == "provider_not_in_plan"
            assert await embedding_models_for(actor("member")) == []
            on_plan(db.acme, "pro")
            offered(plans=["pro"], enabled=True)


async def code_of(actor: Any) -> str:
    access.forget_all()
    try:
        await access.agent_for(actor, "shared-agent")
    except PaasError as error:
        return error.code
    return ""
