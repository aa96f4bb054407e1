"""Whose password it is, and who may have a session on which host.

Doors call `accounts.sign_in.person_with_password`, which counts tries before it asks here.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password

from accounts import selectors
from accounts.models import User
from tenants import scope


class EmailBackend(ModelBackend):
    """On a tenant's host its members (row-level security shows no others), on the platform host everybody.

    What a person may do on the platform host is each page's question: the console asks for operators.
    """

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        email = (username or kwargs.get("email") or "").strip().lower()
        if not email or password is None:
            return None
        user = User.objects.filter(email=email).first()
        scope.release()  # many may wait for their turn at hashing, and the pool is small (T23)
        if user is None:
            make_password(password)  # as long as a real check takes, so that timing tells nothing (A18)
            return None
        return user if user.check_password(password) and self.may_enter(user) else None

    def get_user(self, user_id: Any) -> User | None:
        """Who has a session on this host; on a tenant's with their standing, which their Actor is made of."""
        if scope.current_binding().tenant is not None:
            return selectors.member_of(user_id)
        return User.objects.filter(pk=user_id, is_active=True).first()

    def may_enter(self, user: User) -> bool:
        """Whether an active user belongs on this host."""
        if not user.is_active:
            return False
        return scope.current_binding().tenant is None or user.memberships.exists()
