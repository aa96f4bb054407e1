"""Connecting an MCP server by OAuth from its page: on to its authorization server, and taking the connection back.

The answer comes to portal/mcp_callback.py.
"""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.policies import ADMIN_SETTINGS
from agents.mcp import connections, services
from agents.mcp.api import browser_of
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page

PLACE = "/settings/mcp/"


class ConnectForm(forms.Form):
    """What an administrator has from the authorization server, where that registers no clients by itself."""

    client_id = forms.CharField(
        label=_("Client id"), max_length=500, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    client_secret = forms.CharField(
        label=_("Client secret"),
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@require_POST
@page(ADMIN_SETTINGS)
def connect(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/connect/`: a page that leads on to the server's authorization server"""
    server, form = services.server_named(server_id), ConnectForm(request.POST)
    if form.is_valid():
        wish = connections.Wish(**form.cleaned_data, host=request.get_host())
        browser = browser_of(request.session.session_key)
        try:
            address = connections.connection_begin(server=server, actor=actor_of(request), browser=browser, wish=wish)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        except PaasError as error:
            messages.error(request, gettext("It could not be connected: %(why)s") % {"why": sentence(error)})
        else:
            # A link and no redirect: the policy of the page lets a form lead to this host only.
            return render(request, "portal/identity_go.html", {"name": urlsplit(address).hostname, "address": address})
    return HttpResponseRedirect(f"{PLACE}{server_id}/")


@require_POST
@page(ADMIN_SETTINGS)
def disconnect(request: HttpRequest, server_id: uuid.UUID) -> HttpResponse:
    """`/settings/mcp/<id>/disconnect/`: its tokens are given back, where that is offered, and deleted"""
    server = services.server_named(server_id)
    connections.connection_end(server=server, actor=actor_of(request).label)
    messages.success(request, gettext("%(name)s is not connected any more.") % {"name": server.name})
    return HttpResponseRedirect(f"{PLACE}{server_id}/")
