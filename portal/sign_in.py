"""Signing in and out, on a tenant's host and on the platform's: one door, whatever is behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import audit, proof, throttle
from accounts.forms import SignInForm
from accounts.models import User
from accounts.sign_in import advance, local_path, person_with_password
from core.errors import PaasError
from core.sentences import sentence

PLATFORM_SIGN_IN = "/accounts/login/"
SET_UP = "/accounts/profile/security/"  # of a second factor, on the platform host
# Where somebody goes who asked for nothing in particular.
TENANT_START, PLATFORM_START = "/chat/", "/workspaces/"


def start_of(request: Any) -> str:
    """The first page behind the sign-in of the host that is asked."""
    return TENANT_START if request.tenant else PLATFORM_START


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: Any) -> HttpResponse:
    """`/login/` of a tenant, `/accounts/login/` of the platform."""
    following = local_path(request.POST.get("next") or request.GET.get("next"), start_of(request))
    if request.user.is_authenticated:
        return HttpResponseRedirect(following)
    return _door(request, following)


@never_cache
@require_http_methods(["GET", "POST"])
def console(request: Any) -> HttpResponse:
    """`/admin/login/`: the same door, for operators. Whoever is signed in and none is told so; who is to have a second
    factor first is sent to set one up."""
    following = local_path(request.POST.get("next") or request.GET.get("next"), "/admin/")
    if not request.user.is_authenticated:
        return _door(request, following)
    if proof.must_enrol(request.user):
        return HttpResponseRedirect(SET_UP)
    if request.user.is_staff:
        return HttpResponseRedirect(following)
    return render(request, "portal/no_operator.html", {"next": request.get_full_path()}, status=403)


def _door(request: Any, following: str) -> HttpResponse:
    if request.method == "GET":
        return _page(request, SignInForm(), following)
    form = SignInForm(_named(request.POST))
    if not form.is_valid():
        return _page(request, form, following, status=401)
    device = request.COOKIES.get(throttle.DEVICE_COOKIE, "")
    try:
        user = person_with_password(**form.cleaned_data, device=device)
    except PaasError as error:
        form.add_error(None, refusal(error))
        answer = _page(request, form, following, status=error.status)
        for name, value in error.headers().items():
            answer[name] = value
        return answer
    answer = HttpResponseRedirect(advance(request, user, method="password", following=following))
    throttle.remember_device(request, answer, user.email)
    speak(answer, user)
    return answer


def _named(given: Any) -> Any:
    """What Django's own console form calls `username` is the e-mail address."""
    data = given.copy()
    data.setdefault("email", given.get("username", ""))
    return data


def _page(request: Any, form: SignInForm, following: str, status: int = 200) -> HttpResponse:
    asked = following if following != start_of(request) else ""
    there = f"/login/platform/?{urlencode({'next': following})}"
    shown = {"form": form, "next": asked, "sign_up_open": settings.SIGN_UP_OPEN, "by_platform": there}
    return render(request, "portal/login.html", shown, status=status)


def refusal(error: PaasError) -> str:
    """Why a try was refused, with the time to wait, in the present language."""
    if error.code != "rate_limited" or error.retry_after is None:
        return sentence(error)
    if error.retry_after < 100:
        return gettext("Too many tries. Try again in %(count)s seconds.") % {"count": round(error.retry_after)}
    minutes = -(-int(error.retry_after) // 60)
    return gettext("Too many tries. Try again in %(count)s minutes.") % {"count": minutes}


def speak(answer: HttpResponse, user: User) -> None:
    """Show the pages in the person's language from here on, where they chose one."""
    if user.language in dict(settings.LANGUAGES):
        answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, user.language, max_age=365 * 24 * 3600, samesite="Lax")


@require_POST
def sign_out(request: Any) -> HttpResponse:
    """End the session of this browser."""
    with transaction.atomic():
        if request.user.is_authenticated:
            audit.record("session.ended", actor=f"user:{request.user.pk}")
        logout(request)
    door = "/login/" if request.tenant else PLATFORM_SIGN_IN
    return HttpResponseRedirect(local_path(request.POST.get("next"), door))


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send an anonymous visitor of the platform host to sign in, and back."""
    return HttpResponseRedirect(f"{PLATFORM_SIGN_IN}?{urlencode({'next': request.get_full_path()})}")
