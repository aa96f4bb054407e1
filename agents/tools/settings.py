"""What a workspace says about its tools, and how often they were called; bound to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext

from accounts import audit
from agents import access
from agents.models import Tool, ToolSetting, ToolUse
from agents.tools.registry import BUILTIN, http_tool, tools_named, tools_with
from agents.tools.search import WEB_SEARCH
from agents.tools.spec import ToolSpec
from core import clock

ORDER = ("platform", "http", "mcp")
NEEDS_KEY = frozenset({WEB_SEARCH.name})
"""Tools of the platform that ask a service under the workspace's own key."""


@dataclass(frozen=True, slots=True)
class ToolLine:
    """A tool that the workspace has. own: the row of one that it has built. setting: what it says about it, perhaps a
    row that is not stored yet."""

    spec: ToolSpec
    setting: ToolSetting
    own: Tool | None = None

    @property
    def source(self) -> Literal["platform", "http", "mcp"]:
        """Where it comes from."""
        if self.own is not None:
            return "http"
        return "platform" if self.spec.name in BUILTIN else "mcp"

    @property
    def enabled(self) -> bool:
        """Whether agents can call it."""
        return self.setting.enabled and (self.own is None or self.own.enabled)

    @property
    def lacks_key(self) -> bool:
        """Whether no call can succeed before a key is set."""
        return self.spec.name in NEEDS_KEY and not self.setting.api_key


@dataclass(frozen=True, slots=True)
class Use:
    """Calls of a tool: of today, and of this month (UTC). milliseconds: what those of the month took together."""

    name: str
    today: int
    calls: int
    failed: int
    milliseconds: int

    @property
    def seconds_each(self) -> float:
        """What a call took on average."""
        return self.milliseconds / self.calls / 1000


def tool_lines() -> list[ToolLine]:
    """Every tool that an agent can be given, and all that the workspace has built, also those that are off: first the
    platform's, then those of its own, then those of MCP servers."""
    said = {one.name: one for one in ToolSetting.objects.all()}
    own = {one.name: one for one in Tool.objects.all()}
    specs = tools_with(one for one in own.values() if one.enabled)
    specs |= {name: http_tool(one).spec() for name, one in own.items() if name not in specs}
    lines = [
        ToolLine(spec, said.get(name) or ToolSetting(name=name), own.get(name) if name not in BUILTIN else None)
        for name, spec in specs.items()
    ]
    return sorted(lines, key=lambda line: (ORDER.index(line.source), line.spec.name))


def tool_line(name: str) -> ToolLine | None:
    """The one with this name, or None."""
    return next((one for one in tool_lines() if one.spec.name == name), None)


def tool_configure(*, actor: str, name: str, fields: dict[str, Any]) -> ToolSetting:
    """Set some fields of what the workspace says about a tool (`ToolSetting`). Raises ValidationError by field."""
    key = fields.get("api_key")
    if key and not (key.isascii() and key.isprintable()):
        raise ValidationError({"api_key": gettext("No key has such a character.")})
    if name not in tools_named([name]) and not Tool.objects.filter(name=name).exists():
        raise ValidationError({"name": gettext("There is no such tool in this workspace.")})
    with transaction.atomic():
        found, _ = ToolSetting.objects.update_or_create(name=name, defaults=fields)
        audit.record("tool.configured", actor=actor, target=name, **setting_view(found))
    access.forget_all()
    return found


def setting_view(one: ToolSetting) -> dict[str, Any]:
    """A setting without its key."""
    return {
        "name": one.name,
        "enabled": one.enabled,
        "calls_per_day": one.calls_per_day,
        "calls_per_month": one.calls_per_month,
        "approval": one.approval,
        "has_api_key": bool(one.api_key),
    }


def uses_of_month() -> list[Use]:
    """How often each tool was called that was called this month, by name."""
    today = clock.now().date()
    sums = (
        ToolUse.objects.filter(day__gte=today.replace(day=1), calls__gt=0)
        .values("name")
        .annotate(
            month=Sum("calls"), today=Sum("calls", filter=Q(day=today)), bad=Sum("failed"), spent=Sum("duration_ms")
        )
        .order_by("name")
    )
    return [Use(one["name"], one["today"] or 0, one["month"], one["bad"], one["spent"]) for one in sums]
