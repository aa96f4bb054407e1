"""What a client of OpenAI's chat completions may ask, checked field by field before anything is held or written.

A field that would change the answer and is not supported is refused, by name. Fields that change nothing for the caller
(`user`, `metadata` ...) are taken and go nowhere; so do fields that OpenAI's API does not have.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents.parameters import problem_with
from chat import images
from chat.client_tools import check_size, checked_choice, checked_format, checked_tools, invalid, is_name, unsupported
from chat.turns import PARAMETERS, TurnRequest
from core.errors import PaasError

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MOST_CHARS = 10  # times the limit of one message, over all messages of a call
MOST_MESSAGES = 4096
MOST_CALLS = 128  # of one message
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
# Field -> the values that ask for nothing which is not done anyway. Everything else that it may hold is refused.
NOTHING_ASKED: dict[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "verbosity": ("medium",),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
SUGGESTIONS = {"functions": "Use tools instead.", "function_call": "Use tool_choice instead."}


def parse(body: dict[str, Any]) -> TurnRequest:
    """The turn that a body asks for.

    Raises validation_failed or unsupported_parameter with the field, message_empty or message_too_long.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "model is required: the slug of an agent.")
    _check_unsupported(body)
    _check_parameters(body)
    tools = checked_tools(body.get("tools"))
    parameters = {name: body[name] for name in PARAMETERS if body.get(name) is not None}
    for name, value in (
        ("tool_choice", checked_choice(body.get("tool_choice"), tools)),
        ("response_format", checked_format(body.get("response_format"))),
        ("parallel_tool_calls", parameters.get("parallel_tool_calls") if tools else None),
    ):
        parameters.pop(name, None)
        if value is not None:
            parameters[name] = value
    return TurnRequest(
        door="openai",
        agent=model,
        messages=_messages(body.get("messages")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        parameters=parameters,
        stream=bool(body.get("stream")),
        tools=tools,
    )


def _check_unsupported(body: dict[str, Any]) -> None:
    if body.get("n") not in (None, 1):
        raise invalid("n", "Only n = 1 is supported.")
    for name, values in NOTHING_ASKED.items():
        value = body.get(name)
        if value is not None and not any(value == one and type(value) is type(one) for one in values):
            raise unsupported(name, f"{name} is not supported here. {SUGGESTIONS.get(name, '')}".strip())


def _check_parameters(body: dict[str, Any]) -> None:
    for name, kind, what in (
        ("stream", bool, "true or false"),
        ("stream_options", dict, "an object"),
        ("parallel_tool_calls", bool, "true or false"),
        ("metadata", dict, "an object"),
        ("user", str, "a text"),
    ):
        if not isinstance(body.get(name), kind | None):
            raise invalid(name, f"{name} is {what}.")
    for name in ("max_completion_tokens", "max_tokens", *PARAMETERS):
        if problem := problem_with(name, body.get(name)):
            raise invalid(name, problem)
    check_size(body.get("thinking"), "thinking")
    if body.get("reasoning_effort") not in (None, *EFFORTS):
        raise invalid("reasoning_effort", f"reasoning_effort is one of {', '.join(EFFORTS)}.")


def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_MESSAGES:
        raise invalid("messages", f"messages is a list of 1 to {MOST_MESSAGES} messages.")
    size, pictures, waiting = 0, 0, set[str]()
    found: list[dict[str, Any]] = []
    for position, given in enumerate(value):
        where = f"messages[{position}]"
        if not isinstance(given, dict) or given.get("role") not in ROLES:
            raise invalid(where, f"{where} needs a role: {', '.join(sorted(ROLES))}.")
        message = _message(given, where)
        waiting = _answered(message, waiting, where)
        found.append(message)
        texts = [message["content"]] if isinstance(message["content"], str) else message["content"] or []
        size += sum(len(part) if isinstance(part, str) else len(part.get("text", "")) for part in texts)
        size += sum(len(call["function"]["arguments"]) for call in message.get("tool_calls", ()))
        pictures += sum(isinstance(part, dict) and part["type"] == "image_url" for part in texts)
    if waiting:
        raise invalid("messages", f"The tool calls {', '.join(sorted(waiting))[:200]} have no answer.")
    if pictures > images.MOST_IMAGES:
        raise invalid("messages", f"A call has at most {images.MOST_IMAGES} images.")
    if size > settings.MAX_MESSAGE_CHARS * MOST_CHARS:
        raise PaasError("message_too_long", details={"param": "messages"})
    return found


def _message(given: dict[str, Any], where: str) -> dict[str, Any]:
    """A message as it is sent on: what OpenAI's API has of it, and nothing else."""
    role, content = given["role"], given.get("content")
    if role == "assistant" and given.get("tool_calls"):
        calls = _calls(given["tool_calls"], where)
        return {"role": role, "content": _content(content, role, where) if content else None, "tool_calls": calls}
    message = {"role": "system" if role == "developer" else role, "content": _content(content, role, where)}
    if role == "tool":
        if not isinstance(given.get("tool_call_id"), str):
            raise invalid(where, f"{where} needs the tool_call_id that it answers.")
        message["tool_call_id"] = given["tool_call_id"]
    return message


def _content(content: Any, role: str, where: str) -> Any:
    """A text, or a list of text parts, and of images where a user speaks."""
    if isinstance(content, list) and content:
        parts = [_part(part, role, where) for part in content]
        empty = not any(part["type"] == "image_url" or part["text"].strip() for part in parts)
    elif isinstance(content, str):
        parts, empty = content, not content.strip()  # type: ignore[assignment]
    else:
        raise invalid(where, f"{where}.content is a text or a list of parts.")
    if empty and role == "user":
        raise PaasError("message_empty", details={"param": where})
    return parts


def _part(part: Any, role: str, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image_url" and role == "user":
        return images.checked_part(part, where)
    if kind in ("input_audio", "file", "refusal"):
        raise unsupported(where, f"{where}: parts of the type {kind} are not supported.")
    raise invalid(where, f"{where}.content is a text or a list of text parts; a user's may have images too.")


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    """The tool calls of an assistant's message."""
    where = f"{where}.tool_calls"
    if not isinstance(calls, list) or len(calls) > MOST_CALLS:
        raise invalid(where, f"{where} is a list of at most {MOST_CALLS} calls.")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str) or not call["id"]:
            raise invalid(where, f"{where}: a call has an id and a function.")
        if not is_name(function.get("name")) or not isinstance(function.get("arguments"), str):
            raise invalid(where, f"{where}: a function has a name, and arguments as JSON text.")
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
        }
        for call in calls
    ]


def _answered(message: dict[str, Any], waiting: set[str], where: str) -> set[str]:
    """The calls that wait for their answer after `message`. Every call is answered before anybody goes on."""
    if message["role"] == "tool":
        if message["tool_call_id"] not in waiting:
            raise invalid(where, f"{where} answers no tool call of the message before it.")
        return waiting - {message["tool_call_id"]}
    if waiting:
        raise invalid(where, f"Before {where} the tool calls {', '.join(sorted(waiting))[:200]} need their answers.")
    return {call["id"] for call in message.get("tool_calls", ())}
