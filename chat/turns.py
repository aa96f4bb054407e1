"""Starting and stopping turns: what every door calls, and the only writers of runs.

A turn's start is one statement on the hot pool (docs/architecture.md): it checks the conversation, holds the
tokens, and writes message and run; then the run executes in this process.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import orjson
import psycopg
from django.conf import settings
from psycopg.types.json import Jsonb
from redis.exceptions import RedisError

from accounts import rates
from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from agents.access import agent_for
from agents.runtime.spec import DEFAULT_CONTEXT_TOKENS, DEFAULT_OUTPUT_TOKENS, AgentSpec, Choice, Turn
from agents.tools.memory import BUDGET_TOKENS, MEMORY_TOOLS
from chat import client_tools, fallbacks, files, host, idempotency, images, recovery, selectors, tasks
from chat.finish import Continued
from chat.forms import form_of, without_form
from chat.host import LEASE_SECONDS, LiveRun
from chat.idempotency import REPLAYED
from chat.lock import lock_key
from chat.log import RunLog
from chat.queue import MOST_BACKGROUND, MOST_WAITING
from chat.responses import Kept
from chat.terms import terms_of
from core import clock, metrics, tracing
from core.errors import PaasError
from core.ids import uuid7
from llm.tokens import estimate_messages
from tenants import gate, scope
from tenants.db import aio
from tenants.gate import Busy
from usage.standings import Standing, refusal, standing_of

START_SQL = "SELECT code, granted, input_tokens, message, history, quota, NULL FROM start_turn(%s)"
# The same for a person whom the agent may remember.
REMEMBERING_SQL = (
    "SELECT code, granted, input_tokens, message, history, quota, memories FROM start_turn_with_memory(%s)"
)
KEY_SQL = "SELECT code, started FROM turn_of_key(%s, %s, %s)"
BEGUN = ("ok", "queued")
CANCEL_SQL = (
    "UPDATE public.usage_reservation SET cancel_requested = true WHERE run_id = %s AND state = 'held' RETURNING host"
)
TITLE_CHARS = 60
ROOT = uuid.UUID(int=0)  # as a parent: no message
# Vendors differ in what they make of a last message that is the model's own; this one they all understand.
CONTINUE = "Continue your last message exactly where it stops. Repeat nothing of it and add no introduction."
# Doors whose protocol has no way to say that a call waits for a person; there such calls are refused to the model.
ANSWERS_AT_ONCE = frozenset({"openai", "responses", "phase1", "mcp"})
# Parameters of a request that reach the model: of sampling, and what chat/client_tools.py checks.
PARAMETERS = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop", "thinking"),
    *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"),
)


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a door asks for, parsed.

    Either `message` (a turn of a conversation: a new one when conversation_id is None), one of `retry` (the last
    user message of conversation_id again), `regenerate` (another answer beside this one) and `continues` (an
    answer that was cut goes on), or `messages` (a call without conversation, in OpenAI's shape).
    parent_id: the message that `message` follows; None is the last one shown, ROOT another beginning.
    run_id: the run's id where the caller must be able to ask twice and start it once; the second time is
    run_in_progress. tools: the caller's own, as chat.client_tools.checked_tools gives them.
    """

    door: str
    agent: str = ""
    message: str = ""
    conversation_id: uuid.UUID | None = None
    retry: bool = False
    regenerate: uuid.UUID | None = None
    continues: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None
    messages: list[dict[str, Any]] | None = None
    max_tokens: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    stream: bool = True
    tools: tuple[dict[str, Any], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)  # for agents written in Python (agents.runtime.spec.Turn)
    background: bool = False  # a worker does it, and whoever asked does not wait for it
    idempotency_key: str = ""  # asked again with the same key, it is the same turn (chat/idempotency.py)
    response: Kept | None = None  # of /v1/responses, which needs `messages`
    files: tuple[uuid.UUID, ...] = ()  # of the conversation, that `message` comes with (chat/files.py)

    @property
    def answers_again(self) -> bool:
        """Whether it brings no message of its own."""
        return self.retry or self.regenerate is not None or self.continues is not None


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """A turn that runs, or will: its log can be followed at once (chat.follow), wherever it is written.

    log: None when another process writes it. status: `running`, or `queued`. replayed: it was begun by an earlier
    request with the same idempotency key, and is as that one was told; it may have ended long ago.
    """

    run_id: uuid.UUID
    spec: AgentSpec
    log: RunLog | None
    conversation_id: uuid.UUID | None
    message_id: uuid.UUID | None
    title: str | None  # of a new conversation
    input_tokens: int
    status: str = "running"
    replayed: bool = False
    tightest: Standing | None = None  # of the limits on tokens, with this turn held
    asked_as: str = ""  # the agent as the request named it, with its version if it was pinned

    @property
    def name(self) -> str:
        """What the answer says is its model: what was asked for, and the agent's slug where nothing was."""
        return self.asked_as or self.spec.slug

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP answer says of it."""
        return REPLAYED if self.replayed else {}


async def start_turn(actor: Actor, request: TurnRequest) -> StartedTurn:
    """Begin a turn for `actor`.

    Raises permission_denied, agent_not_found, not_found, message_empty, message_too_long, context_too_long,
    unsupported_parameter, run_in_progress, not_continuable, quota_exceeded, model_unpriced, session_limit_reached,
    rate_limited, too_many_runs, too_many_connections, provider_unavailable, idempotency_mismatch,
    idempotency_in_progress, database_unavailable, server_stopping.
    """
    values = {"paas.door": request.door, "paas.tenant.id": str(actor.tenant.id)}
    try:
        with tracing.span("start_turn", values) as span:
            started = await _start_or_replay(actor, request)
            span.set({"paas.run.id": str(started.run_id), "gen_ai.agent.name": started.spec.slug})
            return started
    except PaasError as refused:
        metrics.REFUSALS.labels(refused.code).inc()
        raise


async def _start_or_replay(actor: Actor, request: TurnRequest) -> StartedTurn:
    actor.require(CHAT_WRITE)
    try:
        return await _begin_in_turn(actor, request)
    except PaasError as refused:
        # What was begun under this key stays what it is, whatever has become of its agent or its conversation since.
        # Who is refused because there is too much to do asks nothing more of the database.
        busy = refused.status == 503 or isinstance(refused, Busy)
        if request.idempotency_key and not busy and not refused.code.startswith("idempotency"):
            code, told = await _of_key(actor, request)
            if code is not None:
                return await _replayed(actor, request, code, told)
        raise


async def _begin_in_turn(actor: Actor, request: TurnRequest) -> StartedTurn:
    """`_begin`, once there is a place for it. Workers take no more than they can carry, and nobody waits for them."""
    here, arrived = host.current(), time.perf_counter()
    here.check_capacity()
    if here.worker:
        return await _begin(actor, request, arrived)
    async with gate.of_process.place(actor.tenant.id, times=gate.PROGRAM if actor.key_id else gate.PERSON):
        return await _begin(actor, request, arrived)


async def _begin(actor: Actor, request: TurnRequest, arrived: float) -> StartedTurn:
    here = host.current()
    _check_message(request)
    key = _key(request)  # of the request as it was asked
    spec = await agent_for(actor, request.agent or await _own_agent(actor, request))
    request = await files.named_in(actor, spec, without_form(spec, request))
    client_tools.check_agent(spec, request.tools, request.parameters)
    client_tools.check_model(spec.taken, request.messages, request.tools, request.parameters)
    await rates.admit_to_agent(actor, spec.agent_id, spec.requests_per_minute)

    run_id, message_id = request.run_id or uuid7(), uuid7()
    conversational = request.messages is None
    new = conversational and request.conversation_id is None
    conversation_id = uuid7() if new else request.conversation_id
    title = title_of(request.message) if new else None
    prepared = _prepared(actor, spec, request)
    turn = prepared.turn
    elsewhere = request.background or (settings.RUN_HOST == "worker" and not here.worker)

    start = {
        "run": run_id,
        "conversation": conversation_id,
        "new_conversation": new,
        "message": message_id,
        "title": title,
        "content": request.message,
        "retry": request.answers_again,
        "regenerate": request.regenerate,
        "continue": request.continues,
        "parent": request.parent_id,
        "agent": spec.agent_id,
        "version": spec.version_id,
        "user": actor.user_id,
        "key": actor.key_id,
        "door": request.door,
        "input": images.stored(request.messages) if request.response is None else None,  # a response keeps its own
        "response": asdict(request.response) if request.response else None,
        "input_tokens": prepared.input_tokens,
        "output_tokens": turn.max_output_tokens,
        "history_budget": prepared.history_budget,
        "host": tasks.WORKER if elsewhere else here.id,
        "lease_seconds": tasks.lease_seconds(request.background) if elsewhere else LEASE_SECONDS,
        "agent_slug": spec.slug,
        "provider": spec.provider_name,
        "model": spec.model,
        # Each call of a team's members is held before it is made, at its own price.
        "terms": terms_of(spec.taken, *(one.info for one in prepared.stand_ins if spec.team is None)),
        "queue": MOST_BACKGROUND if request.background else MOST_WAITING,
        "background": request.background,
        "task": tasks.task_of(turn) if elsewhere else None,
        "idempotency": key,
        "memory_budget": BUDGET_TOKENS if turn.memory else None,
    }
    lock = lock_key(actor.tenant, actor.user_id or actor.key_id, conversation_id) if conversation_id else ""
    if lock and not new and not await here.locks.take(lock, run_id):
        raise PaasError("run_in_progress")
    asked_at = asyncio.get_running_loop().time()
    code = ""
    try:
        begun = await _start(actor, start)
        code = begun.code
    finally:
        if lock and not new and code not in BEGUN:
            await here.locks.release(lock, run_id)
    if code == "replayed":
        return await _replayed(actor, request, code, begun.history)
    if code not in BEGUN:
        raise _refusal(code, begun.input_tokens, begun.quota)

    status, log = "queued" if code == "queued" else "running", None
    if elsewhere:
        await here.offer()
    else:
        log = here.new_log(actor, run_id, asked_at, shown_live=turn.stream)
        log.lock = lock
        run = _live_run(log, actor, spec, request, turn, begun)
        run.conversation_id, run.asked_at = conversation_id, arrived
        here.execute(run)
    tightest = standing_of(begun.quota) if begun.quota else None
    answered = begun.message if conversational else None
    counted = begun.input_tokens
    return StartedTurn(
        run_id, spec, log, conversation_id, answered, title, counted, status, tightest=tightest, asked_as=request.agent
    )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A turn as far as it is known before the database is asked. history_budget: the room for what was said before."""

    turn: Turn
    input_tokens: int
    history_budget: int
    stand_ins: tuple[Choice, ...]


def _prepared(actor: Actor, spec: AgentSpec, request: TurnRequest) -> _Prepared:
    stand_ins = fallbacks.usable(actor, spec, request)
    fallbacks.check_vendors(spec, stand_ins)
    stream = request.stream or request.messages is None
    form = form_of(spec, request, stand_ins, stream)
    instructions = "\n\n".join(filter(None, (spec.instructions, form.prompt)))
    asked = _asked(instructions, request)
    parameters = _parameters(spec, request) | form.parameters
    remembers = spec.memory and actor.user_id is not None
    input_tokens = _estimate(spec, asked, request.tools, parameters.get("response_format"), remembers)
    context = spec.taken.context_tokens or DEFAULT_CONTEXT_TOKENS
    output_tokens = _output_limit(spec, request, context - input_tokens)
    turn = Turn(
        messages=asked,
        max_output_tokens=output_tokens,
        parameters=parameters,
        stream=stream,
        client_tools=request.tools,
        options=request.options,
        fallbacks=tuple(one.key for one in stand_ins),
        memory=remembers,
        instructions=1 if instructions else 0,
        output_schema=form.schema,
        output_mode=form.mode,
        may_wait=request.door not in ANSWERS_AT_ONCE,
    )
    return _Prepared(turn, input_tokens, context - input_tokens - output_tokens, stand_ins)


def _live_run(log: RunLog, actor: Actor, spec: AgentSpec, request: TurnRequest, turn: Turn, begun: _Begun) -> LiveRun:
    """The run as this process executes it, with all that the database knew."""
    history = begun.history
    if turn.memory:
        turn = tasks.with_memories(turn, begun.memories)
    turn = tasks.with_history(turn, history, begun.granted)
    continued = Continued(request.continues, history[-1]["content"]) if request.continues and history else None
    run = LiveRun(log, actor, spec, turn, None, begun.input_tokens, continued)
    run.queued, run.door = begun.code == "queued", request.door
    return run


async def _own_agent(actor: Actor, request: TurnRequest) -> str:
    """Who answers where nobody was named: who wrote the answer in question, else whom the conversation is with."""
    answer, conversation = request.regenerate or request.continues, request.conversation_id
    if conversation is None:
        return ""
    if answer is not None:
        return await scope.run_in_tenant(actor.tenant, selectors.agent_of_answer, actor, conversation, answer)
    return await scope.run_in_tenant(actor.tenant, selectors.agent_of_conversation, actor, conversation)


class _Begun(NamedTuple):
    """What the database says of a turn's start: `start_turn` in chat/migrations/0004_runs.sql, and the memories of
    `start_turn_with_memory`."""

    code: str
    granted: int
    input_tokens: int
    message: uuid.UUID | None
    history: Any
    quota: dict[str, Any] | None
    memories: list[dict[str, Any]] | None


async def _start(actor: Actor, start: dict[str, Any]) -> _Begun:
    sql = START_SQL if start["memory_budget"] is None else REMEMBERING_SQL
    try:
        row = await aio.database().fetch_one(actor.tenant, sql, [Jsonb(start, dumps=orjson.dumps)])
    except psycopg.errors.UniqueViolation:
        raise PaasError("run_in_progress") from None  # two at the same moment: the index let one through
    except psycopg.errors.UntranslatableCharacter:
        raise PaasError("validation_failed", "Text with NUL characters cannot be stored.") from None
    if row is None:
        raise PaasError("internal_error")
    return _Begun(*row)


def _key(request: TurnRequest) -> dict[str, str] | None:
    if not request.idempotency_key:
        return None
    return {"key": request.idempotency_key, "digest": idempotency.digest_of(request)}


async def _of_key(actor: Actor, request: TurnRequest) -> tuple[Any, ...]:
    """(what `turn_of_key` says, what the first answer said)."""
    params = [actor.user_id or actor.key_id, request.idempotency_key, idempotency.digest_of(request)]
    row = await aio.database().fetch_one(actor.tenant, KEY_SQL, params)
    return row if row is not None else (None, None)


async def _replayed(actor: Actor, request: TurnRequest, code: str, told: dict[str, Any] | None) -> StartedTurn:
    """The turn that an earlier request with the same key began."""
    if code != "replayed" or told is None:
        raise idempotency.refusal(code)
    run_id = uuid.UUID(told["run"])
    spec = await scope.run_in_tenant(actor.tenant, selectors.spec_of_run, run_id)
    conversation_id, message_id = (
        uuid.UUID(told[name]) if told[name] else None for name in ("conversation", "message")
    )
    return StartedTurn(
        run_id,
        spec,
        None,
        conversation_id,
        message_id if conversation_id else None,
        told["title"],
        told["input_tokens"],
        told["status"],
        replayed=True,
        asked_as=request.agent,
    )


def _check_message(request: TurnRequest) -> None:
    if request.messages is not None or request.answers_again:
        return
    if not request.message.strip():
        raise PaasError("message_empty", details={"param": "message"})
    if len(request.message) > settings.MAX_MESSAGE_CHARS:
        raise PaasError(
            "message_too_long",
            f"The message has {len(request.message):,} characters; {settings.MAX_MESSAGE_CHARS:,} are allowed.",
            details={"param": "message", "limit": settings.MAX_MESSAGE_CHARS},
        )


def _asked(instructions: str, request: TurnRequest) -> list[dict[str, Any]]:
    """The messages of this turn itself: instructions, then what is new (history comes from the database)."""
    asked = [{"role": "system", "content": instructions}] if instructions else []
    if request.messages is not None:
        asked += request.messages
    elif request.continues is not None:
        asked.append({"role": "user", "content": CONTINUE})
    elif not request.answers_again:
        asked.append({"role": "user", "content": request.message})
    return asked


def _estimate(
    spec: AgentSpec, asked: list[dict[str, Any]], callers: tuple[dict[str, Any], ...], form: Any, remembers: bool
) -> int:
    """Tokens of what is sent first: the messages, the tools of agent and caller, and a schema."""
    own = spec.tools + MEMORY_TOOLS if remembers else spec.tools
    tools = (*(tool.offer for tool in own), *callers)
    return estimate_messages(asked, (*tools, form) if form else tools)


def _output_limit(spec: AgentSpec, request: TurnRequest, room: int) -> int:
    """The most output tokens of this call: the least of what is asked, the model's own limit, and the room left."""
    limits = [request.max_tokens, spec.parameters.get("max_tokens"), spec.taken.max_output_tokens]
    wanted = min((limit for limit in limits if limit), default=DEFAULT_OUTPUT_TOKENS)
    if room < 1:
        raise PaasError("context_too_long", details={"param": "messages"})
    return max(1, min(wanted, room if request.messages is not None else max(room // 2, 1)))


def _parameters(spec: AgentSpec, request: TurnRequest) -> dict[str, Any]:
    own = {name: value for name, value in spec.parameters.items() if name in PARAMETERS}
    return own | {name: value for name, value in request.parameters.items() if name in PARAMETERS}


def _refusal(code: str, counted: int, quota: dict[str, Any] | None) -> PaasError:
    if code == "session_limit_reached" and quota is None:
        return session_limit()
    if code in ("quota_exceeded", "session_limit_reached", "model_unpriced"):
        return refusal(code, quota, counted)
    if code.startswith("idempotency"):
        return idempotency.refusal(code)
    return PaasError(code, retry_after=5 if code == "too_many_runs" else None)


def session_limit() -> PaasError:
    """That the plan allows no more new conversations today, and when it does again."""
    now = clock.now()
    resets_at = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return PaasError(
        "session_limit_reached",
        retry_after=(resets_at - now).total_seconds(),
        details={"resets_at": resets_at.isoformat()},
    )


def title_of(message: str) -> str:
    """A conversation's first title: the first line of its first message, at most TITLE_CHARS long."""
    line = " ".join(message.strip().splitlines()[0].split()) if message.strip() else ""
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


async def cancel_turn(actor: Actor, run_id: uuid.UUID) -> None:
    """Stop a run of `actor`, wherever it executes. A run that has ended stays as it is. Raises not_found.

    The process that executes it hears of it through Redis within milliseconds; if Redis is away, at its
    next heartbeat, because the wish is written down first.
    """
    actor.require(CHAT_WRITE)
    here = host.current()
    live = here.runs.get(run_id)
    if live is not None and selectors.owns(actor, live.actor):
        here.cancel(run_id)
        return
    await scope.run_in_tenant(actor.tenant, selectors.run_for, actor, run_id)
    row = await aio.database().fetch_one(actor.tenant, CANCEL_SQL, [run_id])
    if row is not None and row[0] in tasks.UNHELD:
        await recovery.end_unclaimed(here, actor.tenant, run_id)  # nobody has it who could be told
    elif row is not None:
        try:
            await here.relay.command(row[0], f"cancel:{run_id}")
        except RedisError:
            return  # the heartbeat will tell
