"""Signing in with a provider: the way out, the provider's answer, and the way in. accounts/oidc.py says how it works.

The way out and the answer wait for servers of others, so they are asynchronous and hold no connection meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import audit, identities, oidc
from accounts.identity_providers import Provider, provider_here
from accounts.models import User
from accounts.oidc import Flow
from accounts.sign_in import advance, local_path
from core import clock
from core.errors import PaasError
from core.sentences import sentence
from portal.access import beside
from portal.sign_in import PLATFORM_SIGN_IN, speak, start_of
from tenants import client, ratelimit, resolve, scope

COOKIE_SECONDS = 900
PER_NETWORK = 60, 60.0
CONNECTING = "connecting_identity"  # in the session: {provider, until}, set by the profile's page after the password

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponse]]


def identities_page(request: Any) -> str:
    """Where a person sees what is connected, on the host at hand."""
    return "/profile/identities/" if request.tenant else "/accounts/profile/identities/"


def _cookie() -> str:
    """The name of the cookie that binds a sign-in to its browser. Of one host, and with TLS provably so."""
    return "__Host-oidc" if settings.SESSION_COOKIE_SECURE else "oidc"


def _counted(view: AsyncView) -> AsyncView:
    """At most PER_NETWORK of them; a PaasError becomes a page with a way back."""

    @wraps(view)
    async def inside(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            await beside(_count)
            return await view(request, *args, **kwargs)
        except PaasError as error:
            return await beside(_refused, request, error)

    return inside


def _count() -> None:
    party = client.network_of(client.current().address)
    ratelimit.check(ratelimit.Limit(f"oidc:{party}", *PER_NETWORK), fail_closed=True)


def _refused(request: Any, error: PaasError, flow: Flow | None = None) -> HttpResponse:
    door = "/login/" if request.tenant else PLATFORM_SIGN_IN
    shown = {
        "sentence": sentence(error),
        "code": error.code,
        "wait": error.retry_after,
        "name": flow.provider.name if flow else "",
        "connecting": bool(flow and flow.connecting),
        "way_back": flow.way_back if flow else door,
    }
    answer = render(request, "portal/oidc_refused.html", shown, status=error.status)
    for name, value in error.headers().items():
        answer[name] = value
    return answer


# --- the way out ---------------------------------------------------------------------------------------


@never_cache
@require_GET
@_counted
async def begin(request: Any, key: str) -> HttpResponse:
    """`/login/oidc/<key>/` of a tenant, `/accounts/oidc/<key>/` of the platform: off to the provider.

    A GET: a form's answer may not lead to another site (form-action), and this changes nothing that counts. Whoever
    is made to open it ends where they sign in as themselves.
    """
    if request.tenant and resolve.host_name(request.get_host()) != f"{request.tenant.slug}.{settings.BASE_DOMAIN}":
        # The answer comes back to the tenant's own address, so the cookie must be there.
        return HttpResponseRedirect(resolve.tenant_url(request.tenant.slug) + request.get_full_path())
    provider, user = await beside(_wanted, request, key)
    following = identities_page(request) if user else local_path(request.GET.get("next"), start_of(request))
    browser = request.COOKIES.get(_cookie(), "")
    if not 32 <= len(browser) <= 64:
        browser = secrets.token_urlsafe(32)
    answer = HttpResponseRedirect(await oidc.begin(provider, browser=browser, following=following, user=user))
    answer.set_cookie(
        _cookie(), browser, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    return answer


def _wanted(request: Any, key: str) -> tuple[Provider, User | None]:
    """The provider, and who wants it connected (None: somebody signs in)."""
    provider = provider_here(key)
    asked = request.session.get(CONNECTING)
    if "connect" not in request.GET:
        return provider, None
    request.session.pop(CONNECTING, None)
    fresh = bool(asked) and asked["provider"] == key and asked["until"] > clock.now().timestamp()
    if not fresh or not request.user.is_authenticated:
        raise PaasError("identity_state")
    return provider, request.user


def ask_to_connect(request: Any, provider: Provider) -> str:
    """The address that goes off to connect the provider, good for a minute; the person has given their password."""
    request.session[CONNECTING] = {"provider": provider.key, "until": clock.now().timestamp() + 60}
    return f"{'/login' if request.tenant else '/accounts'}/oidc/{provider.key}/?{urlencode({'connect': '1'})}"


# --- the answer, on the platform host ------------------------------------------------------------------


@never_cache
@require_GET
@_counted
async def callback(request: Any, whose: str) -> HttpResponse:
    """`/accounts/oidc/callback/<whose>/`: where every provider sends people back to."""
    given = request.GET.dict()
    if not given.get("state") and given.get("error") == "access_denied":  # some forget the state then
        raise PaasError("identity_cancelled")
    flow = await oidc.flow_of_answer(whose, given)
    try:
        return HttpResponseRedirect(await oidc.come_back(flow, given))
    except PaasError as error:
        await beside(_note, flow, error, "")
        return await beside(_refused, request, error, flow)


def _note(flow: Flow, error: PaasError, email: str) -> None:
    """The refusal in the log of the host where it began."""
    from tenants.selectors import tenant_by_slug

    with scope.platform():
        tenant = tenant_by_slug(flow.slug) if flow.slug else None
    with scope.bind(tenant) if tenant else scope.platform():
        told = {"email": email or "–", "method": flow.provider.method, "reason": error.code}
        audit.record("session.refused", actor=audit.NOBODY, **told)


# --- the way in, on the host where it began ------------------------------------------------------------


@never_cache
@require_GET
def land(request: Any) -> HttpResponse:
    """`/login/oidc/` of a tenant, `/accounts/oidc/` of the platform, with the one-time code."""
    flow, email = None, ""
    try:
        flow, identity = oidc.hand_over(request.GET.get("code", "")[:200], request.COOKIES.get(_cookie(), ""))
        email = identity.email
        if flow.connecting:
            return _connect(request, flow, identity)
        user = identities.person_entering(flow.provider, identity)
        answer = HttpResponseRedirect(advance(request, user, method=flow.provider.method, following=flow.following))
        speak(answer, user)
        return answer
    except PaasError as error:
        if flow is not None:
            _note(flow, error, email)
        return _refused(request, error, flow)


def _connect(request: Any, flow: Flow, identity: identities.Identity) -> HttpResponse:
    if not request.user.is_authenticated or str(request.user.pk) != flow.connecting:
        raise PaasError("identity_state")
    identities.identity_connect(user=request.user, provider=flow.provider, identity=identity)
    return HttpResponseRedirect(flow.following)
