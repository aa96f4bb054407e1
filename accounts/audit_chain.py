"""Whether the audit logs are whole: every digest computed again, in order, a batch at a time.

A chain by itself shows rows that were changed, exchanged or taken out of the middle. That its newest rows are gone is
seen from its head, which `check_all` keeps in a table that tenants cannot write (accounts.models.AuditHead); whoever
can write there too is found by comparing with the heads that `manage.py verify_audit` printed earlier.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import structlog
from django.db import transaction
from django.db.models import BinaryField, Func

from accounts import audit
from accounts.models import AuditEvent, AuditHead
from core import chain, clock
from core.chain import Head, Link, Verdict, Words
from tenants.models import Tenant

log = structlog.get_logger(__name__)

BATCH = 2_000
ACTOR = "job:verify_audit"


class Content(Func):
    """What a row's digest covers, as the database writes it."""

    template = 'public.audit_content("accounts_auditevent".*)'
    output_field = BinaryField()


WORDS = Words(
    replaced="Row #{number} is not the one that was verified, or it is gone.",
    missing="Row #{number} is missing.",
    changed="Row #{number} is not as it was written, or not what followed #{before}.",
    rewritten="Row #{number} is not the one that was verified: the log was written anew.",
    shortened="The log ends with #{before}, but #{number} was verified: the newest rows are gone.",
)


def verify_all(*, slug: str | None = None, newest: bool = False) -> Iterator[tuple[Verdict, AuditHead | None]]:
    """Look at every log, or at one tenant's; with `newest` only at what came after its head.

    Bound to the platform. Changes nothing. Raises Tenant.DoesNotExist for an unknown slug.
    """
    logs: list[tuple[uuid.UUID | None, str]] = []
    if slug is None:
        logs = [(None, "platform"), *Tenant.objects.order_by("slug").values_list("id", "slug")]
    else:
        tenant = Tenant.objects.get(slug=slug)
        logs = [(tenant.id, tenant.slug)]
    heads = {head.tenant_id: head for head in AuditHead.objects.all()}
    for tenant_id, name in logs:
        head = heads.get(tenant_id)
        yield verify(tenant_id, name, head, newest=newest), head


def verify(tenant_id: uuid.UUID | None, name: str, head: AuditHead | None, *, newest: bool = False) -> Verdict:
    """Compute one log's digests again. Bound to the platform."""
    wanted: Any = tenant_id  # None: rows without a tenant
    of_log = AuditEvent.objects.filter(tenant_id=wanted)
    known = Head(head.seq, bytes(head.digest)) if head else Head(0, b"")
    start = stored_at(of_log, known.seq) if newest else None
    found = chain.walk(known, lambda seq: _rows(of_log, seq), _digest, WORDS, start=start)
    problem = found.problem
    if not problem and (outside := of_log.filter(seq=None).count()):
        problem = f"{outside} rows were put in beside the chain."
    return Verdict(tenant_id, name, found.seq, found.digest, found.checked, problem, found.broken_at)


def stored_at(links: Any, seq: int) -> bytes:
    """The digest that the link of this number has now; b"" when there is none."""
    return bytes(links.filter(seq=seq).values_list("digest", flat=True).first() or b"")


def _digest(before: bytes, number: int, content: bytes) -> bytes:
    return hashlib.sha256(before + content).digest()


def _rows(of_log: Any, seq: int) -> Iterator[Link]:
    """The rows after `seq`, in order."""
    while True:
        rows = list(of_log.filter(seq__gt=seq).order_by("seq").values_list("seq", "digest", Content())[:BATCH])
        for number, stored, content in rows:
            yield Link(number, bytes(stored or b""), bytes(content))
        if len(rows) < BATCH:
            return
        seq = rows[-1][0]


def check_all(*, newest: bool) -> list[Verdict]:
    """Look at every log, move its head forward, and write down what is broken; returns the broken ones.

    Bound to the platform. A fault is written once, in the log of errors and in the platform's audit log.
    """
    found = []
    for verdict, head in verify_all(newest=newest):
        kept = head or AuditHead(tenant_id=verdict.tenant_id)
        keep(verdict, kept, action="audit.broken", actor=ACTOR, newest=newest)
        if verdict.problem:
            found.append(verdict)
            log.error("audit log is broken", tenant=verdict.name, seq=verdict.broken_at, problem=verdict.problem)
    return found


def keep(verdict: Verdict, head: Any, *, action: str, actor: str, newest: bool) -> None:
    """Move a head (an AuditHead, or another of its fields) forward, or write down once what is broken.

    newest: only what came after the head was looked at, so nothing is known of a fault that was found before it.
    """
    if newest and head.problem and not verdict.problem:
        return
    with transaction.atomic():
        if not verdict.problem:
            head.seq, head.digest, head.verified_at, head.problem = verdict.seq, verdict.digest, clock.now(), ""
        elif head.problem != verdict.problem:
            head.problem = verdict.problem
            audit.record(action, actor=actor, target=verdict.name, seq=verdict.broken_at, problem=verdict.problem)
        head.save()
