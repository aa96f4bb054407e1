"""A person's profile, on tenants' hosts and the platform's: name, password, address, where they are signed in."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import acting, profile
from accounts.models import User
from accounts.sign_in import MAX_PASSWORD
from agents.quotas import lines_for
from core.errors import PaasError
from portal.access import page, refused
from portal.limit_words import shown as shown_limit
from portal.sign_in import PLATFORM_SIGN_IN, refusal, speak

View = Callable[..., HttpResponse]


def own_page(view: View) -> View:
    """A page for any member of the tenant, or for anybody who is signed in on the platform host.

    Closed to an operator who acts as them: what is on it is of all hosts, and the person's own.
    """

    @wraps(view)
    def personal(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if acting.current() is not None:
            raise PaasError("impersonation_forbids")
        return view(request, *args, **kwargs)

    in_tenant = page()(personal)

    @wraps(view)
    def inside(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.tenant is not None:
            return in_tenant(request, *args, **kwargs)
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), PLATFORM_SIGN_IN)
        try:
            return view(request, *args, **kwargs)
        except PaasError as error:
            return refused(request, error)

    inside.required_action = None  # type: ignore[attr-defined]  # as `page` says it
    return never_cache(inside)


def _secret(label: Any, autocomplete: str, help_text: Any = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_PASSWORD,
        strip=False,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
    )


class PersonForm(forms.Form):
    name = forms.CharField(
        label=_("Your name"), max_length=120, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    language = forms.ChoiceField(
        label=_("Language"), choices=[("", _("That of the browser")), *settings.LANGUAGES], required=False
    )


class MailForm(forms.Form):
    approval_mails = forms.BooleanField(label=_("When an agent waits for me to approve a call"), required=False)


class PasswordForm(forms.Form):
    current = _secret(_("Present password"), "current-password")
    new = _secret(_("New password"), "new-password", _("At least 10 characters."))


class EmailForm(forms.Form):
    email = forms.EmailField(
        label=_("New e-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )
    password = _secret(_("Present password"), "current-password")


def _home(request: Any) -> str:
    return "/profile/" if request.tenant else "/accounts/profile/"


def _label(request: Any) -> str:
    return f"user:{request.user.pk}"


@own_page
@require_http_methods(["GET", "POST"])
def show(request: Any) -> HttpResponse:
    """`/profile/` and `/accounts/profile/`; a POST names one of the forms in `form`."""
    if request.method == "GET":
        return _page(request)
    act = {"person": _person, "mail": _mail, "password": _password, "email": _email}.get(request.POST.get("form", ""))
    if act is None:
        raise PaasError("not_found")
    return act(request)


def _page(request: Any, status: int = 200, **forms_: forms.Form) -> HttpResponse:
    user = profile.person_of(request.user.pk)
    lines, elsewhere = profile.sessions_of(user.pk, request.session.session_key)
    shown = {
        "page_name": "profile",
        "layout": "portal/page.html" if request.tenant else "portal/platform_page.html",
        "home": _home(request),
        "person": user,
        "has_password": user.has_usable_password(),
        "person_form": PersonForm(initial={"name": user.name, "language": user.language}, prefix="person"),
        "mail_form": MailForm(initial={"approval_mails": user.approval_mails}, prefix="mail"),
        "password_form": PasswordForm(prefix="password"),
        "email_form": EmailForm(prefix="email"),
        "sessions": lines,
        "elsewhere": elsewhere,
        **_limits(request, user),
        **forms_,
    }
    return render(request, "portal/profile.html", shown, status=status)


def _limits(request: Any, user: User) -> dict[str, Any]:
    """What the person may use: what is limited for them alone, and what they share."""
    known = {user.pk: user.name}
    found = [shown_limit(one) for one in lines_for(request.actor, rooms=True, known=known)] if request.tenant else []
    own = [replace(one, whose="") for one in found if one.standing.level == "user"]
    return {"own_limits": own, "shared_limits": [one for one in found if one.standing.level != "user"]}


def _done(request: Any, text: str) -> HttpResponse:
    messages.success(request, text)
    return HttpResponseRedirect(_home(request))


def _person(request: Any) -> HttpResponse:
    form = PersonForm(request.POST, prefix="person")
    if not form.is_valid():
        return _page(request, 400, person_form=form)
    profile.person_update(user_id=request.user.pk, actor=_label(request), **form.cleaned_data)
    with translation.override(form.cleaned_data["language"] or translation.get_language()):
        answer = _done(request, gettext("Saved."))
    speak(answer, profile.person_of(request.user.pk))
    if not form.cleaned_data["language"]:
        answer.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    return answer


def _mail(request: Any) -> HttpResponse:
    form = MailForm(request.POST, prefix="mail")
    form.is_valid()  # a box that is ticked or is not
    profile.person_update(user_id=request.user.pk, actor=_label(request), **form.cleaned_data)
    return _done(request, gettext("Saved."))


def _password(request: Any) -> HttpResponse:
    form = PasswordForm(request.POST, prefix="password")
    if form.is_valid() and _tried(
        form,
        "current",
        lambda: profile.password_change(
            request=request, user=profile.person_of(request.user.pk), actor=_label(request), **form.cleaned_data
        ),
    ):
        return _done(request, gettext("The password is changed. You are signed out everywhere else."))
    return _page(request, 400, password_form=form)


def _email(request: Any) -> HttpResponse:
    form = EmailForm(request.POST, prefix="email")
    if form.is_valid() and _tried(
        form,
        "password",
        lambda: profile.email_change_request(user=profile.person_of(request.user.pk), **form.cleaned_data),
    ):
        sent = gettext("We sent a link to %(email)s. Your address changes when you open it.")
        return _done(request, sent % {"email": form.cleaned_data["email"]})
    return _page(request, 400, email_form=form)


def _tried(form: forms.Form, beside: str, act: Callable[[], None]) -> bool:
    """Whether it worked; what was wrong stands in the form, too many tries beside the password."""
    try:
        act()
    except ValidationError as error:
        form.add_error(None, error)
    except PaasError as error:
        form.add_error(beside, refusal(error))
    return form.is_valid()


@own_page
@require_http_methods(["GET", "POST"])
def email(request: Any, code: str) -> HttpResponse:
    """`/profile/email/<code>/`, the link in the mail: a GET changes nothing (programs open links in mails too)."""
    if request.method == "POST":
        address = profile.email_change(code=code, user_id=request.user.pk)
        return _done(request, gettext("Your address is %(email)s now.") % {"email": address})
    address = profile.email_change_of(code, request.user.pk)
    return render(request, "portal/email_confirm.html", {"address": address, "person": request.user})


@own_page
@require_POST
def end_session(request: Any, session_id: uuid.UUID) -> HttpResponse:
    """End one session on this host."""
    profile.session_end(user_id=request.user.pk, session_id=session_id, actor=_label(request))
    return _done(request, gettext("The session has ended."))


@own_page
@require_POST
def end_everywhere(request: Any) -> HttpResponse:
    """Sign out everywhere, here too."""
    profile.sign_out_everywhere(user_id=request.user.pk, actor=_label(request))
    logout(request)
    messages.success(request, gettext("You are signed out everywhere."))
    return HttpResponseRedirect("/login/" if request.tenant else PLATFORM_SIGN_IN)
