"""What a client of OpenAI's chat completions may ask, checked field by field before anything is held or written."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents.parameters import problem_with
from chat.turns import PARAMETERS, TurnRequest
from core.errors import PaasError

ROLES = frozenset({"system", "developer", "user", "assistant"})
MOST_CHARS = 10  # times the limit of one message, over all messages of a call


def parse(body: dict[str, Any]) -> TurnRequest:
    """The turn that a body asks for. Raises validation_failed with the field, message_empty or message_too_long."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("model", "model is required: the slug of an agent.")
    _check_unsupported(body)
    _check_parameters(body)
    return TurnRequest(
        door="openai",
        agent=model,
        messages=_messages(body.get("messages")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        parameters={name: body[name] for name in PARAMETERS if body.get(name) is not None},
        stream=bool(body.get("stream")),
    )


def _check_unsupported(body: dict[str, Any]) -> None:
    if body.get("n") not in (None, 1):
        raise _invalid("n", "Only n = 1 is supported.")
    for name in ("tools", "functions"):
        if body.get(name):
            raise _invalid(name, f"{name} of the caller are not supported yet; give the agent its tools instead.")


def _check_parameters(body: dict[str, Any]) -> None:
    stream, options = body.get("stream"), body.get("stream_options")
    if not isinstance(stream, bool | None):
        raise _invalid("stream", "stream is true or false.")
    if not isinstance(options, dict | None):
        raise _invalid("stream_options", "stream_options is an object.")
    for name in ("max_completion_tokens", "max_tokens", *PARAMETERS):
        if problem := problem_with(name, body.get(name)):
            raise _invalid(name, problem)


def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise _invalid("messages", "messages is a list with at least one message.")
    size = 0
    for position, message in enumerate(value):
        where = f"messages[{position}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise _invalid(where, f"{where} needs a role: {', '.join(sorted(ROLES))}.")
        text = _text(message.get("content"), where)
        size += len(text)
        if not text.strip() and message["role"] == "user":
            raise PaasError("message_empty", details={"param": where})
    if size > settings.MAX_MESSAGE_CHARS * MOST_CHARS:
        raise PaasError("message_too_long", details={"param": "messages"})
    # "developer" is OpenAI's newer word for "system"; other vendors know only the old one.
    return [
        {"role": "system" if one["role"] == "developer" else one["role"], "content": one["content"]} for one in value
    ]


def _text(content: Any, where: str) -> str:
    """The text of a message's content: a text, or a list of text parts. Raises validation_failed."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(texts)  # type: ignore[arg-type]
    raise _invalid(where, f"{where}.content is a text or a list of text parts.")


def _invalid(param: str, message: str) -> PaasError:
    return PaasError("validation_failed", message, details={"param": param})
