"""What agents noted about the person: the list, deleting, switching it off."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.policies import CHAT_READ
from agents import memories
from core.errors import PaasError
from portal.access import actor_of, page

PLACE = "/settings/memory/"
SHOWN = 200


@require_http_methods(["GET", "POST"])
@page(CHAT_READ)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/memory/`; a POST says in `act` what to do: `on`, `off`, or `clear` (only with `sure`)"""
    actor = actor_of(request)
    if request.method == "GET":
        found = memories.memories_of(actor)
        context = {"lines": found[:SHOWN], "count": found.count(), "paused": memories.is_paused(actor)}
        return render(request, "portal/memory.html", {"page_name": "memory"} | context)
    act = request.POST.get("act")
    if act in ("on", "off"):
        memories.memory_switch(actor=actor, enabled=act == "on")
        messages.success(request, gettext("Memory is on.") if act == "on" else gettext("Memory is off."))
    elif act != "clear":
        raise PaasError("not_found")
    elif request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was deleted: confirm it first."))
    else:
        count = memories.memories_clear(actor=actor)
        messages.success(request, gettext("Notes deleted: %(count)s") % {"count": count})
    return HttpResponseRedirect(PLACE)


@require_POST
@page(CHAT_READ)
def delete(request: HttpRequest, memory_id: uuid.UUID) -> HttpResponse:
    """`/settings/memory/<id>/delete/`"""
    memories.memory_delete(actor=actor_of(request), memory_id=memory_id)
    messages.success(request, gettext("The note was deleted."))
    return HttpResponseRedirect(PLACE)
