"""The price list: history, agreed prices, margins, and what a call is charged at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from accounts.models import AuditEvent
from agents.charges import charged_info
from core import clock
from core.errors import PaasError
from llm import catalog
from paas import price_list
from tenants import scope
from tenants.models import Plan, Tenant
from tests.conftest import Platform
from usage import prices
from usage.models import Margin, Price
from usage.money import Rates

TODAY = datetime(2026, 11, 1, tzinfo=UTC)


class Account:
    """As much of a provider account as prices ask for."""

    def __init__(self, kind: str = "zhipu", **models: Any) -> None:
        self.kind, self.models, self.of_platform = kind, models, False


def listed(amount: str | None, *, model: str = "glm-x", since: datetime = TODAY, source: str = "list") -> int:
    prices.forget_all()
    rates = Rates() if amount is None else Rates(Decimal(amount), Decimal(amount) * 2)
    with scope.platform():
        return prices.prices_sync(entries=[("zhipuai", model, rates)], source=source, since=since)


def put(
    vendor: str = "zhipuai", model: str = "glm-x", *, tenant: Any = None, at: datetime | None = None, **rates: Any
) -> None:
    """A row as it is a while after it was set."""
    with scope.platform():
        for component, amount in rates.items():
            Price.objects.create(
                vendor=vendor, model=model, component=component, tenant_id=tenant.id if tenant else None,
                amount=None if amount is None else Decimal(amount), valid_from=at or clock.now() - timedelta(hours=1),
                source="operator:x",
            )  # fmt: skip
    prices.forget_all()


def margin(percent: str | None, *, at: datetime | None = None, **whose: Any) -> None:
    with scope.platform():
        Margin.objects.create(
            percent=None if percent is None else Decimal(percent), made_by="t", valid_from=at or TODAY, **whose
        )
    prices.forget_all()


def charged(tenant: Any, at: datetime | None = None) -> Rates:
    with scope.bind(tenant):
        return prices.terms_of(tenant.id, (("zhipu", "glm-x"), ("zhipuai", "glm-x")), at).charged()


def test_unknown_is_unpriced_and_not_free(db: Platform) -> None:
    assert charged(db.acme) == Rates()
    margin("20", tenant_id=db.acme.id)
    assert charged(db.acme) == Rates()


def test_a_change_is_a_new_row_and_holds_from_its_moment(db: Platform) -> None:
    assert listed("1") == 2
    assert listed("1") == 0
    assert listed("3", source="later list") == 2
    assert charged(db.acme).input == 1, "the change begins in a minute"
    assert charged(db.acme, clock.now() + timedelta(minutes=2)).input == 3
    assert charged(db.acme, TODAY + timedelta(days=1)).input == 1
    assert not charged(db.acme, TODAY - timedelta(days=1)).priced
    assert listed(None) == 2
    assert not charged(db.acme, clock.now() + timedelta(hours=1)).priced, "withdrawn is unpriced"
    with scope.platform():
        assert Price.objects.count() == 6
        for attempt in (lambda: Price.objects.update(amount=0), lambda: Price.objects.all().delete()):
            with pytest.raises(DatabaseError):
                attempt()


def test_what_an_operator_set_stays(db: Platform) -> None:
    put(input="9", output="9")
    assert listed("1") == 0
    assert charged(db.acme).input == 9


def test_agreed_prices_are_for_one_tenant_and_without_margin(db: Platform) -> None:
    listed("1")
    margin("50", tenant_id=db.acme.id)
    put(tenant=db.acme, input="0.4", output="0.5")
    assert (charged(db.acme).input, charged(db.acme).output) == (Decimal("0.4"), Decimal("0.5"))
    assert charged(db.globex).input == 1
    put(tenant=db.acme, input=None, output=None, at=clock.now() - timedelta(minutes=1))
    assert charged(db.acme).input == Decimal("1.5"), "the agreement is over"


def test_a_tenants_margin_wins_over_its_plans(db: Platform) -> None:
    listed("1")
    margin("10", plan_id="pro")
    assert charged(db.acme).input == Decimal("1.1")
    margin("0", tenant_id=db.acme.id)
    assert (charged(db.acme).input, charged(db.globex).input) == (1, Decimal("1.1"))
    margin(None, tenant_id=db.acme.id, at=TODAY + timedelta(days=2))
    assert charged(db.acme).input == Decimal("1.1")
    assert charged(db.acme, TODAY + timedelta(days=1)).input == 1
    margin("-100", plan_id="pro", at=TODAY + timedelta(days=3))
    assert charged(db.acme).input == 0


def test_an_accounts_own_price_gets_the_margin(db: Platform) -> None:
    listed("1", model="glm-4.7")
    margin("10", tenant_id=db.acme.id)
    own = Account(**{"glm-4.7": {"cached_price": "0.5"}})
    whole = Account(**{"glm-4.7": {"input_price": "8", "output_price": "8", "currency": "CNY"}})
    with scope.bind(db.acme):
        info = charged_info(own, "GLM-4.7")  # type: ignore[arg-type]
        assert info.input_price == catalog.model_info("zhipu", "glm-4.7").input_price or info.input_price == Decimal(
            "1.1"
        )
        info = charged_info(own, "glm-4.7")  # type: ignore[arg-type]
        assert (info.input_price, info.cached_price, info.context_tokens) == (Decimal("1.1"), Decimal("0.55"), 200_000)
        info = charged_info(whole, "glm-4.7")  # type: ignore[arg-type]
        assert (info.input_price, info.cached_price, info.currency) == (Decimal("8.8"), None, "CNY")


def test_a_price_for_exactly_this_kind_comes_before_the_vendors(db: Platform) -> None:
    listed("1")
    put("zhipu", input="2", output="2")
    assert charged(db.acme).input == 2


def test_amounts_of_two_currencies_are_not_mixed(db: Platform) -> None:
    put(input="2")
    with scope.platform():
        Price.objects.create(
            vendor="zhipuai", model="glm-x", component="output", amount=1, currency="CNY", valid_from=TODAY, source="t"
        )
    assert not charged(db.acme).priced


def test_what_is_set_begins_in_a_minute_or_later_and_is_audited(db: Platform) -> None:
    rates = Rates(Decimal("0.1234567891"), Decimal(2), currency="EUR")
    with scope.platform():
        tenant = Tenant.objects.get(pk=db.acme.id)
        with pytest.raises(PaasError, match="in a minute or later"):
            prices.price_set(vendor="v", model="m", rates=rates, valid_from=clock.now(), actor="operator:1")
        soon = clock.now() + timedelta(minutes=2)
        rows = prices.price_set(vendor="v", model="M", rates=rates, valid_from=soon, actor="operator:1", tenant=tenant)
        assert {row.component: row.amount for row in rows} == {"input": Decimal("0.123456789"), "output": Decimal(2)}
        assert rows[0].model == "m"
        with pytest.raises(PaasError) as refused:
            prices.price_set(vendor="v", model="m", rates=rates, valid_from=soon, actor="operator:1", tenant=tenant)
        assert refused.value.code == "already_exists"
        later = prices.price_set(
            vendor="v",
            model="m",
            rates=Rates(Decimal(1)),
            valid_from=soon + timedelta(days=1),
            actor="o",
            tenant=tenant,
        )
        assert {row.component: row.amount for row in later} == {"input": Decimal(1), "output": None}
        for wrong in ({}, {"tenant": tenant, "plan": Plan.objects.get(slug="pro")}):
            with pytest.raises(PaasError):
                prices.margin_set(percent=Decimal(1), valid_from=soon, actor="o", **wrong)
        for percent in ("NaN", "-100.5", "Infinity", "10001"):
            with pytest.raises(PaasError):
                prices.margin_set(percent=Decimal(percent), valid_from=soon, actor="o", tenant=tenant)
        prices.margin_set(percent=Decimal("12.5"), valid_from=soon, actor="operator:1", tenant=tenant)
        said = AuditEvent.objects.get(action="margin.set")
        assert (said.actor, said.target, said.data["percent"], said.tenant_id) == ("operator:1", "acme", "12.5", None)
        assert AuditEvent.objects.filter(action="price.set", tenant=None).count() == 2


def test_tenants_see_no_prices_and_no_margins(db: Platform) -> None:
    """Not even their own margin, which is the operator's business; they see what they were charged."""
    listed("1")
    margin("10", tenant_id=db.acme.id)
    for model in (Price, Margin):
        with scope.bind(db.acme), pytest.raises(DatabaseError):
            model.objects.count()
    with scope.bind(db.acme):
        assert charged(db.acme).input == Decimal("1.1")


def test_the_maintained_list_is_taken_over_once(db: Platform) -> None:
    """Every priced model of catalog.json, under every name; and then it is charged from the history."""
    assert price_list.sync() > 300
    assert price_list.sync() == 0
    call_command("sync_prices", verbosity=0)
    prices.forget_all()
    for kind, model in (
        ("zhipu", "glm-4.7"), ("openai_compatible", "gpt-4o-mini"), ("openai_compatible", "gpt-5-nano-2025-12-01"),
        ("openai_compatible", "text-embedding-3-small"), ("local", "smollm2"), ("scripted", "demo"),
    ):  # fmt: skip
        with scope.bind(db.acme):
            found, known = charged_info(Account(kind), model), catalog.model_info(kind, model)  # type: ignore[arg-type]
        assert found == known, model
    with scope.platform():
        assert Price.objects.filter(component="embeddings", model="text-embedding-3-small").get().amount == Decimal(
            "0.02"
        )
        assert set(Price.objects.values_list("source", flat=True)) == {
            f"library:genai-prices (MIT) {catalog.listing()[0]}"
        }
