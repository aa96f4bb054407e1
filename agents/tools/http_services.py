"""Writes of the tools that a workspace builds of HTTP requests, bound to it, each with its audit row."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext
from yarl import URL

from accounts import audit
from agents import access
from agents.models import Tool
from agents.tools.http import HEADER, PLACE, RESERVED, SECRET
from agents.tools.memory import MEMORY_TOOLS
from agents.tools.registry import BUILTIN
from core.errors import PaasError
from tenants.egress import address_problem

FIELDS = ("name", "description", "method", "url", "parameters", "headers", "secret", "result_path", "enabled")
PLACES = ("path", "query", "header", "body")
TYPES = ("string", "number", "integer", "boolean", "array", "object")
MOST_PARAMETERS = 30


def own_tool(tool_id: uuid.UUID) -> Tool:
    """One that the bound tenant has built. Raises not_found."""
    found = Tool.objects.filter(pk=tool_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def tool_save(tool: Tool, *, actor: str, fields: dict[str, Any]) -> Tool:
    """Create or change a tool. Raises ValidationError by field, and already_exists for the name of one of the
    platform's.

    Who changes the host enters the secret again, so that it cannot be sent to an address that another chooses (A58).
    """
    if str(fields.get("name")) in {*BUILTIN, *(one.spec.name for one in MEMORY_TOOLS)}:
        raise PaasError("already_exists", details={"param": "name"})
    created = tool._state.adding
    before = _host(tool.url)
    for name, value in fields.items():
        setattr(tool, name, value)
    if tool.secret and "secret" not in fields and _host(tool.url) != before:
        raise ValidationError({"secret": gettext("The host changed, so enter the secret again.")})
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
    access.forget_all()
    return tool


def tool_delete(tool: Tool, *, actor: str) -> None:
    """Delete a tool and its secret; agents that name it go on without it."""
    with transaction.atomic():
        audit.record("tool.deleted", actor=actor, target=tool.name)
        tool.delete()
    access.forget_all()


def _host(url: str) -> str:
    try:
        return URL(PLACE.sub("x", url), encoded=True).raw_host or "" if url else ""
    except ValueError:
        return ""


def _check_url(tool: Tool) -> None:
    scheme, _, rest = tool.url.partition("://")
    if "{" in scheme or "{" in rest.partition("/")[0] or not rest or not tool.url.isprintable() or " " in tool.url:
        raise ValidationError({"url": gettext("Parameters stand in the path, never in the host. Begin with https://.")})
    if problem := address_problem(PLACE.sub("x", tool.url)):
        raise ValidationError({"url": problem})


def _check_parameters(tool: Tool) -> None:
    given = tool.parameters
    if not isinstance(given, list) or len(given) > MOST_PARAMETERS:
        raise ValidationError(
            {"parameters": gettext("Give a list of at most %(most)s parameters.") % {"most": MOST_PARAMETERS}}
        )
    names = set()
    for one in given:
        if not isinstance(one, dict) or set(one) - {"name", "in", "type", "description", "required"}:
            raise ValidationError({"parameters": "A parameter has name, in, type, description and required."})
        name, where = one.get("name"), one.get("in")
        if not isinstance(name, str) or where not in PLACES or one.get("type", "string") not in TYPES:
            raise ValidationError({"parameters": f"in is one of {', '.join(PLACES)}; type of {', '.join(TYPES)}."})
        fits = HEADER.fullmatch(name) if where == "header" else PLACE.fullmatch("{" + name + "}")
        if not fits or name in names or (where == "header" and not _free(name)):
            raise ValidationError(
                {"parameters": gettext("The parameter %(name)r may not be called so.") % {"name": name[:64]}}
            )
        if not isinstance(one.get("description", ""), str) or not isinstance(one.get("required", False), bool):
            raise ValidationError({"parameters": f"The parameter {name!r} has a wrong description or required."})
        names.add(name)
    if set(PLACE.findall(tool.url)) != {one["name"] for one in given if one["in"] == "path"}:
        raise ValidationError({"parameters": gettext("The parameters in the path are those that the address names.")})


def _check_headers(tool: Tool) -> None:
    if not isinstance(tool.headers, dict) or len(tool.headers) > MOST_PARAMETERS:
        raise ValidationError({"headers": "Headers are an object of texts."})
    for name, value in tool.headers.items():
        text = isinstance(value, str) and value.isprintable() and value.isascii()
        if not HEADER.fullmatch(name) or not _free(name) or not text:
            raise ValidationError({"headers": gettext("The header %(name)r cannot be sent.") % {"name": name[:64]}})
    given = {one["name"].lower() for one in tool.parameters if one["in"] == "header"}
    if twice := [name for name in tool.headers if name.lower() in given]:
        raise ValidationError(
            {
                "headers": gettext("The header %(name)r is a parameter too, so a model could write it.")
                % {"name": twice[0]}
            }
        )
    if tool.secret and not (tool.secret.isprintable() and tool.secret.isascii()):
        raise ValidationError({"secret": gettext("The secret has a character that no header has.")})
    if bool(tool.secret) != (SECRET in "".join(tool.headers.values())):
        raise ValidationError(
            {"secret": gettext("A secret stands in a header as %(place)s, and needs a value.") % {"place": SECRET}}
        )


def _free(name: str) -> bool:
    return name.lower() not in RESERVED and not name.lower().startswith(("proxy-", "x-forwarded-"))
