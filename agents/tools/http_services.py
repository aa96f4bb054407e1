"""Writes of the tools that a workspace builds of HTTP requests, bound to it, each with its audit row."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from yarl import URL

from accounts import audit
from agents.models import Tool
from agents.tools.http import HEADER, PLACE, RESERVED, SECRET
from core import egress
from core.errors import PaasError
from tenants.egress import egress_policy

FIELDS = ("name", "description", "method", "url", "parameters", "headers", "secret", "result_path", "enabled")
PLACES = ("path", "query", "header", "body")
TYPES = ("string", "number", "integer", "boolean", "array", "object")
MOST_PARAMETERS = 30


def tool_save(tool: Tool, *, actor: str, fields: dict[str, Any]) -> Tool:
    """Create or change a tool. Raises ValidationError by field.

    Who changes the host enters the secret again, so that it cannot be sent to an address that another chooses (A58).
    """
    created = tool._state.adding
    before = _host(tool.url)
    for name, value in fields.items():
        setattr(tool, name, value)
    if tool.secret and "secret" not in fields and _host(tool.url) != before:
        raise ValidationError({"secret": "The host changed, so enter the secret again."})
    tool.secret_host = _host(tool.url) if tool.secret else ""
    tool.full_clean()
    _check_url(tool)
    _check_parameters(tool)
    _check_headers(tool)
    with transaction.atomic():
        tool.save()
        audit.record(
            "tool.created" if created else "tool.updated", actor=actor, target=tool.name, changed=sorted(fields)
        )
    return tool


def tool_delete(tool: Tool, *, actor: str) -> None:
    """Delete a tool and its secret; agents that name it go on without it."""
    with transaction.atomic():
        audit.record("tool.deleted", actor=actor, target=tool.name)
        tool.delete()


def _host(url: str) -> str:
    try:
        return URL(PLACE.sub("x", url), encoded=True).raw_host or "" if url else ""
    except ValueError:
        return ""


def _check_url(tool: Tool) -> None:
    scheme, _, rest = tool.url.partition("://")
    if "{" in scheme or "{" in rest.partition("/")[0] or not rest or not tool.url.isprintable() or " " in tool.url:
        raise ValidationError({"url": "Parameters stand in the path, never in the host. Begin with https://."})
    try:
        egress.check_url(PLACE.sub("x", tool.url), egress_policy())
    except PaasError as error:
        raise ValidationError({"url": error.message}) from None


def _check_parameters(tool: Tool) -> None:
    given = tool.parameters
    if not isinstance(given, list) or len(given) > MOST_PARAMETERS:
        raise ValidationError({"parameters": f"Give a list of at most {MOST_PARAMETERS} parameters."})
    names = set()
    for one in given:
        if not isinstance(one, dict) or set(one) - {"name", "in", "type", "description", "required"}:
            raise ValidationError({"parameters": "A parameter has name, in, type, description and required."})
        name, where = one.get("name"), one.get("in")
        if not isinstance(name, str) or where not in PLACES or one.get("type", "string") not in TYPES:
            raise ValidationError({"parameters": f"in is one of {', '.join(PLACES)}; type of {', '.join(TYPES)}."})
        fits = HEADER.fullmatch(name) if where == "header" else PLACE.fullmatch("{" + name + "}")
        if not fits or name in names or (where == "header" and not _free(name)):
            raise ValidationError({"parameters": f"The parameter {name[:64]!r} may not be called so."})
        if not isinstance(one.get("description", ""), str) or not isinstance(one.get("required", False), bool):
            raise ValidationError({"parameters": f"The parameter {name!r} has a wrong description or required."})
        names.add(name)
    if set(PLACE.findall(tool.url)) != {one["name"] for one in given if one["in"] == "path"}:
        raise ValidationError({"parameters": "The parameters in the path are those that the address names."})


def _check_headers(tool: Tool) -> None:
    if not isinstance(tool.headers, dict) or len(tool.headers) > MOST_PARAMETERS:
        raise ValidationError({"headers": "Headers are an object of texts."})
    for name, value in tool.headers.items():
        text = isinstance(value, str) and value.isprintable() and value.isascii()
        if not HEADER.fullmatch(name) or not _free(name) or not text:
            raise ValidationError({"headers": f"The header {name[:64]!r} cannot be sent."})
    given = {one["name"].lower() for one in tool.parameters if one["in"] == "header"}
    if twice := [name for name in tool.headers if name.lower() in given]:
        raise ValidationError({"headers": f"The header {twice[0]!r} is a parameter too, so a model could write it."})
    if tool.secret and not (tool.secret.isprintable() and tool.secret.isascii()):
        raise ValidationError({"secret": "The secret has a character that no header has."})
    if bool(tool.secret) != (SECRET in "".join(tool.headers.values())):
        raise ValidationError({"secret": f"A secret stands in a header as {SECRET}, and needs a value."})


def _free(name: str) -> bool:
    return name.lower() not in RESERVED and not name.lower().startswith(("proxy-", "x-forwarded-"))
