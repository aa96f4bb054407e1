"""Executes runs as tasks of this process, under a lease: outlives requests and sockets, never the lease.

A run is started here (`execute`), writes its log, is renewed every HEARTBEAT_SECONDS together with all other
runs of the process, is checkpointed to PostgreSQL, and ends through `chat.finish` exactly once. When the
process dies, the lease runs out and `chat.recovery` ends the run from what Redis and PostgreSQL hold.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.conf import settings
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from accounts.actors import Actor
from agents.runtime import engine
from agents.runtime.events import run_queued, run_started
from agents.runtime.spec import AgentSpec, Transcript, Turn
from agents.runtime.team import run_team
from agents.runtime.trace import Trace
from agents.tools.gate import AwaitsApproval, Decision, Gate
from chat import finish, measures, parking, steps, tasks
from chat.fallbacks import client_of_run
from chat.finish import Continued, Outcome
from chat.lock import Locks
from chat.log import LogWriter, RunLog, encode_events
from chat.places import Places
from chat.queue import WAIT_SECONDS, RunQueue
from chat.relay import Relay
from chat.teams import TeamBacking
from core import cancelling
from core.errors import PaasError, from_exception
from llm import wire
from tenants.db import aio

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15
HEARTBEAT_SECONDS = 4.0
CHECKPOINT_SECONDS = 1.0
CHECKPOINT_EVENTS = 64
MAX_LIVE_RUNS = 2_000
FAREWELL_SECONDS = 2.0
MAX_WAITING_HERE = 500  # for one of those places

HEARTBEAT_SQL = "SELECT * FROM public.usage_heartbeat(%s::uuid[], %s::int[], %s::bigint[], %s * interval '1 second')"
SEGMENTS_SQL = "SELECT store_segments(%s::uuid[], %s::int[], %s::int[], %s::int[], %s::bytea[])"


@dataclass(eq=False, slots=True)
class LiveRun:
    """A run that executes here."""

    log: RunLog
    actor: Actor
    spec: AgentSpec
    turn: Turn
    conversation_id: uuid.UUID | None
    input_estimate: int
    continued: Continued | None = None
    transcript: Transcript = field(default_factory=Transcript)
    trace: Trace | None = None  # of a run that calls tools
    gate: Gate | None = None
    decisions: dict[str, Decision] = field(default_factory=dict)  # on what it has waited for
    earlier: list[dict[str, Any]] = field(default_factory=list)  # what its calls used before it waited
    resumed: bool = False  # it has waited for a person, and goes on
    numbers: dict[str, int] = field(default_factory=dict)  # of the passages that it was shown before, by their ids
    waits: bool = False  # it cannot go on without a person
    work: asyncio.Task[None] | None = None
    stop_code: str = ""  # why `work` was cancelled: "cancelled", an error code, or "moved"
    queued: bool = False  # it waits until the database lets it in
    stored: bool = False  # what it is to do is in the database, until it begins
    background: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # it was let in, or stopped
    door: str = ""  # by which it was asked for
    asked_at: float = field(default_factory=time.perf_counter)  # s
    silent_at: float = 0.0  # when its model had said everything, by the same clock

    @property
    def tainted(self) -> bool:
        """Whether it has read something from outside."""
        known = self.gate is not None and self.gate.tainted
        return known or (self.trace is not None and any(step.tainted for step in self.trace.steps))

    @property
    def first_seconds(self) -> float | None:
        """From its start to its first token; None without one, and of a run that has waited for a person."""
        spoken = self.log.spoken_at
        return None if spoken is None or self.resumed else max(0.0, spoken - self.asked_at)

    def stop(self, code: str) -> None:
        """Cancel the model call, or the waiting for it; the run then ends with `code`."""
        self.stop_code = self.stop_code or code
        self.changed.set()
        if self.work is not None:
            self.work.cancel()

    def admit(self) -> None:
        """It may begin."""
        self.queued = False
        self.changed.set()


class Host:
    """This process as an executor of runs. One for each event loop.

    worker: it also takes the runs that are left to workers (chat/worker.py).
    """

    def __init__(self, *, worker: bool = False) -> None:
        self.id = f"{socket.gethostname()[:30]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.worker = worker
        self.relay = Relay(settings.REDIS_URL, self.id, self._on_command, also=[tasks.WORKER] if worker else [])
        self.locks = Locks(self.relay.client, LEASE_SECONDS)
        self.writer = LogWriter(self.relay, self.locks.distrust)
        self.queue = RunQueue(self.relay)
        self.places = Places(MAX_LIVE_RUNS)
        self.runs: dict[uuid.UUID, LiveRun] = {}
        self.stopping = False
        self.hurry = asyncio.Event()  # while stopping: wait for nobody any more
        self.leaving: set[Callable[[], None]] = set()  # called when this process begins to stop
        self.offered = asyncio.Event()  # workers: there may be a run to take
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()

    # --- life ---------------------------------------------------------------------------------
    def start(self) -> list[asyncio.Task[None]]:
        """Start the process-wide loops; the caller cancels them."""
        loops = (self.writer.run(), self.relay.listen(), self._heartbeats(), self._checkpoints())
        return [asyncio.create_task(loop) for loop in loops]

    async def drain(self, seconds: float) -> None:
        """Take no new runs; let the present ones end for `seconds`, or until `hurry` is set (A73).

        Then what has not begun is left to the workers, and the rest is interrupted and ended.
        """
        self.stopping = True
        for leave in list(self.leaving):
            leave()
        if self._tasks:
            self._idle.clear()
            waits = [asyncio.create_task(event.wait()) for event in (self._idle, self.hurry)]
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        for run in list(self.runs.values()):
            if run.stored and await self._leave(run):
                run.stop("moved")
                run.log.move()
            else:
                run.stop("run_interrupted")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        await self.writer.flush()
        for _ in range(round(FAREWELL_SECONDS / 0.02)):
            if not self.leaving:
                break
            await asyncio.sleep(0.02)  # sockets that have the last events to send

    async def _leave(self, run: LiveRun) -> bool:
        try:
            await self.writer.flush()
            left = await tasks.hand_over(run.log.tenant, run.log.run_id, run.log.fence)
            if left:
                await self.offer()
        except PaasError:
            log.warning("a run that waits could not be left to the workers", run=str(run.log.run_id))
            return False
        return left

    # --- runs ---------------------------------------------------------------------------------
    def check_capacity(self) -> None:
        """Raise when this process takes no more runs."""
        if self.stopping:
            raise PaasError("server_stopping", retry_after=2)
        if self.places.waiting >= MAX_WAITING_HERE:
            raise PaasError("too_many_runs", "The server is busy. Try again in a moment.", retry_after=2)

    def execute(self, run: LiveRun) -> None:
        """Run it, as a task of its own. The turn has been started in the database."""
        self.runs[run.log.run_id] = run
        task = asyncio.create_task(self._observed(run))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def offer(self) -> None:
        """Tell the workers that there is a run to take; they look by themselves, too."""
        try:
            await self.relay.command(tasks.WORKER, "take")
        except RedisError:
            log.info("redis is away; a worker will find the run all the same")

    def new_log(self, actor: Actor, run_id: uuid.UUID, asked_at: float, *, shown_live: bool) -> RunLog:
        """An empty log for a run that starts here; `asked_at`: when its lease was asked for (the loop's time)."""
        run = RunLog(actor.tenant, run_id, 1, self.writer, shown_live=shown_live)
        run.lease_until = asked_at + LEASE_SECONDS
        return run

    async def _observed(self, run: LiveRun) -> None:
        with (
            bound_contextvars(tenant=str(run.log.tenant.id), run_id=str(run.log.run_id)),
            measures.span_of(run) as span,
        ):
            if (outcome := await self._execute(run)) is not None:
                measures.ended_here(run, outcome, span)

    async def _execute(self, run: LiveRun) -> Outcome | None:
        """How it has ended; None where it goes on elsewhere."""
        spec, placed = run.spec, False
        continues = run.continued.message_id if run.continued else None
        try:
            error = await self._wait_for_turn(run) if run.queued else None
            if error is None and not run.stop_code:
                placed = self.places.take() or await self._wait_for_place(run)
                error = None if placed or run.stop_code else PaasError("too_many_runs", retry_after=5)
            if run.stored and placed:
                run.stored = False
                if not await tasks.begun(run.log.tenant, run.log.run_id, run.log.fence):
                    run.stop("moved")
                    run.log.move()
            if run.stop_code != "moved":
                if not run.resumed:
                    run.log.append([run_started(spec.slug, spec.name, spec.model, run.conversation_id, continues)])
                error = error or await self._work(run)
            if run.stop_code == "moved":
                return None
            # Also in a process that stops: who waits for a person is not interrupted.
            if run.waits and run.stop_code != "cancelled" and await parking.park(run, self.writer) != "stopped":
                return None
            outcome = finish.outcome_of(run, error)
            return outcome if await finish.finish(run.log, outcome) else None
        except Exception:
            log.exception("a run could not be ended here; its lease will run out", run=str(run.log.run_id))
            run.log.move()
            return None
        finally:
            if placed:
                self.places.give()
            self.runs.pop(run.log.run_id, None)
            self.queue.kick(run.log.tenant.id)

    async def _wait_for_turn(self, run: LiveRun) -> PaasError | None:
        if not run.stored:
            try:
                await tasks.store(run.log.tenant, run.log.run_id, run.turn, run.input_estimate)
                run.stored = True
            except PaasError as error:
                log.warning("a run that waits stays with this process", error=error.code, run=str(run.log.run_id))
        return await self.queue.wait(run)

    async def _wait_for_place(self, run: LiveRun) -> bool:
        """Whether the run has got one of this process's places; not, when it was stopped or has waited too long."""
        if not run.resumed:
            run.log.append([run_queued(self.places.waiting + 1)])
        place = self.places.ask(run.log.tenant.id)
        run.changed.clear()
        changed = asyncio.create_task(run.changed.wait())
        await asyncio.wait((place, changed), timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        return not place.cancel()

    async def _work(self, run: LiveRun) -> PaasError | None:
        """The model call; returns the error that ended it, or None. A stop is an error with its code."""
        if run.stop_code:
            return None if run.stop_code in ("cancelled", "moved") else PaasError(run.stop_code)
        spec, turn, transcript, emit = run.spec, run.turn, run.transcript, run.log.append
        tools = steps.toolbox_of(run) if spec.team is None else None
        if tools is not None or spec.team is not None:
            run.trace = run.trace or Trace()
            run.trace.start()
        work: Coroutine[Any, Any, None]
        if spec.team is not None and run.trace is not None:
            work = run_team(spec, turn, transcript, emit, TeamBacking(run, run.trace))
        else:
            if run.trace is not None and transcript.steps is None:
                transcript.follow(run.trace.at(""), last_only=bool(turn.output_schema))
            work = engine.run(client_of_run(run), spec.model, turn, transcript, emit, tools)
        run.work = asyncio.create_task(work)
        try:
            await run.work
        except asyncio.CancelledError:
            if run.stop_code in ("cancelled", "moved"):
                return None
            return PaasError(run.stop_code or "run_interrupted")
        except AwaitsApproval:
            run.waits = True
        except PaasError as error:
            return error
        except Exception as error:
            log.exception("the engine failed", run=str(run.log.run_id))
            return from_exception(error)
        finally:
            run.silent_at = time.perf_counter()
        return None

    def cancel(self, run_id: uuid.UUID) -> bool:
        """Stop a run that executes here; False when it does not."""
        run = self.runs.get(run_id)
        if run is None:
            return False
        run.stop("cancelled")
        return True

    def _on_command(self, text: str) -> None:
        verb, _, what = text.partition(":")
        if verb == "cancel":
            self.cancel(uuid.UUID(what))
        elif verb == "look":
            self.queue.kick(uuid.UUID(what))
        elif verb == "take":
            self.offered.set()

    # --- process-wide loops -------------------------------------------------------------------
    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._heartbeat()
            except PaasError as error:
                log.warning("leases could not be renewed", error=error.code, runs=len(self.runs))
            except Exception:
                log.exception("leases could not be renewed")  # and this loop must outlive whatever it was

    async def _heartbeat(self) -> None:
        runs = list(self.runs.values())
        if not runs:
            return
        asked_at = asyncio.get_running_loop().time()
        rows = await aio.database().fetch_platform(
            HEARTBEAT_SQL,
            [
                [run.log.run_id for run in runs],
                [run.log.fence for run in runs],
                [run.transcript.deltas for run in runs],
                LEASE_SECONDS,
            ],
        )
        still_ours: dict[uuid.UUID, bool] = dict(rows)
        for run in runs:
            if run.log.run_id not in still_ours:
                # One that is just being written down may have been settled by that very statement.
                if run.log.run_id in self.runs and not run.log.ended and not run.log.storing.locked():
                    run.stop("moved")
                    run.log.move()
                continue
            run.log.renew(asked_at + LEASE_SECONDS)
            if still_ours[run.log.run_id]:
                run.stop("cancelled")
        held = [run.log for run in runs if run.log.lock and not run.log.ended and not run.log.moved]
        await self.locks.renew([(one.lock, one.run_id, one.fence) for one in held])
        for one in held:
            if one.ended:  # meanwhile, and its end may have let the lock go before it was renewed
                await self.locks.release(one.lock, one.run_id)

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS / 4)
            now = asyncio.get_running_loop().time()
            due: dict[uuid.UUID, list[RunLog]] = defaultdict(list)
            for run in self.runs.values():
                if run.log.writable > run.log.released:
                    self.writer.mark(run.log, urgent=False)
                waiting = run.log.writable - run.log.stored
                if waiting >= CHECKPOINT_EVENTS or (waiting and now - run.log.stored_at >= CHECKPOINT_SECONDS):
                    due[run.log.tenant.id].append(run.log)
            for logs in due.values():
                try:
                    await self._checkpoint(logs)
                except PaasError as error:
                    log.warning("logs could not be stored yet", error=error.code, runs=len(logs))
                except Exception:
                    log.exception("logs could not be stored yet")

    async def _checkpoint(self, logs: list[RunLog]) -> None:
        """Store what these logs of one tenant have gained; one statement."""
        taken = [run for run in logs if run.writable > run.stored and not run.storing.locked() and not run.ended]
        if not taken:
            return
        for run in taken:
            await run.storing.acquire()
        try:
            ends = [run.writable for run in taken]
            await aio.database().fetch_one(
                logs[0].tenant,
                SEGMENTS_SQL,
                [
                    [run.run_id for run in taken],
                    [run.fence for run in taken],
                    [run.stored + 1 for run in taken],
                    ends,
                    [encode_events(run.events[run.stored : end]) for run, end in zip(taken, ends, strict=True)],
                ],
            )
            for run, end in zip(taken, ends, strict=True):
                run.stored, run.stored_at = end, asyncio.get_running_loop().time()
        finally:
            for run in taken:
                run.storing.release()


_hosts: dict[asyncio.AbstractEventLoop, Host] = {}


def current() -> Host:
    """The host of the running event loop. RuntimeError when none is open."""
    try:
        return _hosts[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("No host is open on this event loop.") from None


def open_hosts() -> list[Host]:
    """The hosts of this process, for whoever counts what they do."""
    return list(_hosts.values())


def run_from_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on this process's event loop that has a host, and wait for it here, in another thread."""
    loop = next(loop for loop in _hosts if loop.is_running())
    return asyncio.run_coroutine_threadsafe(work, loop).result()


@asynccontextmanager
async def opened(*, drain_seconds: float = 3, worker: bool = False) -> AsyncIterator[Host]:
    """A host for this event loop for the block (the process's lifespan, or a test)."""
    loop = asyncio.get_running_loop()
    async with aio.opened():
        host = _hosts[loop] = Host(worker=worker)
        loops = host.start()
        try:
            yield host
        finally:
            await host.drain(drain_seconds)
            await cancelling.ended(loops)
            await host.queue.close()
            await host.relay.close()
            await wire.close()
            del _hosts[loop]
