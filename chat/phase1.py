"""The Phase 1 API (docs/phase1.md) without its wire: what its clients may send, and how things look to them.

Its sessions are conversations, its agents' types are slugs. What does not validate is 422 there, and says where.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import Count, Q, QuerySet

from accounts.actors import Actor
from accounts.policies import CHAT_READ, CHAT_WRITE
from agents import builtin_specs
from agents.parameters import problem_with
from chat import selectors, services
from chat.beginnings import conversation_begin
from chat.models import Conversation, Message
from chat.turns import PARAMETERS, TurnRequest
from core.errors import PaasError
from tenants import scope

MOST_CHARS = 10_000
MOST_SESSIONS, DEFAULT_SESSIONS = 1000, 100


class Invalid(PaasError):
    """A body or query that does not validate: 422 there, with the place, a sentence and a kind for each fault."""

    def __init__(self, *faults: tuple[tuple[str, ...], str, str]) -> None:
        errors = [{"loc": list(place), "msg": sentence, "type": kind} for place, sentence, kind in faults]
        super().__init__("validation_failed", "The request does not validate.", details={"errors": errors})


class AgentUnready(PaasError):
    """The agent cannot answer as it is set up. To clients of Phase 1 that is an agent that fails, no refusal."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A message for an agent. config: sampling parameters, `events`, and whatever the agent itself takes."""

    agent_type: str
    message: str
    session_id: str | None
    config: dict[str, Any]


# --- what clients send ------------------------------------------------------------------------------
def asked_of(body: dict[str, Any]) -> Asked:
    """`POST /chat/completions`. Raises Invalid."""
    session = body.get("session_id")
    faults = [*_text_faults(body, "agent_type", 100), *_text_faults(body, "message", MOST_CHARS)]
    if session is not None and not isinstance(session, str):
        faults.append((("body", "session_id"), "Input should be a valid string", "string_type"))
    faults += config_faults(body.get("config"), "body", "config")
    if faults:
        raise Invalid(*faults)
    return Asked(body["agent_type"], body["message"], session, body.get("config") or {})


def executed_of(agent_type: str, query: dict[str, list[str]], body: dict[str, Any]) -> Asked:
    """`POST /agents/{agent_type}/execute`: the task in the query or the body; the body is the config, or has one.

    Raises Invalid.
    """
    rest = dict(body)
    task: Any = query.get("task", [None])[0]
    if task is None:
        task = rest.pop("task", None)
    config = rest["config"] if set(rest) == {"config"} else rest
    faults = _text_faults({"task": task} if task is not None else {}, "task", MOST_CHARS, place="query")
    faults += config_faults(config, "body")
    if faults:
        raise Invalid(*faults)
    return Asked(agent_type, task, None, config or {})


def new_session_of(body: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """`POST /sessions`: (agent_type, config, metadata). Raises Invalid."""
    faults = [*_text_faults(body, "agent_type", 100), *config_faults(body.get("config"), "body", "config")]
    faults += _object_faults(body.get("metadata"), "body", "metadata")
    if faults:
        raise Invalid(*faults)
    return body["agent_type"], body.get("config") or {}, body.get("metadata") or {}


def limit_of(query: dict[str, list[str]]) -> int:
    """How many sessions a list may have. Raises Invalid."""
    text = query.get("limit", [str(DEFAULT_SESSIONS)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_SESSIONS):
        raise Invalid((("query", "limit"), f"Input should be a whole number from 1 to {MOST_SESSIONS}", "int_range"))
    return int(text)


def config_faults(config: Any, *place: str) -> list[tuple[tuple[str, ...], str, str]]:
    """What is wrong with a config: what no model takes, and an `events` that is no list of names."""
    faults = _object_faults(config, *place)
    if faults or not config:
        return faults
    for name in ("max_tokens", *PARAMETERS):
        if problem := problem_with(name, config.get(name)):
            faults.append(((*place, name), problem, "value_error"))
    events = config.get("events", [])
    if not isinstance(events, list) or not all(isinstance(one, str) for one in events):
        faults.append(((*place, "events"), "Input should be a list of names of events", "list_type"))
    return faults


def turn_of(asked: Asked, conversation: Conversation | None, *, stream: bool) -> TurnRequest:
    """The turn that is asked for; without `stream` one outside of any conversation, answered whole."""
    config = ((conversation.config or {}) if conversation else {}) | asked.config
    return TurnRequest(
        door="phase1",
        agent=asked.agent_type,
        message=asked.message if stream else "",
        messages=None if stream else [{"role": "user", "content": asked.message}],
        conversation_id=conversation.id if conversation else None,
        max_tokens=config.get("max_tokens"),
        parameters={name: config[name] for name in PARAMETERS if config.get(name) is not None},
        options=config,
        stream=stream,
    )


def _text_faults(
    body: dict[str, Any], name: str, most: int, *, place: str = "body"
) -> list[tuple[tuple[str, ...], str, str]]:
    where, value = (place, name), body.get(name)
    if name not in body:
        return [(where, "Field required", "missing")]
    if not isinstance(value, str):
        return [(where, "Input should be a valid string", "string_type")]
    if not value.strip():
        return [(where, "String should have at least 1 character", "string_too_short")]
    if len(value) > most:
        return [(where, f"String should have at most {most} characters", "string_too_long")]
    return _storable_faults(value, *where)


def _object_faults(value: Any, *place: str) -> list[tuple[tuple[str, ...], str, str]]:
    if value is not None and not isinstance(value, dict):
        return [(place, "Input should be an object", "dict_type")]
    return _storable_faults(value, *place)


def _storable_faults(value: Any, *place: str) -> list[tuple[tuple[str, ...], str, str]]:
    # PostgreSQL's texts and JSON cannot hold NUL.
    if value and b"\\u0000" in orjson.dumps(value):
        return [(place, "Text with NUL characters cannot be stored", "value_error")]
    return []


# --- agents -----------------------------------------------------------------------------------------
async def agent_views(actor: Actor) -> list[dict[str, Any]]:
    """The agents that the actor may use. Raises permission_denied."""
    actor.require(CHAT_READ)
    return await scope.run_in_tenant(actor.tenant, builtin_specs.agent_views, actor)


async def agent_view(actor: Actor, agent_type: str) -> dict[str, Any]:
    """One of them. Raises permission_denied, agent_not_found with what is available."""
    for view in await agent_views(actor):
        if view["slug"] == agent_type:
            return view
    raise await unknown_agent(actor, agent_type)


async def unknown_agent(actor: Actor, agent_type: str) -> PaasError:
    """That there is no such agent, and which there are, for who may know."""
    known = CHAT_READ in actor.actions
    slugs = [view["slug"] for view in await agent_views(actor)] if known else []
    available = f" Available: {', '.join(slugs) or 'none'}." if known else ""
    return PaasError("agent_not_found", f"There is no agent {agent_type[:100]!r}.{available}")


# --- sessions ---------------------------------------------------------------------------------------
async def session_begin(actor: Actor, agent_type: str, config: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """A new session. Raises permission_denied, agent_not_found, session_limit_reached."""
    try:
        made = await conversation_begin(actor, agent_type, config=config, meta=meta)
    except PaasError as error:
        raise await unknown_agent(actor, agent_type) if error.code == "agent_not_found" else error from None
    return await session_named(actor, str(made))


async def conversation_named(actor: Actor, session_id: str) -> Conversation:
    """The actor's session. Raises not_found, permission_denied."""
    return await scope.run_in_tenant(actor.tenant, _conversation, actor, session_id)


async def session_named(actor: Actor, session_id: str) -> dict[str, Any]:
    """The actor's session as the API shows it. Raises not_found, permission_denied."""
    return await scope.run_in_tenant(actor.tenant, lambda: session_view(_conversation(actor, session_id)))


async def session_list(actor: Actor, agent_type: str, limit: int) -> list[dict[str, Any]]:
    """The actor's newest sessions. Raises permission_denied."""

    def read() -> list[dict[str, Any]]:
        found = _counted(actor)
        if agent_type:
            found = found.filter(agent__slug=agent_type)
        return [session_view(one) for one in found[:limit]]

    return await scope.run_in_tenant(actor.tenant, read)


async def session_delete(actor: Actor, session_id: str) -> None:
    """Take the session out of sight, as on the chat page. Raises not_found, permission_denied."""

    def delete() -> None:
        actor.require(CHAT_WRITE)
        services.conversation_delete(actor=actor, conversation_id=_conversation(actor, session_id).id)

    await scope.run_in_tenant(actor.tenant, delete)


async def history(actor: Actor, session_id: str) -> dict[str, Any]:
    """A session with its messages, oldest first. Raises not_found, permission_denied."""

    def read() -> dict[str, Any]:
        found = _conversation(actor, session_id)
        shown = session_view(found)
        return {
            "session_id": shown["id"],
            **{name: shown[name] for name in ("agent_type", "created_at", "updated_at")},
            "messages": [message_view(one) for one in selectors.messages_of(found)],
        }

    return await scope.run_in_tenant(actor.tenant, read)


def _counted(actor: Actor) -> QuerySet[Conversation]:
    shown = Count("messages", filter=Q(messages__superseded=False))  # of all branches, where somebody made some
    return selectors.conversations_for(actor).annotate(message_count=shown)


def _conversation(actor: Actor, session_id: str) -> Conversation:
    try:
        found = _counted(actor).filter(id=uuid.UUID(session_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise PaasError("not_found", "There is no such session, or it is not yours.")
    return found


def session_view(conversation: Any) -> dict[str, Any]:
    """A session, as `_counted` reads it."""
    return {
        "id": str(conversation.id),
        "agent_type": conversation.agent.slug,
        "config": conversation.config,
        "metadata": conversation.meta,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "message_count": conversation.message_count,
    }


def message_view(message: Message) -> dict[str, Any]:
    """A message. An answer has its run's tokens, in and out; an imported one what it had, and its own id."""
    usage = (message.run.usage or {}) if message.role == "assistant" else {}
    tokens = int(usage.get("input_tokens", 0)) + int(usage.get("output_tokens", 0))
    return {
        "id": message.meta.get("id", str(message.id)),
        "role": message.role,
        "content": message.content,
        "tokens_used": message.meta.get("tokens_used", tokens),
        "created_at": message.created_at.isoformat(),
    }
