"""The one way to a session, whatever proved who it is: a password, another identity provider, a link.

`person_with_password` is the one place where a password is tried. `advance` is called with a person whose first proof
is good. Whoever has a second factor is sent to show it, and what was proven so far waits in the session; everybody
else has their session at once.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.contrib.auth import login

from accounts import audit, proof, second_factor, throttle
from accounts.backends import EmailBackend
from accounts.models import User
from core import clock
from core.errors import PaasError
from tenants import scope

PENDING = "second_factor"  # in the session: {user, method, following, until}
PENDING_SECONDS = 600
SHOWN = "second_factor_shown"  # in the session: its person showed a second factor on this host
MAX_PASSWORD = 1024  # characters
LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,1999}\Z")


def local_path(text: str | None, default: str) -> str:
    """`text` when it is a path of the very host that is asked, otherwise `default` (A19: no way off the site)."""
    return text if text and LOCAL_PATH.match(text) else default


def person_with_password(*, email: str, password: str, device: str = "") -> User:
    """The active person with this password who may enter the bound host; on the platform host, anybody.

    device: the browser's `throttle.DEVICE_COOKIE`, if it has one. Raises invalid_credentials (in the same time whether
    there is such a person or not, A18), rate_limited with the time to wait, redis_unavailable. Tries are counted before
    anything is hashed. A refusal leaves an audit row; a success leaves one when the session begins.
    """
    address = email.strip().lower()
    if not (_is_sound(address, 254) and _is_sound(password, MAX_PASSWORD)):
        raise _refused(address, PaasError("invalid_credentials"))
    try:
        admitted = throttle.admit(address, device)
        user = EmailBackend().authenticate(None, username=address, password=password)
    except PaasError as error:
        raise _refused(address, error) from None
    if user is None:
        raise _refused(address, PaasError("invalid_credentials"))
    throttle.succeeded(admitted)
    return user


def _is_sound(text: str, longest: int) -> bool:
    """Whether it can be a credential at all: such texts are not hashed, whoever they are for."""
    return 0 < len(text) <= longest and "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _refused(address: str, error: PaasError) -> PaasError:
    shown = "".join(char for char in address[:254] if char.isprintable())
    if shown and error.code != "redis_unavailable":
        audit.record("session.refused", actor=audit.NOBODY, email=shown, reason=error.code)
    return error


def advance(request: Any, user: User, *, method: str, following: str) -> str:
    """Where the person goes next: to show the second factor, or to `following` with a session.

    method: what proved who it is (`password`, `oidc:<name>`, `handover`), for the audit log. following: a path of
    this host, already checked.
    """
    request.session.pop(PENDING, None)
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


def session_begin(request: Any, user: User, *, method: str, second_factor: bool = False) -> None:
    """Sign the person in on this host, under a new session key, with an audit row.

    second_factor: they have shown one. Called while their first proof still waits in the session, they have: nothing
    else ends that wait.
    """
    waited = request.session.pop(PENDING, None)
    shown = second_factor or (waited is not None and waited["user"] == str(user.pk))
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.pop(SHOWN, None)
    proof.noted(request)
    if shown:
        request.session[SHOWN] = True
    audit.record("session.created", actor=f"user:{user.pk}", method=method)
