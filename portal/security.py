"""`/profile/security/`: a person's second factor, set up, changed and removed by themselves.

The same pages are on the platform host below `/accounts/`, for operators and whoever is in no workspace.

Every change asks for the password or a code first (who has neither yet may set up their first factor), so an
unattended browser is not enough. Codes and secrets are shown once, in the answer to the request that made them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import acting, passkeys, proof, second_factor, sign_in
from core.errors import PaasError
from core.sentences import sentence
from portal.access import ENROLMENT, actor_of, page, refused
from portal.sign_in import start_of, to_sign_in

IN_SESSION = "authenticator_app"  # the sealed secret of an app that is being set up


class ProofForm(forms.Form):
    """Who asks is the person: their password or a code."""

    proof = forms.CharField(
        label=_("Your password or a code"),
        max_length=1024,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class AppForm(forms.Form):
    """The first code of an app."""

    code = forms.CharField(
        label=_("The six digits that the app shows"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}),
    )


class PasskeyForm(ProofForm):
    """A new passkey."""

    name = forms.CharField(
        label=_("Name of the passkey"), max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    credential = forms.CharField(max_length=passkeys.LONGEST, required=False, widget=forms.HiddenInput)
    field_order = ("name", "proof", "credential")


View = Callable[..., HttpResponse]


def own(view: View) -> View:
    """A page about the person's own factors: open while they must enrol, closed to an operator who acts as them."""

    @wraps(view)
    def personal(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if acting.current() is not None:
            raise PaasError("impersonation_forbids")
        return view(request, *args, **kwargs)

    in_tenant = page(enrolling=True)(personal)

    @wraps(view)
    def inside(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.tenant is not None:
            return in_tenant(request, *args, **kwargs)
        if not request.user.is_authenticated:
            return to_sign_in(request)
        try:
            return view(request, *args, **kwargs)
        except PaasError as error:
            return refused(request, error)

    inside.required_action = None  # type: ignore[attr-defined]  # as `page` says it
    return never_cache(inside)


def _address(request: Any) -> str:
    return ENROLMENT if request.tenant else f"/accounts{ENROLMENT}"


def _label(request: Any) -> str:
    return f"user:{request.user.pk}"


def _render(request: Any, template: str, status: int = 200, **shown: Any) -> HttpResponse:
    here = {
        "page_name": "security",
        "layout": "portal/page.html" if request.tenant else "portal/platform_page.html",
        "home": _address(request),
        "start": start_of(request),
    }
    return render(request, template, here | shown, status=status)


def _home(request: Any, status: int = 200, *, panel: str = "", problem: str = "") -> HttpResponse:
    """The page; `problem` is shown in the panel where it came up."""
    factors = second_factor.factors_of(request.user)
    return _render(
        request,
        "portal/security.html",
        status,
        factors=factors,
        must_enrol=request.tenant is not None and actor_of(request).must_enrol,
        console_waits=request.tenant is None and proof.must_enrol(request.user),
        asks=factors.enrolled or request.user.has_usable_password(),
        add_passkey=PasskeyForm(auto_id="new_%s"),
        panel=panel,
        problem=problem,
    )


def _proven(request: Any) -> None:
    form = ProofForm(request.POST)
    if not form.is_valid():
        raise PaasError("invalid_credentials")
    second_factor.proof_check(user=request.user, proof=form.cleaned_data["proof"])


def _answered(panel: str, view: View) -> View:
    """A write of one panel: what goes wrong is said there."""

    @wraps(view)
    def inside(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _proven(request)
            return view(request, *args, **kwargs)
        except PaasError as error:
            return _home(request, error.status, panel=panel, problem=_words(error))

    return require_POST(own(inside))


def _words(error: PaasError) -> str:
    if error.code == "invalid_credentials":
        return gettext("This is not your password, and no code of yours.")
    return sentence(error)


@require_GET
@own
def home(request: HttpRequest) -> HttpResponse:
    """What is set up."""
    return _home(request)


def _app_start(request: Any) -> HttpResponse:
    request.session[IN_SESSION] = second_factor.sealed(second_factor.totp_secret())
    return redirect(_address(request) + "app/")


@require_http_methods(["GET", "POST"])
@own
def app(request: Any) -> HttpResponse:
    """The QR code of a new authenticator app, and the field for its first code."""
    if IN_SESSION not in request.session:
        return _home(request) if request.method == "GET" else redirect(_address(request))
    secret = second_factor.unsealed(request.session[IN_SESSION])
    form, status = AppForm(request.POST or None), 200
    if request.method == "POST" and form.is_valid():
        try:
            code = form.cleaned_data["code"]
            second_factor.totp_add(user=request.user, secret=secret, code=code, actor=_label(request))
        except PaasError as error:
            form.add_error("code", sentence(error))
            status = error.status
        else:
            del request.session[IN_SESSION]
            return _added(request, gettext("The authenticator app is set up."))
    _, picture = second_factor.totp_picture(request.user, secret)
    spaced = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return _render(request, "portal/security_app.html", status, form=form, picture=picture, secret=spaced)


def _added(request: Any, said: str) -> HttpResponse:
    """After a factor was added, which is also to have shown it: the first one brings recovery codes with it."""
    request.session[sign_in.SHOWN] = True
    if second_factor.factors_of(request.user).recovery_left:
        messages.success(request, said)
        return redirect(_address(request))
    return _codes(request, said)


def _codes(request: Any, said: str = "") -> HttpResponse:
    codes = second_factor.recovery_codes_make(user=request.user, actor=_label(request))
    return _render(request, "portal/security_codes.html", codes=codes, said=said)


def _app_remove(request: Any) -> HttpResponse:
    second_factor.factor_remove(user=request.user, row_id=None, actor=_label(request))
    messages.success(request, gettext("The authenticator app was removed."))
    return redirect(_address(request))


@require_POST
@own
def passkey_start(request: Any) -> HttpResponse:
    """What the browser needs to make a passkey, as JSON for static/portal/passkey.js."""
    try:
        _proven(request)
        return JsonResponse(passkeys.adding_begin(request, request.user))
    except PaasError as error:
        return JsonResponse({"message": _words(error)}, status=error.status)


@require_POST
@own
def passkey_add(request: Any) -> HttpResponse:
    """Keep the passkey that the browser made; that the person was asked, the ceremony in the session shows."""
    form = PasskeyForm(request.POST)
    if not form.is_valid():
        return _home(request, 400, panel="passkeys", problem=gettext("Give the passkey a name of up to 60 characters."))
    given = form.cleaned_data
    try:
        passkeys.adding_finish(
            request, request.user, name=given["name"], credential=given["credential"], actor=_label(request)
        )
    except PaasError as error:
        return _home(request, error.status, panel="passkeys", problem=sentence(error))
    return _added(request, gettext("The passkey was added."))


def _passkey_remove(request: Any) -> HttpResponse:
    given = request.POST.get("passkey", "")
    row_id = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
    second_factor.factor_remove(user=request.user, row_id=row_id, actor=_label(request))
    messages.success(request, gettext("The passkey was removed."))
    return redirect(_address(request))


app_start = _answered("app", _app_start)
app_remove = _answered("app", _app_remove)
codes = _answered("codes", _codes)
passkey_remove = _answered("passkeys", _passkey_remove)

# Below /profile/security/ of a tenant, and /accounts/profile/security/ of the platform.
urls = [
    path("", home),
    path("app/", app),
    path("app/start/", app_start),
    path("app/remove/", app_remove),
    path("codes/", codes),
    path("passkeys/", passkey_add),
    path("passkeys/start/", passkey_start),
    path("passkeys/remove/", passkey_remove),
]
