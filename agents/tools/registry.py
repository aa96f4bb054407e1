"""Which tools there are: those of the platform, and those that a tenant has from elsewhere.

A version of an agent names its tools; `bound_tools` makes values of the names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from agents.mcp.tools import tool_specs
from agents.models import Tool, ToolSetting
from agents.tools.calculator import CALCULATOR
from agents.tools.clock import CLOCK
from agents.tools.gate import stricter
from agents.tools.http import HttpTool
from agents.tools.knowledge import SEARCH_KNOWLEDGE
from agents.tools.search import FIELD, WEB_SEARCH
from agents.tools.spec import BoundTool, ToolSpec
from agents.tools.web import WEB_PAGE

BUILTIN: dict[str, ToolSpec] = {tool.name: tool for tool in (CALCULATOR, CLOCK, WEB_PAGE, WEB_SEARCH, SEARCH_KNOWLEDGE)}


def http_tool(row: Tool) -> HttpTool:
    """A tool of the bound tenant as a value."""
    shown = (row.name, row.description, row.method, row.url, tuple(row.parameters))
    return HttpTool(*shown, row.headers, row.secret, row.secret_host, row.result_path)


def add_builtin(spec: ToolSpec) -> None:
    """A tool of the platform's whose code is in a room above; called once, at start."""
    BUILTIN[spec.name] = spec


def tools_named(names: Collection[str]) -> dict[str, ToolSpec]:
    """Those of the bound tenant's tools that have these names, by name."""
    own = set(names) - set(BUILTIN)
    found = tools_with(Tool.objects.filter(enabled=True, name__in=own)) if own else BUILTIN
    return {name: spec for name, spec in found.items() if name in names}


def tools_with(built: Iterable[Tool]) -> dict[str, ToolSpec]:
    """The bound tenant's tools by name: of those that it has built of HTTP requests these, the approved ones of its
    MCP servers, and the platform's, which win over others' names."""
    served = {spec.name: spec for spec in tool_specs()}
    return served | {one.name: http_tool(one).spec() for one in built} | BUILTIN


def bound_tools(wanted: list[dict[str, Any]]) -> tuple[BoundTool, ...]:
    """The tools of a version, as its `tools` field has them; one that is switched off or gone is left out."""
    if not wanted:
        return ()
    names = [one["name"] for one in wanted]
    found = tools_named(names)
    said = {one.name: one for one in ToolSetting.objects.filter(name__in=names)}
    bound = []
    for one in wanted:
        setting, spec = said.get(one["name"]), found.get(one["name"])
        if spec is None or (setting is not None and not setting.enabled):
            continue
        key = {FIELD: setting.api_key} if setting is not None and setting.api_key else {}
        own = dict(one.get("settings") or {})
        tightened = own.pop("approval", "never")
        approval = stricter(setting.approval if setting is not None else "tainted", tightened)
        bound.append(BoundTool(spec, own | key, approval))
    return tuple(bound)
