"""Whether the audit logs are whole: every digest computed again, in order, a batch at a time.

A chain by itself shows rows that were changed, exchanged or taken out of the middle. That its newest rows are gone is
seen from its head, which `check_all` keeps in a table that tenants cannot write (accounts.models.AuditHead); whoever
can write there too is found by comparing with the heads that `manage.py verify_audit` printed earlier.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.db import transaction
from django.db.models import BinaryField, Func

from accounts import audit
from accounts.models import AuditEvent, AuditHead
from core import clock
from tenants.models import Tenant

log = structlog.get_logger(__name__)

BATCH = 2_000
ACTOR = "job:verify_audit"


class Content(Func):
    """What a row's digest covers, as the database writes it."""

    template = 'public.audit_content("accounts_auditevent".*)'
    output_field = BinaryField()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one log.

    tenant_id: None is the platform's own log. seq, digest: of the last row up to which it is whole. checked: rows
    that were computed again. problem: a sentence, "" when all is well; broken_at: the row's number, where one is known.
    """

    tenant_id: uuid.UUID | None
    name: str
    seq: int
    digest: bytes = field(repr=False)
    checked: int
    problem: str = ""
    broken_at: int | None = None

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tenant": self.name,
            "tenant_id": str(self.tenant_id) if self.tenant_id else None,
            "seq": self.seq,
            "digest": self.digest.hex(),
            "checked": self.checked,
            "problem": self.problem,
            "broken_at": self.broken_at,
        }


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
    known, known_digest = (head.seq, bytes(head.digest)) if head else (0, b"")
    seq, digest, checked = 0, b"", 0

    def broken(problem: str, at: int | None) -> Verdict:
        return Verdict(tenant_id, name, seq, digest, checked, problem, at)

    if newest and known:
        stored = of_log.filter(seq=known).values_list("digest", flat=True).first()
        if stored is None or bytes(stored) != known_digest:
            return broken(f"Row #{known} is not the one that was verified, or it is gone.", known)
        seq, digest = known, known_digest
    for number, stored, content in _rows(of_log, seq):
        if number != seq + 1:
            return broken(f"Row #{seq + 1} is missing.", seq + 1)
        computed = hashlib.sha256(digest + content).digest()
        if computed != stored:
            return broken(f"Row #{number} is not as it was written, or not what followed #{seq}.", number)
        if number == known and computed != known_digest:
            return broken(f"Row #{number} is not the one that was verified: the log was written anew.", number)
        seq, digest, checked = number, computed, checked + 1
    if seq < known:
        return broken(f"The log ends with #{seq}, but #{known} was verified: the newest rows are gone.", seq + 1)
    outside = of_log.filter(seq=None).count()
    return broken(f"{outside} rows were put in beside the chain.", None) if outside else broken("", None)


def _rows(of_log: Any, seq: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, digest, content) of the rows after `seq`, in order."""
    while True:
        rows = list(of_log.filter(seq__gt=seq).order_by("seq").values_list("seq", "digest", Content())[:BATCH])
        for number, stored, content in rows:
            yield number, bytes(stored or b""), bytes(content)
        if len(rows) < BATCH:
            return
        seq = rows[-1][0]


def check_all(*, newest: bool) -> list[Verdict]:
    """Look at every log, move its head forward, and write down what is broken; returns the broken ones.

    Bound to the platform. A fault is written once, in the log of errors and in the platform's audit log.
    """
    found = []
    for verdict, head in verify_all(newest=newest):
        _keep(verdict, head or AuditHead(tenant_id=verdict.tenant_id))
        if verdict.problem:
            found.append(verdict)
            log.error("audit log is broken", tenant=verdict.name, seq=verdict.broken_at, problem=verdict.problem)
    return found


def _keep(verdict: Verdict, head: AuditHead) -> None:
    with transaction.atomic():
        if not verdict.problem:
            head.seq, head.digest, head.verified_at, head.problem = verdict.seq, verdict.digest, clock.now(), ""
        elif head.problem != verdict.problem:
            head.problem = verdict.problem
            audit.record(
                "audit.broken", actor=ACTOR, target=verdict.name, seq=verdict.broken_at, problem=verdict.problem
            )
        head.save()
