"""Tools of MCP servers as they are pinned (P51): name, description and schema, to the letter."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

NAME = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
MOST_DESCRIPTION, MOST_SCHEMA_BYTES = 4000, 20_000


def pinned(told: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """(tools with hash and suggested effect, what was left out and why), of what a server told.

    Left out: names that are none, names that come twice (whichever was meant), what is too long to be read by anybody.
    """
    names = [one.get("name") for one in told]
    found, left_out = [], []
    for one in told:
        name, description, schema = one.get("name"), one.get("description") or "", one.get("inputSchema")
        shown = str(name)[:64]
        if not isinstance(name, str) or not NAME.match(name) or names.count(name) > 1:
            left_out.append(f"{shown}: its name is not valid, or comes twice")
        elif not isinstance(description, str) or len(description) > MOST_DESCRIPTION:
            left_out.append(f"{shown}: its description is longer than {MOST_DESCRIPTION} characters")
        elif not isinstance(schema, dict) or schema.get("type") != "object":
            left_out.append(f"{shown}: its schema is not one of an object")
        elif len(orjson.dumps(schema)) > MOST_SCHEMA_BYTES:
            left_out.append(f"{shown}: its schema is longer than {MOST_SCHEMA_BYTES} bytes")
        else:
            tool = {"name": name, "description": description, "parameters": schema}
            found.append(tool | {"hash": hash_of(tool), "suggested_effect": _suggested(one)})
    return found, left_out


def _suggested(told: dict[str, Any]) -> str:
    """What a call does, as far as a server's word goes: one that says that it only reads is still asked. A hint is no
    part of the hash: what was approved stays approved as it was."""
    hints = told.get("annotations")
    return "egress" if isinstance(hints, dict) and hints.get("readOnlyHint") is True else "write"


def hash_of(tool: dict[str, Any]) -> str:
    """SHA-256 of what a model is told of a tool."""
    told = [tool["name"], tool["description"], tool["parameters"]]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def state_of(tool: dict[str, Any], approved: dict[str, Any]) -> str:
    """`approved`, `changed` since it was, or `new`."""
    pin = approved.get(tool["name"])
    if pin is None:
        return "new"
    return "approved" if pin["hash"] == tool["hash"] else "changed"


def offered_name(server: str, tool: str) -> str:
    """The name that a model sees: never another server's, nor one of our own tools'."""
    name = "mcp_" + re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")
    if len(name) <= 64 and "." not in tool:
        return name
    return f"{name[:55]}_{hashlib.sha256(f'{server}/{tool}'.encode()).hexdigest()[:8]}"
