"""Where the link of an invitation leads, on the tenant's host. Only who has the link sees anything."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts import invitations, sign_in, throttle
from accounts.models import Invitation, User
from core.errors import PaasError
from portal.members import ROLES
from portal.sign_in import refusal, speak
from portal.sign_up import answered

FOLLOWING = "/chat/"


class NewPersonForm(forms.Form):
    """What is asked of somebody without an account."""

    name = forms.CharField(
        label=_("Your name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True})
    )
    password = forms.CharField(
        label=_("Choose a password"),
        help_text=_("At least 10 characters."),
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class PasswordForm(forms.Form):
    """What is asked of somebody with one."""

    password = forms.CharField(
        label=_("Password"),
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


@answered
@require_http_methods(["GET", "HEAD", "POST"])
def accept(request: Any, token: str) -> HttpResponse:
    """`/invitations/<token>/`: a GET changes nothing (programs open links in mails too)."""
    invitations.check_looks()
    invitation = invitations.invitation_of(token)
    if request.user.is_authenticated:
        return _signed_in(request, invitation, token)
    if invitations.is_known(invitation):
        return _known(request, invitation, token)
    return _new(request, invitation, token)


def _signed_in(request: Any, invitation: Invitation, token: str) -> HttpResponse:
    """Somebody is signed in on this host, so a member of it: the invited person themselves, or another."""
    if request.user.email != invitation.email:
        return _page(request, "other", invitation, status=409 if request.method == "POST" else 200)
    if request.method != "POST":
        return _page(request, "ready", invitation)
    invitations.invitation_accept_known(token=token, user=request.user)
    return HttpResponseRedirect(FOLLOWING)


def _known(request: Any, invitation: Invitation, token: str) -> HttpResponse:
    if request.method != "POST":
        return _page(request, "known", invitation, PasswordForm())
    form = PasswordForm(request.POST)
    if not form.is_valid():
        return _page(request, "known", invitation, form, 400)
    device = request.COOKIES.get(throttle.DEVICE_COOKIE, "")
    try:
        user = invitations.person_proven(token=token, password=form.cleaned_data["password"], device=device)
    except PaasError as error:
        if error.code not in ("invalid_credentials", "rate_limited"):
            raise
        wrong = error.code == "invalid_credentials"
        form.add_error("password", _("The password is not right.") if wrong else refusal(error))
        answer = _page(request, "known", invitation, form, error.status)
        for name, value in error.headers().items():
            answer[name] = value
        return answer
    invitations.invitation_accept_known(token=token, user=user)
    return _let_in(request, user)


def _new(request: Any, invitation: Invitation, token: str) -> HttpResponse:
    if request.method != "POST":
        return _page(request, "new", invitation, NewPersonForm())
    form = NewPersonForm(request.POST)
    if not form.is_valid():
        return _page(request, "new", invitation, form, 400)
    values = form.cleaned_data
    try:
        user = invitations.invitation_accept_new(token=token, name=values["name"], password=values["password"])
    except ValidationError as error:
        form.add_error("password", error)
        return _page(request, "new", invitation, form, 400)
    return _let_in(request, user)


def _let_in(request: Any, user: User) -> HttpResponse:
    answer = HttpResponseRedirect(sign_in.advance(request, user, method="invitation", following=FOLLOWING))
    throttle.remember_device(request, answer, user.email)
    speak(answer, user)
    return answer


def _page(
    request: HttpRequest, who: str, invitation: Invitation, form: forms.Form | None = None, status: int = 200
) -> HttpResponse:
    shown = {"who": who, "invitation": invitation, "role": dict(ROLES)[invitation.role], "form": form}
    return render(request, "portal/invitation.html", shown, status=status)
