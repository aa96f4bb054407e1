"""What a client of OpenAI's responses may ask, checked field by field before anything is held or written.

A field that would change the answer and is not supported is refused, by name. Fields that change nothing for the caller
(`user`, `service_tier` ...) are taken and go nowhere; so do fields that OpenAI's API does not have.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from agents.parameters import problem_with
from chat.client_tools import checked_choice, checked_format, checked_tools, invalid, unsupported
from chat.responses import Kept
from chat.transports.responses_input import items_of
from chat.transports.responses_items import Item, kept, messages_of
from chat.turns import TurnRequest
from core.errors import PaasError

ID = re.compile(r"resp_([0-9a-f]{32})")
MOST_METADATA = 16
METADATA_KEY_CHARS, METADATA_VALUE_CHARS = 64, 512
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
# What asks for something that is not done here, so that it must not be passed over; and what to do instead.
UNSUPPORTED = {
    "conversation": "Go on with previous_response_id.",
    "prompt": "An agent has its instructions.",
    "context_management": "",
    "moderation": "",
    "top_logprobs": "",
}
UNSEEN = "message.output_text.logprobs"  # of `include`; the rest of what it may name does not exist here
# What fields of chat completions are called here.
RENAMED = {"messages": "input", "response_format": "text.format", "reasoning_effort": "reasoning.effort"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read. items: those of this request. repeated: the fields that the answer repeats."""

    agent: str
    previous: uuid.UUID | None
    items: list[Item]
    repeated: dict[str, Any]
    parameters: dict[str, Any]
    tools: tuple[dict[str, Any], ...]
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
        """The turn that answers these items: those of earlier responses, then those of this request.

        Raises validation_failed where calls and outputs do not fit together.
        """
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
            tools=self.tools,
            response=Kept(
                previous_id=self.previous,
                stored=self.stored,
                request=orjson.dumps(self.repeated).decode(),
                items=orjson.dumps(kept(items)).decode(),
            ),
        )


def parse(body: dict[str, Any]) -> Asked:
    """What a body asks for.

    Raises validation_failed or unsupported_parameter with the field, message_empty, message_too_long, not_found.
    """
    model, previous = body.get("model"), body.get("previous_response_id")
    if not isinstance(model, str) or not model:
        raise invalid("model", "model is required: the slug of an agent.")
    _check_unsupported(body)
    store, background = _flag(body, "store", True), _flag(body, "background", False)
    if background and not store:
        raise invalid("store", "A background response is asked for later, so it has to be stored.")
    tools = checked_tools(_tools(body.get("tools")))
    choice = checked_choice(_choice(body.get("tool_choice")), tools)
    effort, form = _effort(body.get("reasoning")), _form(body.get("text"))
    parallel = _flag(body, "parallel_tool_calls", True)
    repeated = {
        "model": model,
        "instructions": _instructions(body.get("instructions")),
        "previous_response_id": previous,
        "max_output_tokens": _number(body, "max_output_tokens"),
        "temperature": _number(body, "temperature"),
        "top_p": _number(body, "top_p"),
        "metadata": _metadata(body.get("metadata")),
        "effort": effort,
        "text": {"format": {"type": "text"} if form is None else {"type": form["type"]} | form.get("json_schema", {})},
        "tools": [_shown(tool) for tool in tools],
        "tool_choice": {"type": "function", **choice["function"]} if isinstance(choice, dict) else choice or "auto",
        "parallel_tool_calls": parallel,
        "store": store,
        "background": background,
    }
    parameters = {
        "temperature": repeated["temperature"],
        "top_p": repeated["top_p"],
        "tool_choice": choice,
        "response_format": form,
        "reasoning_effort": effort,
        "parallel_tool_calls": parallel if tools and body.get("parallel_tool_calls") is not None else None,
    }
    return Asked(
        agent=model,
        previous=None if previous is None else parse_id(previous, "previous_response_id"),
        items=items_of(body.get("input")),
        repeated=repeated,
        parameters={name: value for name, value in parameters.items() if value is not None},
        tools=tools,
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


def renamed(error: PaasError) -> PaasError:
    """An error about a field of a turn, which is called otherwise here."""
    param = error.details.get("param")
    if param not in RENAMED:
        return error
    message = error.message.replace("response_format.json_schema", param).replace(param, RENAMED[param])
    return PaasError(
        error.code, message, retry_after=error.retry_after, details=error.details | {"param": RENAMED[param]}
    )


def _check_unsupported(body: dict[str, Any]) -> None:
    for name, advice in UNSUPPORTED.items():
        if body.get(name):
            raise unsupported(name, f"{name} is not supported here. {advice}".strip())
    if body.get("truncation") not in (None, "disabled"):
        raise unsupported("truncation", "Only truncation = disabled is supported.")
    include = body.get("include")
    if not isinstance(include, list | None):
        raise invalid("include", "include is a list of texts.")
    if UNSEEN in (include or ()):
        raise unsupported("include", f"{UNSEEN} is not supported here.")


# --- tools and forms ----------------------------------------------------------------------------
def _tools(value: Any) -> Any:
    """The caller's tools in the shape of chat completions, where a function's fields are one level deeper."""
    if not isinstance(value, list):
        return value
    return [
        {"type": "function", "function": tool} if isinstance(tool, dict) and tool.get("type") == "function" else tool
        for tool in value
    ]


def _shown(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    shown = {name: function.get(name) for name in ("name", "description", "parameters", "strict")}
    return {"type": "function", **shown}


def _choice(value: Any) -> Any:
    if isinstance(value, dict) and value.get("type") == "function":
        return {"type": "function", "function": {"name": value.get("name")}}
    if isinstance(value, dict):
        raise unsupported("tool_choice", "tool_choice is none, auto, required, or a function.")
    return value


def _form(value: Any) -> dict[str, Any] | None:
    """`text.format` as a response_format; None for text."""
    if not isinstance(value, dict | None):
        raise invalid("text", "text is an object.")
    if value is None:
        return None
    if value.get("verbosity") not in (None, "medium"):
        raise unsupported("text.verbosity", "text.verbosity is not supported here.")
    wanted = value.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {name: wanted[name] for name in wanted if name != "type"}}
    try:
        return checked_format(wanted)
    except PaasError as error:
        raise renamed(error) from None


def _effort(value: Any) -> str | None:
    """`reasoning.effort`. A summary is not made: thoughts come whole."""
    if not isinstance(value, dict | None):
        raise invalid("reasoning", "reasoning is an object.")
    effort = (value or {}).get("effort")
    if effort is not None and effort not in EFFORTS:
        raise invalid("reasoning.effort", f"reasoning.effort is one of {', '.join(EFFORTS)}.")
    return None if effort is None else str(effort)


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
