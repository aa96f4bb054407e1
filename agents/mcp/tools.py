"""The approved tools of a tenant's MCP servers, as tools that an agent can be given."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import orjson

from agents.mcp import pins, wire
from agents.mcp.dialling import Server, servers_that, using
from agents.models import McpServer
from agents.tools.spec import Effect, ToolContext, ToolResult, ToolSpec
from core.errors import PaasError


def tool_specs() -> list[ToolSpec]:
    """Those of the bound tenant: of servers that are on, and as they were approved."""
    return [
        _spec(server, row, tool, row.approved[tool["name"]]["effect"])
        for row, server in servers_that(enabled=True)
        for tool in row.tools
        if pins.state_of(tool, row.approved) == "approved"
    ]


def _spec(server: Server, row: McpServer, tool: dict[str, Any], effect: str) -> ToolSpec:
    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        async def asked(session: wire.McpSession) -> ToolResult:
            # It may have become another tool since somebody looked.
            now, _ = pins.pinned(await session.tools())
            if tool["hash"] not in [one["hash"] for one in now]:
                raise PaasError("provider_request_rejected", "This tool has changed and must be approved again.")
            return result_of(await session.ask("tools/call", {"name": tool["name"], "arguments": arguments}))

        return await using(context.tenant, server, asked, wire.CALL_SECONDS)

    return ToolSpec(
        name=pins.offered_name(row.name, tool["name"]),
        description=tool["description"],
        parameters=tool["parameters"],
        effect=cast(Effect, effect),
        call=call,
        tainted=True,
        kind="mcp",
        definition=hashlib.sha256(orjson.dumps([row.url, tool["hash"], effect])).hexdigest(),
    )


def result_of(told: dict[str, Any]) -> ToolResult:
    """A server's result as text. What is no text is named and left out: a model could not read it."""
    blocks = told.get("content")
    parts = [_text(one) for one in blocks if isinstance(one, dict)] if isinstance(blocks, list) else []
    data = told.get("structuredContent")
    if not parts and data is not None:
        parts = [orjson.dumps(data).decode()]
    return ToolResult("\n".join(parts), data, told.get("isError") is True)


def _text(block: dict[str, Any]) -> str:
    kind, resource = block.get("type"), block.get("resource")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource" and isinstance(resource, dict) and isinstance(resource.get("text"), str):
        return str(resource["text"])
    if kind == "resource_link":
        return f"[{block.get('name', '')}: {block.get('uri', '')}]"
    return f"[{str(kind)[:40]}, left out]"
