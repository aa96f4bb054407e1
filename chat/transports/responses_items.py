"""The items of responses: their ids, what earlier ones hold of them, and how a model reads them.

An item's id names the run and the place: `msg_<run>00` is the first item of its output, `msg_<run>i0` of its input.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import orjson

from agents.runtime.events import Event
from chat import images
from chat.client_tools import invalid
from chat.models import Response
from chat.transports.responses_events import NOTHING, PREFIXES, Telling
from core.errors import PaasError

Item = dict[str, Any]
Found = dict[uuid.UUID, tuple[Response, list[Event]]]

ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})i?[0-9a-f]+")
# "developer" is OpenAI's newer word for "system"; other vendors know only the old one.
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
PAGE, MOST_ITEMS = 20, 100
MOST_REFERRED = 200  # responses that one request may refer to


def telling_of(found: Response, events: list[Event]) -> Telling:
    """A response as its log tells it; nothing of it is encoded."""
    telling = Telling(found.run_id, orjson.loads(found.request), NOTHING)
    telling.take(events)
    return telling


def numbered(found: Response) -> list[Item]:
    """A response's input items with their ids: those of its own request get theirs from the run and their place."""
    items: list[Item] = orjson.loads(found.items)
    return [
        item if "id" in item else {"id": f"{PREFIXES[item['type']]}_{found.run_id.hex}i{number}", **item}
        for number, item in enumerate(items)
    ]


# --- as a model reads them ----------------------------------------------------------------------
def messages_of(items: list[Item]) -> list[dict[str, Any]]:
    """Items as messages in the shape of chat completions, which every model reads.

    Raises validation_failed where a call of a tool has no output, or an output no call.
    """
    messages: list[dict[str, Any]] = []
    waiting: set[str] = set()  # calls without an output so far
    for item in items:
        kind = item["type"]
        if kind == "function_call":
            _speaking(messages).setdefault("tool_calls", []).append(_call(item))
            waiting.add(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in waiting:
                raise invalid("input", f"There is no function call {item['call_id'][:80]!r} that waits for an output.")
            waiting.discard(item["call_id"])
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": _text(item["output"])})
        elif item["role"] == "assistant" and messages and messages[-1].get("tool_calls"):
            messages[-1]["content"] = (messages[-1]["content"] or "") + _text(item["content"])
        elif waiting:
            break
        else:
            messages.append({"role": ROLES[item["role"]], "content": _content(item["content"])})
    if waiting:
        raise invalid("input", f"There is no output for the function calls {', '.join(sorted(waiting))[:200]}.")
    return messages


def _speaking(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message that calls belong to."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _call(item: Item) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _content(parts: list[dict[str, Any]]) -> Any:
    """A text, or with images a list of parts."""
    if all("text" in part for part in parts):
        return _text(parts)
    return [{"type": "text", "text": part["text"]} if "text" in part else _image(part) for part in parts]


def _image(part: dict[str, Any]) -> dict[str, Any]:
    if part["image_url"] is None:  # of an earlier response: only what it was is kept
        return {"type": "text", "text": f"[An image was here: {part['media_type']}, {part['bytes']} bytes.]"}
    detail = {"detail": part["detail"]} if part["detail"] != "auto" else {}
    return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "".join(part["text"] for part in value)


def kept(items: list[Item]) -> list[Item]:
    """Items as they are stored: instead of each image what it was."""
    return [
        item | {"content": [_kept_part(part) for part in item["content"]]} if item["type"] == "message" else item
        for item in items
    ]


def _kept_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("image_url") is None:
        return part
    return part | {"image_url": None} | images.described(part["image_url"])


# --- earlier responses --------------------------------------------------------------------------
def referred(items: list[Item]) -> set[uuid.UUID]:
    """The responses whose items are referred to. Raises validation_failed for more than are read at once."""
    matches = [ITEM_ID.fullmatch(item["id"]) for item in items if item["type"] == "item_reference"]
    found = {uuid.UUID(match[1]) for match in matches if match}
    if len(found) > MOST_REFERRED:
        raise invalid("input", f"input refers to items of more than {MOST_REFERRED} responses.")
    return found


def resolved(items: list[Item], previous: uuid.UUID | None, found: Found) -> list[Item]:
    """What is to be answered: the context and answer of `previous`, then `items`, with references looked up.

    Raises not_found for what is not among `found`, run_in_progress for a response that has not ended.
    """
    context: list[Item] = []
    if previous is not None:
        context = _inputs_and_answer(found.get(previous), "previous_response_id")
    known: dict[str, Item] = {}
    for run_id in referred(items):
        known |= {item["id"]: item for item in _inputs_and_answer(found.get(run_id), "input")}
    for item in items:
        if item["type"] != "item_reference":
            context.append(item)
        elif item["id"] in known:
            context.append(known[item["id"]])
        elif not item["id"].startswith("rs_"):
            raise PaasError("not_found", details={"param": "input"})
    return context


def _inputs_and_answer(found: tuple[Response, list[Event]] | None, param: str) -> list[Item]:
    if found is None:
        raise PaasError("not_found", details={"param": param})
    response, events = found
    if response.run.finished_at is None:
        message = "The response to go on from is still being made. Wait for its end, or cancel it."
        raise PaasError("run_in_progress", message, details={"param": param})
    answer = telling_of(response, events).output
    return numbered(response) + [item for item in answer if _goes_on(item)]


def _goes_on(item: Item) -> bool:
    """Whether a later answer reads this of an earlier one: not its thoughts, and no call that was broken off."""
    return item["type"] == "message" or bool(item["type"] == "function_call" and item["status"] == "completed")


# --- pages --------------------------------------------------------------------------------------
def page(items: list[Item], query: dict[str, list[str]]) -> dict[str, Any]:
    """`?limit=&order=&after=` of items that stand oldest first. Raises validation_failed."""
    limit, order = query.get("limit", [str(PAGE)])[0], query.get("order", ["desc"])[0]
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST_ITEMS):
        raise invalid("limit", f"limit is a number from 1 to {MOST_ITEMS}.")
    if order not in ("asc", "desc"):
        raise invalid("order", "order is asc or desc.")
    found = items if order == "asc" else items[::-1]
    if after := query.get("after", [""])[0]:
        places = [number for number, item in enumerate(found) if item["id"] == after]
        if not places:
            raise invalid("after", "after is the id of an item of this response.")
        found = found[places[0] + 1 :]
    shown = found[: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(found) > len(shown),
    }
