"""The pages of a tenant: sign in and out, and the shell of the chat page."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from accounts import audit, sign_in
from accounts.forms import SignInForm
from portal import bundle
from portal.access import page


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """A tenant's front door."""
    return redirect("chat")


class SignIn(LoginView):
    """Sign-in with e-mail address and password; each success and refusal leaves an audit row."""

    template_name = "portal/login.html"
    authentication_form = SignInForm  # type: ignore[assignment]  # has what LoginView asks of it
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        following = self.get_success_url()
        return HttpResponseRedirect(
            sign_in.advance(self.request, form.get_user(), method="password", following=following)
        )

    def form_invalid(self, form: Any) -> HttpResponse:
        if form.data.get("email"):
            audit.record("session.refused", actor="anonymous", email=str(form.data["email"])[:254])
        answer = super().form_invalid(form)
        answer.status_code = 401
        return answer


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session of this browser."""
    if request.user.is_authenticated:
        audit.record("session.ended", actor=f"user:{request.user.pk}")
    logout(request)
    return HttpResponseRedirect("/login/")


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
