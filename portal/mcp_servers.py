"""The pages of MCP servers: adding one, looking at its tools, approving them."""

from __future__ import annotations

import difflib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.policies import ADMIN_SETTINGS
from agents.mcp import pins, services
from agents.mcp.connections import connection_of, redirect_uri
from agents.mentions import agents_with_tools
from agents.models import McpServer
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page
from portal.agent_words import diff_lines
from portal.mcp_connecting import ConnectForm
from portal.tool_words import EFFECTS

PLACE = "/settings/mcp/"
STATES = {"new": _("New"), "approved": _("Approved"), "changed": _("Changed, so switched off")}


class ServerForm(forms.Form):
    """A server. The stored secret is never shown; an empty field keeps it."""

    name = forms.RegexField(
        r"^[a-z0-9-]+\Z",
        label=_("Name"),
        max_length=30,
        help_text=_("Small letters, digits and -. It begins the names of its tools."),
        error_messages={"invalid": _("Use small letters, digits and -.")},
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        help_text=_("Of its Streamable HTTP endpoint, such as https://mcp.example.com/mcp."),
        widget=forms.URLInput(attrs={"spellcheck": "false"}),
    )
    secret = forms.CharField(
        label=_("Secret"),
        max_length=4000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("The whole value of the header, such as Bearer and the token. Empty: none."),
    )
    forget_secret = forms.BooleanField(label=_("Delete the stored secret"), required=False)
    header = forms.CharField(
        label=_("Header of the secret"),
        max_length=60,
        initial="Authorization",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    enabled = forms.BooleanField(label=_("In use"), required=False, initial=True)

    def __init__(self, data: Any, *, server: McpServer | None) -> None:
        names = ("name", "url", "header", "enabled")
        super().__init__(data, initial={name: getattr(server, name) for name in names} if server else {})
        if server is None or not server.secret:
            del self.fields["forget_secret"]

    def values(self) -> dict[str, Any]:
        """What the valid form says, in the words of agents.mcp.services."""
        data = dict(self.cleaned_data)
        secret, forget = data.pop("secret"), data.pop("forget_secret", False)
        return data | ({"secret": secret} if secret or forget else {})


@dataclass(frozen=True, slots=True)
class Seen:
    """A tool of a server as the page shows it. diff: what has changed since it was approved, as kinds and lines."""

    tool: dict[str, Any]
    state: str
    state_words: Any
    effect: str
    parameters: str
    offered_as: str
    diff: tuple[tuple[str, str], ...]


@require_GET
@page(ADMIN_SETTINGS)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/mcp/`"""
    lines = []
    for server in services.servers():
        states = [pins.state_of(tool, server.approved) for tool in server.tools]
        lines.append({"server": server, **{state: states.count(state) for state in STATES}})
    return render(request, "portal/mcp_servers.html", {"page_name": "mcp", "lines": lines})


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def add(request: HttpRequest) -> HttpResponse:
    """`/settings/mcp/new/`: and the server is asked for its tools at once"""
    form = ServerForm(request.POST or None, server=None)
    if request.method == "POST" and form.is_valid():
        try:
            server = services.server_create(actor=actor_of(request).label, fields=form.values())
        except ValidationError as error:
            _explain(form, error)
        except PaasError as error:
            form.add_error(None, sentence(error))
        else:
            _ask(request, server)
            return HttpResponseRedirect(f"{PLACE}{server.pk}/")
    return _shown(request, None, form)


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def edit(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/`"""
    server = services.server_named(server_id)
    form = ServerForm(request.POST or None, server=server)
    if request.method == "POST" and form.is_valid():
        try:
            services.server_update(server=server, actor=actor_of(request).label, fields=form.values())
        except ValidationError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("%(name)s was saved.") % {"name": server.name})
            return HttpResponseRedirect(f"{PLACE}{server.pk}/")
    return _shown(request, services.server_named(server_id), form)


@require_POST
@page(ADMIN_SETTINGS)
def refresh(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/refresh/`: asks it for its tools, which also tries address and secret"""
    _ask(request, services.server_named(server_id))
    return HttpResponseRedirect(f"{PLACE}{server_id}/")


def _ask(request: HttpRequest, server: McpServer) -> None:
    try:
        left_out = services.server_refresh(server=server, actor=actor_of(request).label)
    except PaasError as error:
        messages.error(request, gettext("The server could not be asked: %(why)s") % {"why": sentence(error)})
        return
    said = gettext("The server works. Tools that it offers: %(count)s.") % {"count": len(server.tools)}
    messages.success(request, said)
    if left_out:
        messages.warning(request, gettext("Left out: %(tools)s") % {"tools": "; ".join(left_out)})


@require_POST
@page(ADMIN_SETTINGS)
def approve(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/approve/`: exactly the tools that are ticked, as they were seen"""
    server = services.server_named(server_id)
    ticked = [name for name in request.POST.getlist("approve") if name]
    wanted = [
        {"name": name, "hash": request.POST.get(f"hash:{name}", ""), "effect": _effect(request, name)}
        for name in ticked
    ]
    try:
        services.tools_approve(server=server, actor=actor_of(request).label, tools=wanted)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(
            request, gettext("Approved tools of %(name)s: %(count)s.") % {"name": server.name, "count": len(wanted)}
        )
    return HttpResponseRedirect(f"{PLACE}{server_id}/")


def _effect(request: HttpRequest, name: str) -> str:
    """What the tool may be taken for; the more careful one where nothing was chosen."""
    chosen = request.POST.get(f"effect:{name}", "")
    return chosen if chosen in services.EFFECTS else "write"


@require_POST
@page(ADMIN_SETTINGS)
def delete(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/delete/`: only with `sure`"""
    server = services.server_named(server_id)
    if request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was deleted: confirm it first."))
        return HttpResponseRedirect(f"{PLACE}{server_id}/")
    services.server_delete(server=server, actor=actor_of(request).label)
    messages.success(request, gettext("%(name)s was deleted. Agents go on without it.") % {"name": server.name})
    return HttpResponseRedirect(PLACE)


def _explain(form: ServerForm, error: ValidationError) -> None:
    for name, sentences in error.message_dict.items():
        form.add_error(name if name in form.fields else None, sentences)


def _shown(request: HttpRequest, server: McpServer | None, form: ServerForm) -> HttpResponse:
    tools = [_seen(server, one) for one in server.tools] if server else []
    given = agents_with_tools() if tools else {}
    context = {
        "page_name": "mcp",
        "server": server,
        "form": form,
        "connecting": ConnectForm(),
        "connection": connection_of(server) if server else None,
        "redirect_uri": redirect_uri(request.get_host()),
        "tools": tools,
        "effects": [(name, EFFECTS[name]) for name in services.EFFECTS],
        "gone": sorted(set(server.approved) - {one["name"] for one in server.tools}) if server else [],
        "mentions": [(one.offered_as, given[one.offered_as]) for one in tools if one.offered_as in given],
    }
    return render(request, "portal/mcp_server.html", context, status=400 if form.errors else 200)


def _seen(server: McpServer, tool: dict[str, Any]) -> Seen:
    state, pin = pins.state_of(tool, server.approved), server.approved.get(tool["name"], {})
    return Seen(
        tool=tool,
        state=state,
        state_words=STATES[state],
        effect=pin.get("effect") or tool.get("suggested_effect", "write"),
        parameters=_pretty(tool["parameters"]),
        offered_as=pins.offered_name(server.name, tool["name"]),
        diff=_diff(pin, tool) if state == "changed" and "description" in pin else (),
    )


def _diff(before: dict[str, Any], after: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a model was told when somebody agreed, and what it would be told now."""
    old, new = ([*one["description"].splitlines(), *_pretty(one["parameters"]).splitlines()] for one in (before, after))
    return diff_lines("\n".join(difflib.unified_diff(old, new, lineterm="")))


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
