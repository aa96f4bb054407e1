"""The items that a request for a response brings, checked one by one, in the form in which they are kept."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from chat import images
from chat.client_tools import invalid, is_name, unsupported
from chat.transports.responses_items import ROLES, Item
from core.errors import PaasError

TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
MOST_ITEMS = 4096
MOST_CHARS = 10  # times the limit of one message, over all items of a request
MOST_CALL_ID_CHARS = 256


def items_of(value: Any) -> list[Item]:
    """`input` as items. Those of a request have no ids yet: they are the platform's to give.

    Raises validation_failed or unsupported_parameter with the place, message_empty, message_too_long.
    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not 0 < len(value) <= MOST_ITEMS:
        raise invalid("input", f"input is a text, or a list of 1 to {MOST_ITEMS} items.")
    items = [_item(one, f"input[{number}]") for number, one in enumerate(value)]
    found = [item for item in items if item is not None]
    if not found:
        raise invalid("input", "input has nothing that a model could read.")
    if sum(map(_size, found)) > settings.MAX_MESSAGE_CHARS * MOST_CHARS:
        raise PaasError("message_too_long", details={"param": "input"})
    pictures = sum("image_url" in part for item in found for part in item.get("content", ()))
    if pictures > images.MOST_IMAGES:
        raise invalid("input", f"A request has at most {images.MOST_IMAGES} images.")
    return found


def _size(item: Item) -> int:
    texts = [part.get("text", "") for part in item.get("content", ())]
    output = item.get("output", "")
    texts += [output] if isinstance(output, str) else [part["text"] for part in output]
    return sum(map(len, texts)) + len(item.get("arguments", ""))


def _item(value: Any, where: str) -> Item | None:
    """An item as it is kept; None for what a model does not read again."""
    if not isinstance(value, dict):
        raise invalid(where, f"{where} is an object.")
    kind = value.get("type") or "message"
    if kind == "message":
        return _message(value, where)
    if kind == "function_call":
        return _call(value, where)
    if kind == "function_call_output":
        return _output(value, where)
    if kind == "reasoning":
        return None  # thoughts of an earlier answer, sent back as they came
    if kind == "item_reference":
        if not isinstance(value.get("id"), str):
            raise invalid(where, f"{where} needs the id of an item.")
        return {"type": kind, "id": value["id"]}
    raise unsupported(where, f"Items of the type {str(kind)[:40]!r} are not supported.")


def _message(value: dict[str, Any], where: str) -> Item:
    role = value.get("role")
    if role not in ROLES:
        raise invalid(where, f"{where} needs a role: {', '.join(sorted(ROLES))}.")
    parts = _parts(value.get("content"), role, where, "content")
    if role == "user" and not any("image_url" in part or part["text"].strip() for part in parts):
        raise PaasError("message_empty", details={"param": where})
    return {"type": "message", "status": "completed", "role": role, "content": parts}


def _parts(content: Any, role: str, where: str, name: str) -> list[dict[str, Any]]:
    found = [content] if isinstance(content, str) else content
    if not isinstance(found, list) or not found:
        raise invalid(where, f"{where}.{name} is a text or a list of parts.")
    return [_part(part, role, where) for part in found]


def _part(value: Any, role: str, where: str) -> dict[str, Any]:
    text, kind = (value, "text") if isinstance(value, str) else (None, None)
    if isinstance(value, dict):
        text, kind = value.get("text"), value.get("type")
    if kind == "input_image" and role == "user":
        return _image(value, where)
    if kind in ("input_image", "input_file", "input_audio", "refusal"):
        raise unsupported(where, f"{where}: parts of the type {kind} are not supported there.")
    if kind not in TEXT_PARTS or not isinstance(text, str):
        raise invalid(where, f"{where} has a part that is no text.")
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _image(value: dict[str, Any], where: str) -> dict[str, Any]:
    if value.get("file_id") is not None:
        raise unsupported(where, f"{where}: files are not kept here; send an image as a data URL.")
    image = {"url": value.get("image_url"), "detail": value.get("detail")}
    checked = images.checked_part({"type": "image_url", "image_url": image}, where)["image_url"]
    return {
        "type": "input_image",
        "detail": checked.get("detail", "auto"),
        "file_id": None,
        "image_url": checked["url"],
    }


def _call(value: dict[str, Any], where: str) -> Item:
    """A call that an earlier answer made, sent back."""
    if not is_name(value.get("name")) or not isinstance(value.get("arguments"), str):
        raise invalid(where, f"{where} needs the name of a function, and arguments as JSON text.")
    called = {"call_id": _call_id(value, where), "name": value["name"], "arguments": value["arguments"]}
    return {"type": "function_call", "status": "completed"} | called


def _output(value: dict[str, Any], where: str) -> Item:
    output = value.get("output")
    if not isinstance(output, str):
        output = _parts(output, "tool", where, "output")
    return {
        "type": "function_call_output",
        "status": "completed",
        "call_id": _call_id(value, where),
        "output": output,
    }


def _call_id(value: dict[str, Any], where: str) -> str:
    found = value.get("call_id")
    if not isinstance(found, str) or not 0 < len(found) <= MOST_CALL_ID_CHARS:
        raise invalid(where, f"{where} needs the call_id of a function call.")
    return found
