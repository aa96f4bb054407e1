"""A document in the hands of a turn: taken under a lease, watched while it is worked on, given back or ended.

Every write says whose lease it is made under, so that one that was cancelled, replaced or deleted meanwhile is let go.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.actors import Actor
from core.errors import PaasError
from core.ids import uuid7
from core.said import Said, said
from knowledge.documents import WAITING, wake
from knowledge.generations import switch
from knowledge.models import Chunk, Document, KnowledgeBase, PageText
from tenants import scope
from tenants.scope import TenantRef

LANES = 2  # turns of a tenant at once
LEASE = timedelta(seconds=90)
RENEW_LOOKS = 20  # the lease is renewed with every so many looks
LOOK_SECONDS = 1.0
MOST_FAILURES = 8  # of something that passes, one after the other
FIRST_WAIT, LONGEST_WAIT = 15.0, 900.0  # seconds
MOST_SAID = {"step": 60, "error": 500}  # characters, as Document keeps them
State = Document.State


class Gone(Exception):
    """The document is not this turn's any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document that a turn has. cut: the passages of this version are there already."""

    id: uuid.UUID
    lease: uuid.UUID
    base: KnowledgeBase
    title: str
    kind: str
    key: str
    url: str
    version: int
    cut: bool
    failures: int
    payer: Actor

    @property
    def rows(self) -> Any:
        """The document's row, as long as this turn has it."""
        return Document.objects.filter(id=self.id, lease=self.lease)

    @property
    def own(self) -> Any:
        """The passages of the version that is being made."""
        return Chunk.objects.filter(document_id=self.id, version=self.version)

    @property
    def pictures(self) -> Any:
        """Its pages that are looked at: text is None until they were."""
        return PageText.objects.filter(document_id=self.id, version=self.version)


def free() -> Any:
    """Documents that wait, that nobody works on, and that are not to wait for longer."""
    due = Q(not_before=None) | Q(not_before__lte=Now())
    return Document.objects.filter(due, Q(leased_until=None) | Q(leased_until__lt=Now()), state__in=WAITING)


@transaction.atomic
def take(tenant: TenantRef) -> Held | None:
    """The oldest document that waits; None where there is none, or the tenant has its turns already."""
    if Document.objects.filter(state__in=WAITING, leased_until__gt=Now()).count() >= LANES:
        return None
    waiting = (
        free().select_for_update(skip_locked=True, of=("self",)).select_related("base__provider", "base__next_provider")
    )
    found = waiting.order_by("id").first()
    if found is None:
        return None
    lease = uuid7()
    Document.objects.filter(id=found.id).update(lease=lease, leased_until=Now() + LEASE, not_before=None)
    cut = found.cut_version == found.version
    who = found.user_id if found.key_id is None else None
    payer = Actor(tenant, who, found.key_id, "key" if found.key_id else "", frozenset())
    about = (found.title, found.kind, found.key, found.url, found.version)
    return Held(found.id, lease, _aimed(found.base), *about, cut, found.failures, payer)


def _aimed(base: KnowledgeBase) -> KnowledgeBase:
    """A base with the model that documents are made for now; never saved."""
    if base.next_model:
        base.provider, base.model, base.dimension = base.next_provider, base.next_model, base.next_dimension
    return base


def _aim(base: KnowledgeBase) -> tuple[Any, ...]:
    if base.next_model:
        return base.next_provider_id, base.next_model, base.next_dimension
    return base.provider_id, base.model, base.dimension


async def watch(tenant: TenantRef, held: Held, work: asyncio.Task[Any]) -> None:
    """Keep the lease while `work` goes on; cancel it as soon as the document is somebody else's, or nobody's."""
    looks = 0
    while not work.done():
        await asyncio.sleep(LOOK_SECONDS)
        looks += 1
        try:
            ours = await scope.run_in_tenant(tenant, _ours, held, looks % RENEW_LOOKS == 0)
        except PaasError:
            continue  # the database is away: so is whoever could take it
        if not ours:
            work.cancel()
            return


def _ours(held: Held, renew: bool) -> bool:
    return bool(held.rows.update(leased_until=Now() + LEASE) if renew else held.rows.exists())


def say(held: Held, state: str, progress: int, step: Said, **fields: Any) -> None:
    """Where it stands; raises Gone."""
    told = {"state": state, "progress": progress, **_told(step=step), **fields}
    if not held.rows.update(leased_until=Now() + LEASE, updated_at=Now(), **told):
        raise Gone


@transaction.atomic
def let_go(held: Held) -> None:
    """Leave what is to do to the next turn, which a worker is told of."""
    if held.rows.update(lease=None, leased_until=None):
        wake()


def put_off(held: Held, error: PaasError) -> bool:
    """Wait for what passes by itself, longer each time; whether that is to be hoped for still."""
    if held.failures >= MOST_FAILURES:
        return False
    seconds = max(min(FIRST_WAIT * 2**held.failures, LONGEST_WAIT), min(error.retry_after or 0.0, 3600.0))
    held.rows.update(
        lease=None,
        leased_until=None,
        updated_at=Now(),
        failures=held.failures + 1,
        not_before=Now() + timedelta(seconds=seconds),
        **_told(step=said("waiting to try again"), error=Said(error.message, code=error.code)),
    )
    return True


@transaction.atomic
def ready(held: Held) -> bool:
    """From now on this version is found, and what was there before is gone; where the base is to have another model,
    when all are ready. False: it was not ours any more."""
    base = KnowledgeBase.objects.select_for_update(no_key=True).filter(id=held.base.id).first()
    if base is None:
        return False
    if _aim(base) != _aim(held.base):  # the model was changed as it was taken
        if held.rows.update(state=State.QUEUED, version=F("version") + 1, lease=None, leased_until=None):
            wake()
        return False
    blind = held.pictures.filter(text=None).count()
    left = said("pages not read, as they are pictures: %(count)s", count=blind) if blind else None
    told = {"state": State.READY, "progress": 100, "failures": 0, **_told(step=left)}
    if not base.next_model:
        told["live_version"] = held.version
    if not held.rows.update(lease=None, leased_until=None, updated_at=Now(), **told):
        return False
    if base.next_model:
        switch(base)
    else:
        Chunk.objects.filter(document_id=held.id).exclude(version=held.version).delete()
        PageText.objects.filter(document_id=held.id).delete()
    return True


def failed(held: Held, sentence: Said) -> bool:
    """It ends with a sentence for whoever put it in. False: it was not ours any more."""
    told = {"state": State.FAILED, "failures": 0, **_told(error=sentence)}
    return bool(held.rows.update(lease=None, leased_until=None, updated_at=Now(), **told))


def _told(*, step: Said | None = None, error: Said | None = None) -> dict[str, Any]:
    """The columns of what is told: in English, and as it is translated. None: nothing."""
    given = {"step": step, "error": error}
    told: dict[str, Any] = {name: str(one)[: MOST_SAID[name]] if one else "" for name, one in given.items()}
    return told | {"said": {name: one.stored() for name, one in given.items() if one}}
