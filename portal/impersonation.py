"""An operator who acts as somebody: the door, the end, and what holds for every request in between (A67)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.utils.decorators import async_only_middleware
from django.views.decorators.http import require_GET, require_POST

from accounts import acting, impersonation
from core.errors import PaasError
from portal.access import refused
from tenants import scope

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

READING = ("GET", "HEAD", "OPTIONS")
END = "/impersonate/end/"
# What may be changed all the same: to end it, and the language of the pages.
ALLOWED = frozenset({END, "/logout/", "/i18n/setlang/"})


@async_only_middleware
def ImpersonationMiddleware(get_response: GetResponse) -> GetResponse:
    """Sets `request.impersonation` (an Acting, or None); while it is one, nothing may be changed."""

    async def middleware(request: Any) -> HttpResponseBase:
        request.impersonation = None
        if request.tenant is None or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return await get_response(request)
        try:
            found = await scope.run_bound(impersonation.of_session, request.session)
        except PaasError as error:
            if error.code != "not_authenticated":
                return _refused(request, error)
            await request.session.aflush()  # its time is over: this browser is nobody's again
            found = None
        if found is None:
            return await get_response(request)
        request.impersonation = found
        with acting.serving(found):
            if request.method not in READING and request.path not in ALLOWED:
                return _refused(request, PaasError("impersonation_forbids"))
            return await get_response(request)

    return middleware


def _refused(request: HttpRequest, error: PaasError) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error.as_native(), status=error.status, headers=error.headers())
    return refused(request, error)


@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """`/impersonate/?code=`: where the operator's link leads."""
    try:
        impersonation.impersonation_open(request, request.GET.get("code", "")[:200])
    except PaasError as error:
        return refused(request, error)
    return HttpResponseRedirect("/chat/")


@require_POST
def end(request: HttpRequest) -> HttpResponse:
    """End it: like signing out."""
    logout(request)
    return HttpResponseRedirect("/login/")
