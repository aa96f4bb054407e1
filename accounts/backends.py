"""Sign-in with e-mail address and password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password

from accounts.models import User
from tenants import scope


class EmailBackend(ModelBackend):
    """On a tenant's host its members (row-level security shows no others), on the platform host operators."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        email = (username or kwargs.get("email") or "").strip().lower()
        if not email or password is None:
            return None
        user = User.objects.filter(email=email).first()
        if user is None:
            make_password(password)  # as long as a real check takes, so that timing tells nothing (A18)
            return None
        return user if user.check_password(password) and self.may_enter(user) else None

    def get_user(self, user_id: Any) -> User | None:
        user = User.objects.filter(pk=user_id).first()
        return user if user and self.may_enter(user) else None

    def may_enter(self, user: User) -> bool:
        """Whether an active user belongs on this host."""
        if not user.is_active:
            return False
        if scope.current_binding().tenant is None:
            return user.is_staff
        return user.memberships.exists()
