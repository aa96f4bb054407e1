"""Building a tool of an HTTP request: the form, trying it, switching it on, deleting it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.policies import AGENTS_MANAGE
from agents.mentions import agents_with_tool
from agents.models import Tool
from agents.tools.http_services import own_tool, tool_delete, tool_save
from agents.tools.settings import tool_configure, tool_line
from agents.tools.trial import Tried, tool_try
from core.errors import PaasError
from portal.access import actor_of, page
from portal.tool_forms import ArgumentsForm, ToolForm, parameter_rows, parameters_in
from portal.tools import PLACE


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def new(request: HttpRequest) -> HttpResponse:
    """`/settings/tools/new/`"""
    return _form(request, None)


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def change(request: HttpRequest, tool_id: uuid.UUID) -> HttpResponse:
    """`/settings/tools/<id>/`"""
    return _form(request, own_tool(tool_id))


def _form(request: HttpRequest, tool: Tool | None) -> HttpResponse:
    form, rows = ToolForm(request.POST or None, tool=tool), parameter_rows(request.POST or None, tool)
    valid = request.method == "POST" and form.is_valid() and rows.is_valid()
    if valid:
        changed = tool or Tool()
        try:
            saved = tool_save(changed, actor=actor_of(request).label, fields=form.values(parameters_in(rows)))
        except (ValidationError, PaasError) as error:
            _explain(form, error)
            tool = own_tool(tool.pk) if tool else None  # as it is stored
        else:
            said = gettext("%(name)s was saved. Try it, then switch it on.")
            if saved.enabled:
                said = gettext("%(name)s was saved. It holds within two seconds.")
            messages.success(request, said % {"name": saved.name})
            return HttpResponseRedirect(f"{PLACE}{saved.pk}/")
    return _shown(request, tool, form=form, rows=rows)


def _explain(form: ToolForm, error: ValidationError | PaasError) -> None:
    if isinstance(error, PaasError):
        if error.code != "already_exists":
            raise error
        form.add_error("name", gettext("One of the platform's own tools has this name."))
        return
    for name, sentences in error.message_dict.items():
        form.add_error(name if name in form.fields else None, sentences)


def _shown(
    request: HttpRequest,
    tool: Tool | None,
    *,
    form: ToolForm | None = None,
    rows: Any = None,
    arguments: ArgumentsForm | None = None,
    tried: Tried | None = None,
) -> HttpResponse:
    form = form or ToolForm(None, tool=tool)
    rows = rows if rows is not None else parameter_rows(None, tool)
    context: dict[str, Any] = {"page_name": "tools", "tool": tool, "form": form, "rows": rows}
    if tool is not None:
        context |= {
            "line": tool_line(tool.name),
            "arguments": arguments or ArgumentsForm(None, tool=tool),
            "tried": tried,
            "body": json.dumps(tried.sent.body, ensure_ascii=False, indent=2) if tried and tried.sent else "",
            "mentions": agents_with_tool(tool.name),
        }
    wrong = form.errors or rows.total_error_count() or (arguments is not None and arguments.errors)
    return render(request, "portal/http_tool.html", context, status=400 if wrong else 200)


@require_POST
@page(AGENTS_MANAGE)
def attempt(request: HttpRequest, tool_id: uuid.UUID) -> HttpResponse:
    """`/settings/tools/<id>/try/`: one true call with the arguments that were entered"""
    tool = own_tool(tool_id)
    form = ArgumentsForm(request.POST, tool=tool)
    tried = None
    if form.is_valid():
        try:
            tried = tool_try(tool, actor=actor_of(request).label, arguments=form.arguments())
        except PaasError as error:
            if error.code != "validation_failed":
                raise
            form.add_error(None, gettext("The arguments do not fit: %(why)s") % {"why": error.message})
    return _shown(request, tool, arguments=form, tried=tried)


@require_POST
@page(AGENTS_MANAGE)
def switch(request: HttpRequest, tool_id: uuid.UUID) -> HttpResponse:
    """`/settings/tools/<id>/switch/`: on with `on=1`, else off"""
    tool, enabled = own_tool(tool_id), request.POST.get("on") == "1"
    actor = actor_of(request)
    try:
        tool_save(tool, actor=actor.label, fields={"enabled": enabled})
        line = tool_line(tool.name)
        if enabled and line is not None and not line.setting.enabled:
            tool_configure(actor=actor.label, name=tool.name, fields={"enabled": True})
    except ValidationError as error:  # by rules that have come since it was saved
        messages.error(request, " ".join(error.messages))
    else:
        said = gettext("%(name)s is on: agents can be given it.") if enabled else gettext("%(name)s is off.")
        messages.success(request, said % {"name": tool.name})
    return HttpResponseRedirect(f"{PLACE}{tool_id}/")


@require_POST
@page(AGENTS_MANAGE)
def delete(request: HttpRequest, tool_id: uuid.UUID) -> HttpResponse:
    """`/settings/tools/<id>/delete/`: only with `sure`"""
    tool = own_tool(tool_id)
    if request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was deleted: confirm it first."))
        return HttpResponseRedirect(f"{PLACE}{tool_id}/")
    tool_delete(tool, actor=actor_of(request).label)
    messages.success(request, gettext("%(name)s was deleted. Agents go on without it.") % {"name": tool.name})
    return HttpResponseRedirect(PLACE)
