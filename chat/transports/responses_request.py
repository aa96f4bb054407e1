"""What a client of OpenAI's responses may ask, checked field by field, and its items as a model reads them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from agents.parameters import problem_with
from chat.responses import Kept
from chat.transports.responses_items import Item, invalid, messages_of
from chat.turns import TurnRequest
from core.errors import PaasError

ID = re.compile(r"resp_([0-9a-f]{32})")
ROLES = frozenset({"user", "assistant", "system", "developer"})
TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
MOST_CHARS = 10  # times the limit of one message, over all items of a request
MOST_METADATA = 16
METADATA_KEY_CHARS, METADATA_VALUE_CHARS = 64, 512
# What asks for something that is not done here, so that it must not be passed over.
UNSUPPORTED = {
    "conversation": "Conversation objects are not offered; go on with previous_response_id.",
    "prompt": "Stored prompts are not offered; an agent has its instructions.",
    "context_management": "context_management is not offered.",
    "top_logprobs": "Log probabilities are not offered.",
    "tools": "tools of the caller are not supported yet; give the agent its tools instead.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read. items: those of this request, as they are kept; they have no ids yet."""

    agent: str
    previous: uuid.UUID | None
    items: list[Item]
    repeated: dict[str, Any]  # the fields that the answer repeats
    parameters: dict[str, Any]
    stream: bool

    @property
    def stored(self) -> bool:
        """Whether the response can be asked for later."""
        return bool(self.repeated["store"])

    @property
    def background(self) -> bool:
        """Whether nobody waits for it."""
        return bool(self.repeated["background"])

    def turn(self, items: list[Item], idempotency_key: str = "") -> TurnRequest:
        """The turn that answers these items: those of earlier responses, then those of this request."""
        instructions = self.repeated["instructions"]
        said = [{"role": "system", "content": instructions}] if instructions else []
        return TurnRequest(
            door="responses",
            agent=self.agent,
            messages=said + messages_of(items),
            max_tokens=self.repeated["max_output_tokens"],
            parameters=self.parameters,
            stream=self.stream or self.background,
            background=self.background,
            idempotency_key=idempotency_key,
            response=Kept(
                previous_id=self.previous,
                stored=self.stored,
                request=orjson.dumps(self.repeated).decode(),
                items=orjson.dumps(items).decode(),
            ),
        )


def parse(body: dict[str, Any]) -> Asked:
    """What a body asks for. Raises validation_failed with the field, message_empty, message_too_long, not_found."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "model is required: the slug of an agent.")
    for name, problem in UNSUPPORTED.items():
        if body.get(name):
            raise invalid(name, problem)
    if body.get("truncation") not in (None, "disabled"):
        raise invalid("truncation", "Only truncation = disabled is supported.")
    previous = body.get("previous_response_id")
    store, background = _flag(body, "store", True), _flag(body, "background", False)
    if background and not store:
        raise invalid("store", "A background response is asked for later, so it has to be stored.")
    repeated = {
        "model": model,
        "instructions": _instructions(body.get("instructions")),
        "previous_response_id": previous,
        "max_output_tokens": _number(body, "max_output_tokens"),
        "temperature": _number(body, "temperature"),
        "top_p": _number(body, "top_p"),
        "metadata": _metadata(body.get("metadata")),
        "text": _text_config(body.get("text")),
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": _flag(body, "parallel_tool_calls", True),
        "store": store,
        "background": background,
    }
    return Asked(
        agent=model,
        previous=None if previous is None else parse_id(previous, "previous_response_id"),
        items=_items(body.get("input")),
        repeated=repeated,
        parameters={name: body[name] for name in ("temperature", "top_p") if body.get(name) is not None},
        stream=_flag(body, "stream", False),
    )


def parse_id(text: Any, param: str | None = None) -> uuid.UUID:
    """A response's id from a client; one that is none is simply not found."""
    match = ID.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise PaasError("not_found", details={"param": param} if param else None)
    return uuid.UUID(match[1])


def position(query: dict[str, list[str]]) -> int:
    """`starting_after`: the last event that the client has, or -1. Raises validation_failed (A29)."""
    text = query.get("starting_after", [""])[0]
    if not text:
        return -1
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise invalid("starting_after", "starting_after is the sequence number of an event.")
    return int(text)


# --- items --------------------------------------------------------------------------------------
def _items(value: Any) -> list[Item]:
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise invalid("input", "input is a text, or a list with at least one item.")
    items = [_item(one, f"input[{number}]") for number, one in enumerate(value)]
    found = [item for item in items if item is not None]
    if sum(len(part["text"]) for item in found for part in item["content"]) > settings.MAX_MESSAGE_CHARS * MOST_CHARS:
        raise PaasError("message_too_long", details={"param": "input"})
    if not found:
        raise invalid("input", "input has nothing that a model could read.")
    return found


def _item(value: Any, where: str) -> Item | None:
    """An item as it is kept; None for what a model does not read again."""
    if not isinstance(value, dict):
        raise invalid(where, f"{where} is an object.")
    kind = value.get("type") or "message"
    if kind == "reasoning":
        return None  # thoughts of an earlier answer, sent back as it came
    if kind == "item_reference":
        if not isinstance(value.get("id"), str):
            raise invalid(where, f"{where} needs the id of an item.")
        return {"type": kind, "id": value["id"], "content": []}
    if kind != "message":
        raise invalid(where, f"Items of the type {str(kind)[:40]!r} are not supported.")
    role = value.get("role")
    if role not in ROLES:
        raise invalid(where, f"{where} needs a role: {', '.join(sorted(ROLES))}.")
    content = value.get("content")
    parts = [content] if isinstance(content, str) else content
    if not isinstance(parts, list) or not parts:
        raise invalid(where, f"{where}.content is a text or a list of parts.")
    kept = [_part(part, role, where) for part in parts]
    if role == "user" and not any(part["text"].strip() for part in kept):
        raise PaasError("message_empty", details={"param": where})
    return {"type": "message", "status": "completed", "role": role, "content": kept}


def _part(value: Any, role: str, where: str) -> dict[str, Any]:
    text = value if isinstance(value, str) else None
    if isinstance(value, dict) and value.get("type") in TEXT_PARTS:
        text = value.get("text")
    if not isinstance(text, str):
        raise invalid(where, f"{where}.content has a part that is no text.")
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


# --- fields -------------------------------------------------------------------------------------
def _flag(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise invalid(name, f"{name} is true or false.")
    return default if value is None else value


def _number(body: dict[str, Any], name: str) -> Any:
    value = body.get(name)
    problem = problem_with("max_tokens" if name == "max_output_tokens" else name, value)
    if problem:
        raise invalid(name, problem.replace("max_tokens", name))
    return value


def _instructions(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise invalid("instructions", "instructions is a text.")
    if value and len(value) > settings.MAX_MESSAGE_CHARS:
        raise PaasError("message_too_long", details={"param": "instructions"})
    return value


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    fits = isinstance(value, dict) and len(value) <= MOST_METADATA
    if not fits or not all(
        isinstance(text, str) and len(name) <= METADATA_KEY_CHARS and len(text) <= METADATA_VALUE_CHARS
        for name, text in value.items()
    ):
        raise invalid(
            "metadata",
            f"metadata has at most {MOST_METADATA} texts of {METADATA_VALUE_CHARS} characters, "
            f"under names of {METADATA_KEY_CHARS}.",
        )
    return dict(value)


def _text_config(value: Any) -> dict[str, Any]:
    chosen = value.get("format") if isinstance(value, dict) else None
    if not isinstance(value, dict | None) or not isinstance(chosen, dict | None):
        raise invalid("text", "text is an object, and text.format is one.")
    if chosen is not None and chosen.get("type") != "text":
        raise invalid("text.format", "Only the format text is supported.")
    return {"format": {"type": "text"}}
