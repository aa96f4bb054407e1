"""Forgotten passwords: ask for a link, choose a new password behind it. On tenants' hosts and the platform's."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import forgotten, throttle
from accounts.sign_in import MAX_PASSWORD
from core.errors import PaasError
from portal.access import refused
from portal.sign_in import PLATFORM_SIGN_IN, refusal


class AskForm(forms.Form):
    email = forms.EmailField(
        label=_("Your e-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )


class ResetForm(forms.Form):
    new = forms.CharField(
        label=_("New password"),
        help_text=_("At least 10 characters."),
        max_length=MAX_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "autofocus": True}),
    )


def _door(request: Any) -> str:
    return "/login/" if request.tenant else PLATFORM_SIGN_IN


@never_cache
@require_http_methods(["GET", "POST"])
def ask(request: Any) -> HttpResponse:
    """`/login/forgot/` and `/accounts/forgot/`: the same answer for every address (A18)."""
    form = AskForm(request.POST if request.method == "POST" else None)
    if request.method == "GET" or not form.is_valid():
        return _ask_page(request, form, 400 if form.errors else 200)
    address = form.cleaned_data["email"]
    try:
        forgotten.password_reset_request(email=address, language=get_language() or "")
    except PaasError as error:
        form.add_error(None, refusal(error))
        answer = _ask_page(request, form, error.status)
        for name, value in error.headers().items():
            answer[name] = value
        return answer
    return render(request, "portal/forgotten_sent.html", {"email": address, "door": _door(request)})


def _ask_page(request: Any, form: AskForm, status: int) -> HttpResponse:
    return render(request, "portal/forgotten.html", {"form": form, "door": _door(request)}, status=status)


@never_cache
@require_http_methods(["GET", "POST"])
def reset(request: Any, code: str) -> HttpResponse:
    """`/login/reset/<code>/` and `/accounts/reset/<code>/`: choose a password, then sign in with it (A16)."""
    try:
        user = forgotten.person_of_link(code)
        form = ResetForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                forgotten.password_reset(code=code, new=form.cleaned_data["new"])
            except ValidationError as error:
                form.add_error("new", error)
    except PaasError as error:
        return refused(request, error)
    if request.method == "GET" or form.errors:
        shown = {"form": form, "email": user.email}
        return render(request, "portal/reset.html", shown, status=400 if form.errors else 200)
    messages.success(request, gettext("The password is changed. Sign in with it."))
    answer = HttpResponseRedirect(_door(request))
    # Whoever reads the mailbox is let try, whatever others do at the door.
    throttle.remember_device(request, answer, user.email)
    return answer
