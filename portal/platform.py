"""The platform host's pages for people: its front, the chooser of workspaces, and the way over to one of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import handover, selectors
from accounts.sign_in import local_path
from core.errors import PaasError
from portal.access import refused
from portal.sign_in import PLATFORM_START, TENANT_START, speak, to_sign_in
from tenants import resolve


@never_cache
@require_GET
def front(request: Any) -> HttpResponse:
    """`/`: operators to the console, people to their workspaces, everybody else to a page that says what this is."""
    if not request.user.is_authenticated:
        return render(request, "portal/front.html", {"sign_up_open": settings.SIGN_UP_OPEN})
    return HttpResponseRedirect("/admin/" if request.user.is_staff else PLATFORM_START)


@never_cache
@require_GET
def workspaces(request: Any) -> HttpResponse:
    """`/workspaces/`: those of the person, each with a link that opens it."""
    if not request.user.is_authenticated:
        return to_sign_in(request)
    found = selectors.workspaces_of(request.user.pk)
    way_in = f"/login/platform/?{urlencode({'next': TENANT_START})}"
    shown = {"workspaces": found, "way_in": way_in, "sign_up_open": settings.SIGN_UP_OPEN, "page_name": "workspaces"}
    return render(request, "portal/workspaces.html", shown)


@never_cache
@require_GET
def hand_over(request: Any) -> HttpResponse:
    """`/accounts/handover/?tenant=&state=&next=`: where a tenant's `/login/platform/` sends a browser.

    Answers with a page that goes on by itself and not with a redirect: the form of a sign-in page before it may lead
    to its own host only (`form-action`), and browsers hold redirects to that too.
    """
    if not request.user.is_authenticated:
        return to_sign_in(request)
    following = local_path(request.GET.get("next"), TENANT_START)
    try:
        tenant, code = handover.handover_create(
            request=request,
            user=request.user,
            slug=request.GET.get("tenant", "")[:60],
            state=request.GET.get("state", ""),
            following=following,
        )
    except PaasError as error:
        return refused(request, error)
    way = f"{resolve.tenant_url(tenant.slug)}/login/platform/?{urlencode({'code': code})}"
    return render(request, "portal/hand_over.html", {"name": tenant.name, "way": way})


@never_cache
@require_GET
def accept(request: Any) -> HttpResponse:
    """`/login/platform/` on a tenant's host: without `code` off to the platform, with one the session."""
    following = local_path(request.GET.get("next"), TENANT_START)
    code, name = request.GET.get("code", ""), handover.cookie_name()
    if request.impersonation or (request.user.is_authenticated and not code):
        return HttpResponseRedirect(following)
    if code:
        return _with_code(request, code[:200], name)
    secret, state = handover.secret_new()
    asked = urlencode({"tenant": request.tenant.slug, "state": state, "next": following})
    answer = HttpResponseRedirect(f"{resolve.platform_url()}/accounts/handover/?{asked}")
    answer.set_cookie(
        name,
        secret,
        max_age=handover.SECRET_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )
    return answer


def _with_code(request: Any, code: str, name: str) -> HttpResponse:
    try:
        user, way = handover.handover_accept(
            request=request, code=code, secret=request.COOKIES.get(name, ""), default=TENANT_START
        )
    except PaasError as error:
        return refused(request, error)
    answer = HttpResponseRedirect(way)
    answer.delete_cookie(name)
    speak(answer, user)
    return answer
