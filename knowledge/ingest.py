"""Makes documents searchable: read, cut (knowledge/reading.py) and embedded in batches; a step at a time.

A turn takes one document of the bound tenant and works on it for a while (knowledge/holding.py). Whatever it has done
is written down, so a turn that is killed is taken up where it stopped: pictures that nobody has looked at, passages
that have no vector. A process that is told to stop gives its documents back at once.

Fair between tenants: a tenant has at most LANES turns at once, and one job in the queue. A job does so much work as the
plan's `ingest_weight` says, of however many documents; what is left goes to the queue's end, behind the other tenants.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque

import structlog
from django.contrib.postgres.fields import ArrayField
from django.db import transaction
from django.db.models import F, Func, TextField, UUIDField, Value

from core import cancelling, metrics
from core.documents.asked import Unreadable
from core.errors import PaasError
from core.said import Said, said
from knowledge import embedding
from knowledge.documents import wake
from knowledge.fields import as_text
from knowledge.holding import Gone, Held, State, failed, free, let_go, put_off, ready, say, take, watch
from knowledge.models import Chunk
from knowledge.reading import read
from tenants import limits, scope
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

BATCH = 32  # texts of one request for vectors
WRITERS = 2  # batches that are written at once, where no model is asked: to put them into the index takes longest
BATCHES = 10  # of one job, for each of a plan's weight; reading a part of a document counts as one
PAUSES = (1.0, 4.0)  # seconds before a batch is tried again
LONGEST_PAUSE = 10.0  # that a vendor asks for and that is waited for here
# What ends by itself, and is nothing against the document.
PASSING = frozenset({"server_stopping", "database_unavailable"})
OUR_FAULT = "It could not be read because of a fault here. Try again; if it fails again, tell an administrator."
# Django's bulk_update says it in a CASE for each row, which takes twice as long.
ONE_OF = "((%(expressions)s]::public.halfvec)"
_turns: set[asyncio.Task[None]] = set()  # of this process
_stopped = asyncio.Event()


class Budget:
    """How much one job may still do, in batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def spend(self) -> bool:
        """Take one, if there is one."""
        self.left -= 1
        return self.left >= 0


async def turn(tenant: TenantRef, budget: Budget | None = None) -> bool:
    """Work on the tenant's oldest waiting document for a while. False: there was none, or it has its turns already."""
    held = await scope.run_in_tenant(tenant, take, tenant)
    if held is None:
        return False
    work = asyncio.create_task(_worked(tenant, held, budget or Budget(BATCHES)))
    watcher = asyncio.create_task(watch(tenant, held, work))
    _turns.add(work)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await cancelling.ended([work])
        await asyncio.shield(scope.run_in_tenant(tenant, let_go, held))
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
    finally:
        _turns.discard(work)
        await cancelling.ended([watcher])
    return True


async def work(tenant: TenantRef) -> None:
    """One job's worth of work, and the next job at the end of the queue while something waits."""
    budget = Budget(BATCHES * await scope.run_in_tenant(tenant, limits.ingest_weight))
    done = False
    while budget.left > 0 and not _stopped.is_set() and await turn(tenant, budget):
        done = True
    # Where others have all turns that the tenant may have, they put the next job there when theirs end.
    if done or _stopped.is_set():
        await scope.run_in_tenant(tenant, wake_if_waiting)


def stop() -> None:
    """This process ends: give back what it works on, at once."""
    _stopped.set()
    cancelling.cancel(_turns)


def wake_if_waiting() -> bool:
    """Have a worker look, if something waits that nobody works on."""
    waits = bool(free().exists())
    if waits:
        with transaction.atomic():
            wake()
    return waits


async def _worked(tenant: TenantRef, held: Held, budget: Budget) -> None:
    try:
        await _steps(tenant, held, budget)
    except Gone:
        pass
    except Unreadable as error:
        await _fail(tenant, held, error.said)
    except PaasError as error:
        if error.code in PASSING:
            await scope.run_in_tenant(tenant, let_go, held)
            raise
        if not (error.retryable and await scope.run_in_tenant(tenant, put_off, held, error)):
            await _fail(tenant, held, Said(error.message, code=error.code))
    except Exception:
        log.exception("a document could not be made searchable", document=str(held.id))
        await _fail(tenant, held, Said(OUR_FAULT))


async def _steps(tenant: TenantRef, held: Held, budget: Budget) -> None:
    while not held.cut:
        if not budget.spend():
            await scope.run_in_tenant(tenant, let_go, held)
            return
        if await read(tenant, held):
            break
        budget.left -= BATCHES  # looking at pictures takes as long as all else that a job may do
    if not await _embed(tenant, held, budget):
        await scope.run_in_tenant(tenant, let_go, held)
    elif await scope.run_in_tenant(tenant, ready, held):
        metrics.DOCUMENTS.labels("ready").inc()


async def _fail(tenant: TenantRef, held: Held, sentence: Said) -> None:
    if await scope.run_in_tenant(tenant, failed, held, sentence):
        metrics.DOCUMENTS.labels("failed").inc()


# --- vectors ------------------------------------------------------------------------------------------------------
async def _embed(tenant: TenantRef, held: Held, budget: Budget) -> bool:
    """Vectors for what has none, as long as the budget lasts; whether that was all."""
    writers = WRITERS if held.base.provider is None else 1  # what was paid for is kept before more is asked for
    writing: deque[tuple[int, asyncio.Task[None]]] = deque()
    left, count = await scope.run_in_tenant(tenant, _counts, held)

    async def kept() -> None:
        nonlocal left
        size, task = writing.popleft()
        await task
        left -= size
        await scope.run_in_tenant(tenant, say, held, *_standing(count - left, count), failures=0)

    try:
        while True:
            some = await scope.run_in_tenant(tenant, _next_texts, held)
            if not some:
                return True
            for begins in range(0, len(some), BATCH):
                if not budget.spend():
                    return False
                batch = some[begins : begins + BATCH]
                with metrics.INGEST_SECONDS.labels("embed").time():
                    vectors = await _vectors(held, [text for _, text in batch])
                    keeping = scope.run_in_tenant(tenant, _keep_vectors, [one for one, _ in batch], vectors)
                    writing.append((len(batch), asyncio.create_task(keeping)))
                    if len(writing) >= writers:
                        await kept()
            while writing:
                await kept()
    finally:
        while writing:
            await kept()


def _standing(done: int, count: int) -> tuple[str, int, Said]:
    """State, progress and step of a document of which so many passages have their vectors."""
    return (
        State.EMBEDDING,
        25 + round(74 * done / max(count, 1)),
        said("%(done)s of %(all)s passages", done=done, all=count),
    )


def _counts(held: Held) -> tuple[int, int]:
    """How many passages have no vector, how many there are; and says so."""
    left, count = held.own.filter(embedding=None).count(), held.own.count()
    say(held, *_standing(count - left, count))
    return left, count


def _next_texts(held: Held) -> list[tuple[uuid.UUID, str]]:
    """Ids and texts without a vector, as many as a job does."""
    rows = held.own.filter(embedding=None).order_by("ordinal").values_list("id", "heading", "text")
    return [(one, f"{heading}\n{text}" if heading else text) for one, heading, text in rows[: BATCHES * BATCH]]


async def _vectors(held: Held, texts: list[str]) -> list[list[float]]:
    """Asked for again where that may help: after a pause of ours, or that the vendor asks for. Longer ones the document
    waits for outside of the worker."""
    for pause in (*PAUSES, None):
        try:
            found = await embedding.vectors(held.payer, held.base, texts)
        except PaasError as error:
            metrics.EMBEDDING_CALLS.labels("failed").inc()
            wait = max(pause or 0.0, error.retry_after or 0.0)
            if pause is None or not error.retryable or error.code in PASSING or wait > LONGEST_PAUSE:
                raise
            await asyncio.sleep(wait)
        else:
            metrics.EMBEDDING_CALLS.labels("done").inc()
            return found
    raise AssertionError


def _keep_vectors(ids: list[uuid.UUID], vectors: list[list[float]]) -> None:
    """Of passages that are there still: nothing is lost with those of a document that is gone, or is read anew."""
    texts = Value([as_text(one) for one in vectors], ArrayField(TextField()))
    place = Func(Value(ids, ArrayField(UUIDField())), F("id"), function="array_position")
    Chunk.objects.filter(id__in=ids).update(embedding=Func(texts, place, template=ONE_OF, arg_joiner=")["))
