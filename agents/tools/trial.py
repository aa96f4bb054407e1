"""Trying a tool that the workspace has built: one true call, and what exactly was sent."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction

from accounts import audit
from agents.models import Tool
from agents.tools.arguments import problem_with
from agents.tools.http import HttpTool, built, request
from agents.tools.registry import http_tool
from agents.tools.spec import ToolResult
from agents.tools.toolbox import MOST_RESULT_CHARS
from core.errors import PaasError

HIDDEN = "••••••"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it goes out, with HIDDEN in the secret's place."""

    method: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it. sent: None where the arguments make no request."""

    ok: bool
    result: str
    milliseconds: int
    sent: Sent | None


def tool_try(row: Tool, *, actor: str, arguments: Any) -> Tried:
    """One call, also of a tool that is off. It is a real one. Raises validation_failed for arguments that do not
    fit."""
    tool = http_tool(row)
    problem = problem_with(arguments, tool.spec().parameters)
    if problem:
        raise PaasError("validation_failed", problem, details={"fields": {"arguments": [problem]}})
    with transaction.atomic():
        audit.record("tool.tried", actor=actor, target=tool.name)
    begun = time.perf_counter()
    try:
        said = async_to_sync(request)(tool, arguments)
    except PaasError as error:
        said = ToolResult(error.message, is_error=True)
    spent = round((time.perf_counter() - begun) * 1000)
    return Tried(not said.is_error, said.text[:MOST_RESULT_CHARS], spent, _sent(tool, arguments))


def _sent(tool: HttpTool, arguments: dict[str, Any]) -> Sent | None:
    try:
        url, headers, body = built(replace(tool, secret=HIDDEN), arguments)
    except PaasError:
        return None
    return Sent(tool.method, str(url), headers, body)
