"""The clock: what day and time it is, in any time zone."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from core import clock
from core.errors import PaasError


async def _call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    name = arguments.get("timezone") or context.settings.get("timezone") or "UTC"
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise PaasError(
            "tool_failed", "There is no such time zone. Use a name of the IANA database, such as Asia/Shanghai."
        ) from None
    now = clock.now().astimezone(zone)
    text = f"{now.isoformat(timespec='seconds')} ({now:%A}, {name})"
    return ToolResult(text, {"time": now.isoformat(), "timezone": name})


CLOCK = ToolSpec(
    name="clock",
    description="Tells the date, the weekday and the time of now, in a time zone.",
    parameters={
        "type": "object",
        "properties": {
            "timezone": {"type": "string", "description": "IANA name such as Europe/Berlin", "maxLength": 64}
        },
        "additionalProperties": False,
    },
    effect="read",
    call=_call,
)
