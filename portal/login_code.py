"""The second step of a sign-in: a code of the person's app, a recovery code, or a passkey.

Whatever proved who it is has left that in the session (accounts/sign_in.py); only here it becomes a session of the
person (A16). The same page serves tenants' hosts and the platform's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib.auth import load_backend
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import passkeys, second_factor, sign_in
from accounts.models import User
from core import clock
from core.errors import PaasError
from core.sentences import sentence
from tenants import scope


class CodeForm(forms.Form):
    """A code, or what a passkey answered."""

    code = forms.CharField(
        label=_("Code"),
        max_length=40,
        required=False,
        help_text=_("The six digits that your app shows now, or one of your recovery codes."),
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True, "spellcheck": "false"}
        ),
    )
    credential = forms.CharField(max_length=passkeys.LONGEST, required=False, widget=forms.HiddenInput)


@dataclass(frozen=True, slots=True)
class Pending:
    """Whose sign-in waits for its second step."""

    user: User
    method: str
    following: str


def _pending(request: Any) -> Pending | None:
    found = request.session.get(sign_in.PENDING)
    if not found or found["until"] <= clock.now().timestamp():
        return None
    # As it is asked again at each request: active, and somebody who may be on this host at all.
    user: Any = load_backend(settings.AUTHENTICATION_BACKENDS[0]).get_user(found["user"])
    return Pending(user, found["method"], found["following"]) if user else None


def _start_over(request: Any) -> HttpResponse:
    """To the page where this sign-in began."""
    following = (request.session.pop(sign_in.PENDING, None) or {}).get("following", "")
    console = following.startswith("/admin/")
    door = "/login/" if scope.current_binding().tenant else "/admin/login/" if console else "/accounts/login/"
    return HttpResponseRedirect(f"{door}?{urlencode({'next': following})}" if following else door)


@never_cache
@require_http_methods(["GET", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """`/login/code/` and `/accounts/login/code/`."""
    pending = _pending(request)
    if pending is None:
        return _start_over(request)
    if request.method == "GET":
        return _page(request, pending, CodeForm())
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _page(request, pending, form, 400)
    code, credential = form.cleaned_data["code"], form.cleaned_data["credential"]
    try:
        if credential:
            passkeys.showing_finish(request, pending.user, credential=credential)
            shown = "passkey"
        else:
            shown = second_factor.code_use(user=pending.user, code=code)
    except PaasError as error:
        form.add_error("code", sentence(error))
        answer = _page(request, pending, form, error.status)
        for name, value in error.headers().items():
            answer[name] = value
        return answer
    sign_in.session_begin(request, pending.user, method=f"{pending.method}+{shown}", second_factor=True)
    return HttpResponseRedirect(pending.following)


@never_cache
@require_POST
def passkey(request: HttpRequest) -> HttpResponse:
    """`.../passkey/`: what the browser needs to show a passkey."""
    pending = _pending(request)
    try:
        if pending is None:
            raise PaasError("not_authenticated")
        return JsonResponse(passkeys.showing_begin(request, pending.user))
    except PaasError as error:
        return JsonResponse({"message": sentence(error)}, status=error.status)


def _page(request: HttpRequest, pending: Pending, form: CodeForm, status: int = 200) -> HttpResponse:
    factors = second_factor.factors_of(pending.user)
    shown = {"form": form, "factors": factors, "email": pending.user.email}
    return render(request, "portal/login_code.html", shown, status=status)
