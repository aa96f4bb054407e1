"""The one way to a session, whatever proved who it is: a password, another identity provider, a link.

`advance` is called with a person whose first proof is good. Whoever has a second factor is sent to show it, and what
was proven so far waits in the session; everybody else has their session at once.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.hashers import make_password

from accounts import audit, second_factor
from accounts.models import User
from core import clock
from core.errors import PaasError
from tenants import ratelimit, scope

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


def person_with_password(*, email: str, password: str) -> User:
    """The active person with this address and password, whichever tenants they are in.

    Raises invalid_credentials or rate_limited; as slow for an address that nobody has (A18).
    """
    address = email.strip().lower()
    ratelimit.check(ratelimit.Limit(f"sign-in:{address}", 20, 300.0), fail_closed=True)
    with scope.platform():
        user = User.objects.filter(email=address).first()
        if user is None:
            make_password(password)
        elif user.check_password(password) and user.is_active:
            return user
    audit.record("session.refused", actor=audit.NOBODY, email=address[:254])
    raise PaasError("invalid_credentials")
