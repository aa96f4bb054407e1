"""Which tools there are: those of the platform, and those that a tenant has from elsewhere.

A version of an agent names its tools; `bound_tools` makes values of the names. A source of further tools (a tenant's
own, those of its servers) appends itself to SOURCES; it is asked with the tenant bound and may query the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
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
# names -> those of them that the source has; None: all that it has.
Source = Callable[[Collection[str] | None], Iterable[ToolSpec]]


def built_tools(names: Collection[str] | None) -> Iterable[ToolSpec]:
    """The tools that the bound tenant has built of HTTP requests and switched on."""
    found = Tool.objects.filter(enabled=True)
    return [http_tool(one).spec() for one in (found if names is None else found.filter(name__in=names))]


def http_tool(row: Tool) -> HttpTool:
    """A tool of the bound tenant as a value."""
    shown = (row.name, row.description, row.method, row.url, tuple(row.parameters))
    return HttpTool(*shown, row.headers, row.secret, row.secret_host, row.result_path)


def served_tools(names: Collection[str] | None) -> Iterable[ToolSpec]:
    """The approved tools of the bound tenant's MCP servers."""
    return [spec for spec in tool_specs() if names is None or spec.name in names]


def add_builtin(spec: ToolSpec) -> None:
    """A tool of the platform's whose code is in a room above; called once, at start."""
    BUILTIN[spec.name] = spec


SOURCES: list[Source] = [built_tools, served_tools]


def tools_named(names: Collection[str] | None = None) -> dict[str, ToolSpec]:
    """The bound tenant's tools with these names (None: all) by name. The platform's own win over others' names."""
    found: dict[str, ToolSpec] = {}
    if names is None or set(names) - set(BUILTIN):
        for source in reversed(SOURCES):  # the first one that has a name gives the tool
            found |= {spec.name: spec for spec in source(names)}
    found |= BUILTIN
    return {name: spec for name, spec in found.items() if names is None or name in names}


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
