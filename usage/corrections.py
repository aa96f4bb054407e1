"""Corrections of the ledger: always a new entry, with a reason and who made it; never a change.

They are dated now, so that a month that was billed stays as it was. What was counted against quotas stays counted.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts import audit
from core.errors import PaasError
from core.ids import uuid7
from tenants import scope
from tenants.models import Tenant
from usage import money
from usage.models import UsageRecord

MOST = Decimal(1_000_000_000)


def entry_reverse(*, entry_id: uuid.UUID, reason: str, actor: str) -> UsageRecord:
    """Take an entry back, number by number, once. Bound to the platform. Raises validation_failed, already_exists."""
    with transaction.atomic():
        # The lock lets one of two at the same time find the other's reversal.
        found = UsageRecord.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=entry_id).first()
        if found is None:
            raise PaasError("not_found")
        if found.kind == "reversal":
            raise PaasError("validation_failed", "A reversal is not taken back. Make an adjustment instead.")
        if UsageRecord.objects.filter(tenant=found.tenant, reverses=found.id).exists():
            raise PaasError("already_exists", "This entry was taken back already.")
        copied = (
            "user_id", "key_id", "agent_id", "agent", "provider", "model", "counted", "input_price", "output_price",
            "cached_price", "reasoning_price", "tool_price", "currency",
        )  # fmt: skip
        taken = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "tool_calls")
        return _write(
            found.tenant,
            "reversal",
            reason,
            actor,
            reverses=found.id,
            cost=None if found.cost is None else -found.cost,
            **{name: getattr(found, name) for name in copied},
            **{name: -getattr(found, name) for name in taken},
        )


def credit_create(*, tenant: Tenant, amount: Decimal, currency: str, reason: str, actor: str) -> UsageRecord:
    """Give a tenant `amount` (above zero) off its present month. Bound to the platform. Raises validation_failed."""
    if not (amount.is_finite() and 0 < amount <= MOST):
        raise PaasError("validation_failed", "A credit is an amount above zero.", details={"param": "amount"})
    return _amount(tenant, "credit", -amount, currency, reason, actor)


def adjustment_create(*, tenant: Tenant, amount: Decimal, currency: str, reason: str, actor: str) -> UsageRecord:
    """Charge a tenant `amount`, or give it back when below zero. Bound to the platform. Raises validation_failed."""
    if not (amount.is_finite() and amount and abs(amount) <= MOST):
        raise PaasError("validation_failed", "An adjustment is an amount other than zero.", details={"param": "amount"})
    return _amount(tenant, "adjustment", amount, currency, reason, actor)


def _amount(tenant: Tenant, kind: str, amount: Decimal, currency: str, reason: str, actor: str) -> UsageRecord:
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise PaasError("validation_failed", "A currency is three capital letters.", details={"param": "currency"})
    if amount != money.added([amount]):
        raise PaasError("validation_failed", "An amount has at most 12 places.", details={"param": "amount"})
    zero = {"input_tokens": 0, "output_tokens": 0, "counted": False}
    with transaction.atomic():
        return _write(tenant, kind, reason, actor, cost=amount, currency=currency, provider="", model="", **zero)


def _write(tenant: Tenant, kind: str, reason: str, actor: str, **fields: Any) -> UsageRecord:
    reason = " ".join(reason.split())
    if not 3 <= len(reason) <= 300:
        raise PaasError("validation_failed", "Say why, in 3 to 300 letters.", details={"param": "reason"})
    entry_id = uuid7()
    entry = UsageRecord.objects.create(
        id=entry_id, tenant=tenant, run_id=entry_id, kind=kind, reason=reason, made_by=actor, **fields
    )
    said: dict[str, Any] = {"kind": kind, "reason": reason, "currency": entry.currency}
    said |= {"cost": None if entry.cost is None else money.text(entry.cost)}
    said |= {"reverses": str(entry.reverses)} if entry.reverses else {}
    with scope.platform_about(tenant.ref()):
        audit.record("ledger.corrected", actor=actor, target=str(entry.id), **said)
    return entry
