"""Operators over the API of the platform host: a session of the host, with its CSRF token.

There is no credential of the platform for programs: API keys belong to tenants and say nothing here. A program that
makes tenants runs `manage.py apply`, or signs in as an operator of its own.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import proof
from accounts.authentication import ActorAuthentication
from core.errors import PaasError
from tenants import scope


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the platform."""

    id: uuid.UUID
    email: str

    @property
    def label(self) -> str:
        """As audit rows name them."""
        return f"operator:{self.id}"


class OperatorAuthentication(BaseAuthentication):
    """DRF: `request.auth` is the Operator. Raises permission_denied for people who are none."""

    def authenticate(self, request: Request) -> tuple[Operator, Operator] | None:
        user: Any = request._request.user
        if scope.current_binding().tenant is not None or not user.is_authenticated:
            return None
        if not (user.is_active and user.is_staff and user.is_superuser):
            raise PaasError("permission_denied", "Only operators of the platform may do this.")
        ActorAuthentication._enforce_csrf(request)
        if proof.must_enrol(user):
            raise PaasError("mfa_enrolment_required", "Set up a second factor on the platform host first.")
        found = Operator(user.pk, user.email)
        return found, found

    def authenticate_header(self, request: Request) -> str:
        return "Session"


class IsOperator(BasePermission):
    """Only operators."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, Operator):
            raise PaasError("not_authenticated", "Sign in on the platform host as an operator.")
        return True
