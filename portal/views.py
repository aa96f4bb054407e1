"""The front door of a tenant, and the shell of the chat page."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from portal import bundle
from portal.access import page


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """A tenant's front door."""
    return redirect("chat")


@require_GET
@page()
@ensure_csrf_cookie
def chat(request: HttpRequest, conversation_id: uuid.UUID | None = None) -> HttpResponse:
    """The chat page's shell; the page itself is frontend/, built into static/chat/."""
    return render(request, "portal/chat.html", {"bundle": bundle.entry()})


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 for people."""
    return render(request, "portal/error.html", {"status": 404}, status=404)


def page_failed(request: HttpRequest) -> HttpResponse:
    """500 for people."""
    return render(request, "portal/error.html", {"status": 500}, status=500)


def forgery_suspected(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for people whose form carries no good token: it stood open while they signed in anew, or another site sent
    it."""
    return render(request, "portal/error.html", {"status": 403}, status=403)
