"""The ledger as a chain: entries are sealed in order by a job, and verified.

A seal holds the SHA-256 over the seal before it, its number and the entry. Whoever changes or removes an entry or a
seal later, with whatever rights, breaks the chain from there on. That the newest ones are gone is seen from the head,
which `check_all` keeps; whoever can write there too is found by comparing with the heads that `manage.py
verify_ledger` printed earlier. What is verified besides: that each cost follows from its own row's prices, and that
each issued invoice can be computed again from the ledger.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import BinaryField, BooleanField, Exists, F, Func, IntegerField, OuterRef, QuerySet, Value

from accounts import audit_chain
from core import chain, clock
from core.chain import Head, Link, Words
from tenants.models import Tenant
from usage import invoices, money
from usage.models import LedgerHead, Seal, UsageRecord
from usage.money import Counts, Rates

log = structlog.get_logger(__name__)

BATCH = 2_000
ACTOR = "job:verify_ledger"
# The job seals every few seconds; what waits for longer is told.
LONGEST_WAIT = timedelta(minutes=10)


class Content(Func):
    """What an entry's seal covers, as the database writes it."""

    template = 'public.usage_content("usage_usagerecord".*)'
    output_field = BinaryField()


class _SealSome(Func):
    function = "public.usage_seal_some"
    output_field = IntegerField()


class _Waits(Func):
    function = "public.usage_waits"
    output_field = BooleanField()


# --- sealing -------------------------------------------------------------------------------------------


def seal_all(*, every: bool = False) -> int:
    """Seal what is new; with `every`, look at all entries there are. Returns how many were sealed.

    Bound to the platform. Each call of the database seals up to BATCH entries of one tenant and is its own
    transaction: killed anywhere, the next one goes on from there.
    """
    waiting = Tenant.objects.filter(_Waits(F("pk"), Value(every))).values_list("pk", flat=True)
    sealed = 0
    for tenant_id in list(waiting):
        try:
            sealed += _seal(tenant_id, every)
        except DatabaseError:  # one ledger's fault keeps no other waiting
            log.exception("a ledger could not be sealed", tenant=str(tenant_id))
    return sealed


def _seal(tenant_id: uuid.UUID, every: bool) -> int:
    call = _SealSome(F("pk"), Value(BATCH), Value(every))
    sealed = 0
    while True:
        count: int = Tenant.objects.filter(pk=tenant_id).values_list(call, flat=True).get()
        sealed += count
        if count < BATCH:
            return sealed


# --- verifying -----------------------------------------------------------------------------------------


WORDS = Words(
    replaced="The seal #{number} is not the one that was verified, or it is gone.",
    missing="The seal #{number} is missing.",
    changed="The entry of #{number} is not as it was sealed, or not what followed #{before}.",
    rewritten="The seal #{number} is not the one that was verified: the ledger was written anew.",
    shortened="The ledger ends with #{before}, but #{number} was verified: the newest are gone.",
    gone="The entry of #{number} is gone.",
)


@dataclass(frozen=True, slots=True)
class Verdict(chain.Verdict):
    """What was found of one tenant's ledger. waiting: entries without a seal yet."""

    tenant_id: uuid.UUID
    waiting: int = 0

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {**chain.Verdict.view(self), "waiting": self.waiting}


def verify_all(*, slug: str | None = None, newest: bool = False) -> Iterator[tuple[Verdict, LedgerHead | None]]:
    """Look at every tenant's ledger, or at one; with `newest` only at what came after its head, and at no invoice.

    Bound to the platform. Changes nothing. Raises Tenant.DoesNotExist for an unknown slug.
    """
    tenants = Tenant.objects.order_by("slug")
    chosen = list(tenants) if slug is None else [tenants.get(slug=slug)]
    heads = {head.tenant_id: head for head in LedgerHead.objects.all()}
    for tenant in chosen:
        head = heads.get(tenant.id)
        yield verify(tenant, head, newest=newest), head


def verify(tenant: Tenant, head: LedgerHead | None, *, newest: bool = False) -> Verdict:
    """Compute one ledger's seals, costs and invoices again. Bound to the platform."""
    seals = Seal.objects.filter(tenant=tenant)
    sealed = Seal.objects.filter(tenant=tenant, record_id=OuterRef("pk"))
    unsealed = UsageRecord.objects.filter(~Exists(sealed), tenant=tenant)
    waiting = 0 if newest else unsealed.count()
    known = Head(head.seq, bytes(head.digest)) if head else Head(0, b"")
    start = audit_chain.stored_at(seals, known.seq) if newest else None
    found = chain.walk(known, lambda seq: _sealed(tenant, seq), sealing, WORDS, start=start)
    problem = found.problem or ("" if newest else _beside(tenant, unsealed))
    return Verdict(tenant.id, tenant.slug, found.seq, found.digest, found.checked, problem, found.broken_at, waiting)


def _beside(tenant: Tenant, unsealed: QuerySet[UsageRecord]) -> str:
    """What is wrong beside the chain: entries that nobody seals, invoices that are not what they were."""
    late = unsealed.filter(at__lt=clock.now() - LONGEST_WAIT).count()
    if late:
        return f"{late} entries have waited for their seal for more than ten minutes."
    return next(iter(invoices.wrong_of(tenant)), "")


def sealing(before: bytes, number: int, content: bytes) -> bytes:
    """The digest of an entry's seal."""
    return hashlib.sha256(before + number.to_bytes(8, "big") + content).digest()


def _sealed(tenant: Tenant, seq: int) -> Iterator[Link]:
    """The seals after `seq`, in order, with the content of their entries."""
    while True:
        following = Seal.objects.filter(tenant=tenant, seq__gt=seq).order_by("seq")
        rows = list(following.values_list("seq", "digest", "record_id")[:BATCH])
        # A seal of somebody else's entry is none.
        of_batch = UsageRecord.objects.filter(tenant=tenant, pk__in=[record_id for _, _, record_id in rows])
        found = {entry.pk: entry for entry in of_batch.annotate(content=Content())}
        for number, stored, record_id in rows:
            entry: Any = found.get(record_id)
            if entry is None:
                yield Link(number, bytes(stored), None)
            else:
                yield Link(number, bytes(stored), bytes(entry.content), partial(_cost, number, entry))
        if len(rows) < BATCH:
            return
        seq = rows[-1][0]


def _cost(number: int, entry: UsageRecord) -> str:
    return "" if adds_up(entry) else f"The cost of #{number} does not follow from its tokens and prices."


def adds_up(entry: UsageRecord) -> bool:
    """Whether an entry's cost is what its own tokens and prices make; of a correction, which has none, always."""
    if entry.kind in UsageRecord.CORRECTIONS:
        return True
    if entry.kind == "embeddings":
        return money.embeddings_cost(Rates(embeddings=entry.input_price), entry.input_tokens) == entry.cost
    rates = Rates(
        input=entry.input_price, output=entry.output_price, cached=entry.cached_price,
        reasoning=entry.reasoning_price, tool_call=entry.tool_price,
    )  # fmt: skip
    used = Counts(
        entry.input_tokens, entry.output_tokens, entry.cached_tokens, entry.reasoning_tokens, entry.tool_calls
    )
    computed = money.call_cost(rates, used)
    if entry.cost is None or computed is None:
        return entry.cost is computed
    # Prices of the first entries had been finer than they are kept; what that can make is far below any unit.
    slack = money.COST_PLACES + (used.input + used.output) * money.PRICE_PLACES / money.MILLION
    return abs(entry.cost - computed) <= slack


def head_of(tenant_id: uuid.UUID) -> LedgerHead | None:
    """Up to where a tenant's ledger was found whole; bound to that tenant, or to the platform."""
    return LedgerHead.objects.filter(tenant_id=tenant_id).first()


def check_all(*, newest: bool) -> list[Verdict]:
    """Look at every ledger, move its head forward, and write down what is broken; returns the broken ones.

    Bound to the platform. A fault is written once, in the log of errors and in the platform's audit log.
    """
    found = []
    for verdict, head in verify_all(newest=newest):
        kept = head or LedgerHead(tenant_id=verdict.tenant_id)
        audit_chain.keep(verdict, kept, action="ledger.broken", actor=ACTOR, newest=newest)
        if verdict.problem:
            found.append(verdict)
            log.error("ledger is broken", tenant=verdict.name, seq=verdict.broken_at, problem=verdict.problem)
    return found
