"""`/api/auth/`: sign-in for programs with e-mail address and password, by JSON Web Token, as Phase 1 and 2 had it.

On a tenant's host the host names the tenant. On the platform host whoever is in several chooses.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import async_only_middleware
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import second_factor, selectors, sign_in, tokens
from accounts.authentication import exception_handler, translated
from accounts.credentials import token_of
from accounts.models import User
from core.errors import PaasError
from tenants import resolve, scope
from tenants.scope import TenantRef

# Our code -> (error, code) of these addresses; others are their own name in capitals, without a code.
SHAPES: dict[str, tuple[str, str]] = {
    "invalid_credentials": ("INVALID_CREDENTIALS", "auth_001"),
    "not_authenticated": ("MISSING_TOKEN", "auth_002"),
    "token_invalid": ("INVALID_TOKEN", "auth_003"),
    "mfa_required": ("MFA_REQUIRED", "auth_004"),
    "mfa_code_invalid": ("MFA_CODE_INVALID", "auth_005"),
    "mfa_enrolment_required": ("MFA_ENROLMENT_REQUIRED", "auth_006"),
    "rate_limited": ("RATE_LIMITED", "auth_007"),
}
GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


def _failed(error: Exception, context: dict[str, Any]) -> Response:
    """Errors in the shape of these addresses: {error, message, code?, details?, path}."""
    found = translated(error)
    if found.code == "internal_error":
        exception_handler(error, context)  # writes it down
    named, code = SHAPES.get(found.code, (found.code.upper(), ""))
    status = found.status
    if found.code in ("validation_failed", "malformed_json"):
        named, status = "VALIDATION_ERROR", 422
    body: dict[str, Any] = {"error": named, "message": found.message, "path": context["request"].path}
    body |= {"code": code} if code else {}
    body |= {"details": found.details} if found.details else {}
    return Response(body, status=status, headers={**found.headers(), "Cache-Control": "no-store"})


class AuthView(APIView):
    """One of the addresses. The credential is in the body, so nothing is asked of the request around it."""

    authentication_classes = ()
    permission_classes = ()

    def get_exception_handler(self) -> Any:
        return _failed


def _text(request: Request, name: str, most: int, *, optional: bool = False) -> str:
    """A text of the body. Raises validation_failed, which names the field."""
    value = request.data.get(name) if isinstance(request.data, dict) else None
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not value or len(value) > most or "\0" in value:
        raise PaasError("validation_failed", f"{name} is a text of 1 to {most} characters.", details={"field": name})
    return value


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(body, status=status, headers={"Cache-Control": "no-store"})


def _pair_view(pair: tokens.Pair) -> dict[str, Any]:
    seconds = int(tokens.ACCESS.total_seconds())
    return {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "token_type": "bearer",
        "expires_in": seconds,
    }


def _person(request: Request) -> User:
    email, password = _text(request, "email", 254), _text(request, "password", 1024)
    return sign_in.person_with_password(email=email, password=password)


def _signed_in(request: Request, user: User, tenant: TenantRef) -> Response:
    """The pair for a person whose password is right: a member, with the second factor where there is one (A16)."""
    with scope.bind(resolve.admitted(tenant)):
        actor = selectors.actor_of_user(user.pk)
        if actor is None:
            raise PaasError("invalid_credentials")
        method = "password"
        if second_factor.is_enrolled(user):
            code = _text(request, "code", 100, optional=True)
            if not code:
                raise PaasError("mfa_required")
            method += f"+{second_factor.code_use(user=user, code=code)}"
        actor.require_factor()
        pair = tokens.family_begin(actor=actor, method=method)
    person = {"id": str(user.pk), "email": actor.email, "role": actor.role, "tenant_id": str(tenant.id)}
    return _answer(_pair_view(pair) | {"user": person})


class Login(AuthView):
    """`POST /api/auth/login` {email, password, code?}"""

    def post(self, request: Request) -> Response:
        user = _person(request)
        tenant = scope.current_binding().tenant
        if tenant is not None:
            return _signed_in(request, user, tenant)
        everything = selectors.tenants_of_user(user.pk)
        found = [one for one in everything if one.status == "active"] or everything[:1]
        if len(found) == 1:
            return _signed_in(request, user, found[0])
        if not found:
            raise PaasError("invalid_credentials")
        return _answer(
            {
                "status": "tenant_selection_required",
                "message": "This address belongs to several workspaces. Choose one.",
                "tenants": [{"id": str(one.id), "name": one.name} for one in found],
            },
            status=202,
        )


class LoginTenant(AuthView):
    """`POST /api/auth/login/tenant` {email, password, tenant_id, code?}"""

    def post(self, request: Request) -> Response:
        try:
            wanted = uuid.UUID(_text(request, "tenant_id", 36))
        except ValueError:
            raise PaasError("validation_failed", "tenant_id is a UUID.", details={"field": "tenant_id"}) from None
        user = _person(request)
        here = scope.current_binding().tenant
        chosen = next((one for one in selectors.tenants_of_user(user.pk) if one.id == wanted), None)
        if chosen is None or (here is not None and here.id != wanted):
            raise PaasError("invalid_credentials")
        return _signed_in(request, user, chosen)


class Refresh(AuthView):
    """`POST /api/auth/refresh` {refresh_token}"""

    def post(self, request: Request) -> Response:
        if not (isinstance(request.data, dict) and request.data.get("refresh_token")):
            raise PaasError("not_authenticated", "Send the refresh token as `refresh_token`.")
        return _answer(_pair_view(tokens.family_rotate(refresh=_text(request, "refresh_token", tokens.LONGEST))))


class Logout(AuthView):
    """`POST /api/auth/logout`, with the access token as bearer or the refresh token in the body."""

    def post(self, request: Request) -> Response:
        token = token_of({name.lower(): value for name, value in request.headers.items()})
        if token is None and isinstance(request.data, dict) and request.data.get("refresh_token"):
            token = _text(request, "refresh_token", tokens.LONGEST)
        if token is None:
            raise PaasError("not_authenticated", "Send the access token as `Authorization: Bearer ...`.")
        tokens.family_end(token=token)
        return _answer({"message": "Signed out."})


@async_only_middleware
def StrayTokens(get_response: GetResponse) -> GetResponse:
    """A tenant's access token is nothing on the platform's pages and console: 401 with an audit row (A11)."""

    async def middleware(request: Any) -> HttpResponseBase:
        token = token_of({"authorization": request.headers.get("Authorization", "")})
        if request.tenant is None and token and tokens.is_token(token) and not request.path.startswith("/api/auth/"):
            try:
                await tokens.actor_of_access(token, None)
            except PaasError as error:
                return JsonResponse(error.as_native(), status=error.status, headers=error.headers())
        return await get_response(request)

    return middleware
