"""From a request's credential to an Actor, for plain ASGI doors and for DRF alike."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, parse_cookie
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import acting, impersonation, keys, rates, selectors, tokens
from accounts.actors import Actor
from accounts.credentials import token_of
from core.errors import PaasError, from_exception
from core.ids import uuid7
from tenants import scope
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)


async def actor_of_headers(headers: Mapping[str, str], tenant: TenantRef | None) -> Actor:
    """The Actor of an access token or API key or, on a tenant's host, of a session cookie.

    Raises not_authenticated, mfa_enrolment_required, and what a token that is not good raises.
    """
    token = token_of(headers)
    if token is not None:
        actor: Actor | None = await actor_of_bearer(token, tenant)
    elif tenant is not None:
        actor = await scope.run_in_tenant(tenant, actor_of_cookie, headers.get("cookie", ""))
    else:
        actor = None
    if actor is None:
        await rates.admit(None, "anonymous")
        raise PaasError("not_authenticated")
    actor.require_factor()
    return actor


async def actor_of_bearer(token: str, tenant: TenantRef | None) -> Actor:
    """The Actor of an access token or an API key. Raises token_invalid, or as keys.actor_of_token."""
    if tokens.is_token(token):
        return await tokens.actor_of_access(token, tenant)
    return await keys.actor_of_token(token, tenant)


def session_key_of(header: str) -> str | None:
    """The session that a cookie header names."""
    # As Django's own views read it: one odd cookie of somebody else's does not hide the session.
    return parse_cookie(header).get(settings.SESSION_COOKIE_NAME) or None


def actor_of_cookie(header: str) -> Actor | None:
    """The Actor whose session a cookie header names; None when it names none. Bound to the tenant."""
    key = session_key_of(header)
    if key is None:
        return None
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    request = _SessionOnly(store)
    user = get_user(request)  # type: ignore[arg-type]  # checks the session's password hash too
    if not user.is_authenticated:
        return None
    with acting.serving(impersonation.of_session(store)):
        return selectors.actor_of_member(user)


class _SessionOnly:
    """As much of a request as `django.contrib.auth.get_user` reads."""

    def __init__(self, session: Any) -> None:
        self.session = session


class ActorAuthentication(BaseAuthentication):
    """DRF: `request.user` and `request.auth` are the Actor. Session requests need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Actor, Actor] | None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        token = token_of(headers)
        binding = scope.current_binding()
        if token is not None:
            actor = async_to_sync(actor_of_bearer)(token, binding.tenant)
            return actor, actor
        if binding.tenant is None or SESSION_KEY not in request._request.session:
            return None
        user = request._request.user
        found = selectors.actor_of_member(user) if user.is_authenticated else None
        if found is None:
            return None
        self._enforce_csrf(request)
        return found, found

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    @staticmethod
    def _enforce_csrf(request: Request) -> None:
        check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type]
        check.process_request(request._request)
        reason = check.process_view(request._request, _no_view, (), {})
        if reason:
            raise PaasError("permission_denied", "The page is out of date. Reload it and try again.")


def _no_view(request: Any) -> Any:
    """CsrfViewMiddleware only looks whether a view is exempt."""


class IsActor(BasePermission):
    """Only identified callers; what they may do each view asks with `actor.require`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, Actor):
            rates.admit_now(None, "anonymous")
            raise PaasError("not_authenticated")
        request.auth.require_factor()
        return True


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Every error of a DRF view in our one shape."""
    found = translated(error)
    request_id = uuid7().hex
    if found.code == "internal_error":
        log.exception("request failed", exc_info=error, request_id=request_id)
    return Response(found.as_native(request_id), status=found.status, headers=found.headers())


def translated(error: Exception) -> PaasError:
    """Whatever a DRF view raised, as an error of ours."""
    if isinstance(error, Http404 | exceptions.NotFound):
        return PaasError("not_found")
    if isinstance(error, exceptions.ParseError):
        return PaasError("malformed_json")
    if isinstance(error, exceptions.ValidationError):
        return PaasError("validation_failed", details={"fields": error.detail})
    if isinstance(error, exceptions.MethodNotAllowed):
        return PaasError("method_not_allowed")
    if isinstance(error, exceptions.UnsupportedMediaType):
        return PaasError("validation_failed", "Send JSON with `Content-Type: application/json`.")
    if isinstance(error, OperationalError | InterfaceError):
        return PaasError("database_unavailable", retry_after=1)
    if isinstance(error, RequestDataTooBig):
        return PaasError("request_too_large")
    return from_exception(error)
