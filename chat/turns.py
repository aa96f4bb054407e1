"""Starting and stopping turns: what every door calls, and the only writers of runs.

A turn's start is one statement on the hot pool (docs/architecture.md): it checks the conversation, holds the
tokens, and writes message and run; then the run executes in this process.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import psycopg
from django.conf import settings
from psycopg.types.json import Jsonb
from redis.exceptions import RedisError

from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from agents.access import agent_for
from agents.runtime.spec import AgentSpec, Turn
from chat import host, selectors
from chat.host import LEASE_SECONDS, LiveRun
from chat.log import RunLog
from core import clock
from core.errors import PaasError
from core.ids import uuid7
from llm.tokens import estimate_messages
from tenants import scope
from tenants.db import aio

START_SQL = "SELECT code, granted, input_tokens, message, history FROM start_turn(%s)"
CANCEL_SQL = (
    "UPDATE public.usage_reservation SET cancel_requested = true WHERE run_id = %s AND state = 'held' RETURNING host"
)
TITLE_CHARS = 60
DEFAULT_OUTPUT_TOKENS = 4096
DEFAULT_CONTEXT_TOKENS = 8192
# Sampling parameters of a request that reach the model.
PARAMETERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop", "thinking")


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a door asks for, parsed.

    Either `message` (a turn of a conversation: a new one when conversation_id is None), `retry` (the last
    user message of conversation_id again), or `messages` (a call without conversation, in OpenAI's shape).
    """

    door: str
    agent: str = ""
    message: str = ""
    conversation_id: uuid.UUID | None = None
    retry: bool = False
    messages: list[dict[str, Any]] | None = None
    max_tokens: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    stream: bool = True
    options: dict[str, Any] = field(default_factory=dict)  # for agents written in Python (agents.runtime.spec.Turn)


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """A turn that runs: its log can be followed at once."""

    run_id: uuid.UUID
    spec: AgentSpec
    log: RunLog
    conversation_id: uuid.UUID | None
    message_id: uuid.UUID | None
    title: str | None  # of a new conversation
    input_tokens: int


async def start_turn(actor: Actor, request: TurnRequest) -> StartedTurn:
    """Begin a turn for `actor`.

    Raises permission_denied, agent_not_found, not_found, message_empty, message_too_long, context_too_long,
    run_in_progress, quota_exceeded, session_limit_reached, database_unavailable, server_stopping.
    """
    actor.require(CHAT_WRITE)
    here = host.current()
    here.check_capacity()
    _check_message(request)
    slug = request.agent
    if not slug and request.conversation_id is not None:
        slug = await scope.run_in_tenant(actor.tenant, selectors.agent_of_conversation, actor, request.conversation_id)
    spec = await agent_for(actor, slug)

    run_id, message_id = uuid7(), uuid7()
    conversational = request.messages is None
    new = conversational and request.conversation_id is None
    conversation_id = uuid7() if new else request.conversation_id
    title = title_of(request.message) if new else None
    asked = _asked(spec, request)
    input_tokens = estimate_messages(asked)
    context = spec.info.context_tokens or DEFAULT_CONTEXT_TOKENS
    output_tokens = _output_limit(spec, request, context - input_tokens)

    start = {
        "run": run_id,
        "conversation": conversation_id,
        "new_conversation": new,
        "message": message_id,
        "title": title,
        "content": request.message,
        "retry": request.retry,
        "agent": spec.agent_id,
        "version": spec.version_id,
        "user": actor.user_id,
        "key": actor.key_id,
        "door": request.door,
        "input": request.messages,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "history_budget": context - input_tokens - output_tokens,
        "host": here.id,
        "lease_seconds": LEASE_SECONDS,
        "agent_slug": spec.slug,
        "provider": spec.provider_name,
        "model": spec.model,
    }
    asked_at = asyncio.get_running_loop().time()
    code, granted, counted, stored_message, history = await _start(actor, start)
    if code != "ok":
        raise _refusal(code, counted)

    instructions = 1 if spec.instructions else 0
    messages = asked[:instructions] + (history or []) + asked[instructions:]
    stream = request.stream or conversational
    log = here.new_log(actor, run_id, asked_at, shown_live=stream)
    turn = Turn(
        messages=messages,
        max_output_tokens=granted,
        parameters=_parameters(spec, request),
        stream=stream,
        options=request.options,
    )
    here.execute(LiveRun(log, actor, spec, turn, conversation_id, counted))
    return StartedTurn(run_id, spec, log, conversation_id, stored_message if conversational else None, title, counted)


async def _start(actor: Actor, start: dict[str, Any]) -> tuple[Any, ...]:
    try:
        row = await aio.database().fetch_one(actor.tenant, START_SQL, [Jsonb(start, dumps=orjson.dumps)])
    except psycopg.errors.UniqueViolation:
        raise PaasError("run_in_progress") from None  # two at the same moment: the index let one through
    except psycopg.errors.UntranslatableCharacter:
        raise PaasError("validation_failed", "Text with NUL characters cannot be stored.") from None
    if row is None:
        raise PaasError("internal_error")
    return row


def _check_message(request: TurnRequest) -> None:
    if request.messages is not None or request.retry:
        return
    if not request.message.strip():
        raise PaasError("message_empty", details={"param": "message"})
    if len(request.message) > settings.MAX_MESSAGE_CHARS:
        raise PaasError(
            "message_too_long",
            f"The message has {len(request.message):,} characters; {settings.MAX_MESSAGE_CHARS:,} are allowed.",
            details={"param": "message", "limit": settings.MAX_MESSAGE_CHARS},
        )


def _asked(spec: AgentSpec, request: TurnRequest) -> list[dict[str, Any]]:
    """The messages of this turn itself: instructions, then what is new (history comes from the database)."""
    asked = [{"role": "system", "content": spec.instructions}] if spec.instructions else []
    if request.messages is not None:
        asked += request.messages
    elif not request.retry:
        asked.append({"role": "user", "content": request.message})
    return asked


def _output_limit(spec: AgentSpec, request: TurnRequest, room: int) -> int:
    """The most output tokens of this call: the least of what is asked, the model's own limit, and the room left."""
    limits = [request.max_tokens, spec.parameters.get("max_tokens"), spec.info.max_output_tokens]
    wanted = min((limit for limit in limits if limit), default=DEFAULT_OUTPUT_TOKENS)
    if room < 1:
        raise PaasError("context_too_long", details={"param": "messages"})
    return max(1, min(wanted, room if request.messages is not None else max(room // 2, 1)))


def _parameters(spec: AgentSpec, request: TurnRequest) -> dict[str, Any]:
    own = {name: value for name, value in spec.parameters.items() if name in PARAMETERS}
    return own | {name: value for name, value in request.parameters.items() if name in PARAMETERS}


def _refusal(code: str, counted: int) -> PaasError:
    if code == "session_limit_reached":
        return session_limit()
    if code != "quota_exceeded":
        return PaasError(code)
    resets_at = clock.next_month(clock.month_of(clock.now()))
    seconds = (resets_at - clock.now()).total_seconds()
    return PaasError(
        code,
        f"The token quota of this month does not cover this message. It resets on {resets_at:%Y-%m-%d} (UTC).",
        retry_after=seconds,
        details={"resets_at": resets_at.isoformat(), "input_tokens": counted},
    )


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
    if row is not None:
        try:
            await here.relay.command(row[0], f"cancel:{run_id}")
        except RedisError:
            return  # the heartbeat will tell
