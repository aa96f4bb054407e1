"""The one way to a session, whatever proved who it is: a password, another identity provider, a link.

`advance` is called with a person whose first proof is good. Whoever has a second factor is sent to show it, and what
was proven so far waits in the session; everybody else has their session at once.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import login

from accounts import audit, second_factor
from accounts.models import User
from core import clock
from tenants import scope

PENDING = "second_factor"  # in the session: {user, method, following, until}
PENDING_SECONDS = 600


def advance(request: Any, user: User, *, method: str, following: str) -> str:
    """Where the person goes next: to show the second factor, or to `following` with a session.

    method: what proved who it is (`password`, `oidc:<name>`, `handover`), for the audit log. following: a path of
    this host, already checked.
    """
    if not second_factor.is_enrolled(user):
        session_begin(request, user, method=method)
        return following
    request.session[PENDING] = {
        "user": str(user.pk),
        "method": method,
        "following": following,
        "until": clock.now().timestamp() + PENDING_SECONDS,
    }
    return "/login/code/" if scope.current_binding().tenant else "/accounts/login/code/"


def session_begin(request: Any, user: User, *, method: str) -> None:
    """Sign the person in on this host, under a new session key, with an audit row."""
    request.session.pop(PENDING, None)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    audit.record("session.created", actor=f"user:{user.pk}", method=method)
