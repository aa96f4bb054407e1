"""What the console's acts have in common: only operators act, and a page asks before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from core.errors import PaasError
from core.sentences import sentence


def only_operators(request: HttpRequest) -> str:
    """Who acts, as audit rows name them. Raises Http404 for staff who are no operators."""
    user: Any = request.user
    if not user.is_superuser:
        raise Http404
    return f"operator:{user.pk}"


def ask(request: HttpRequest, act: Callable[[str], str], back: str, *, title: str, lead: str) -> HttpResponse:
    """A page with one button; pressed, act(actor) is done and what it returns is said at `back`. A PaasError is said
    there too."""
    actor = only_operators(request)
    if request.method == "POST":
        try:
            messages.success(request, act(actor))
        except PaasError as error:
            messages.error(request, sentence(error))
        return HttpResponseRedirect(back)
    here = {"title": title, "lead": lead, "button": title, "form": None}
    return render(request, "admin/usage/act.html", {**admin.site.each_context(request), **here})
