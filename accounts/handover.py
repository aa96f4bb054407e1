"""From the platform host to a tenant's: a code that works once, for one person, one tenant and one browser.

The tenant's host gives the browser a secret and sends it to the platform with the secret's digest; the platform puts
the digest into the code; the tenant's host takes the code from the browser with the secret only. So a code that leaked
is worth nothing, and nobody can sign somebody else's browser in as themselves (P38).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

from django.conf import settings

from accounts import codes, selectors
from accounts.models import User
from accounts.sign_in import SHOWN, advance, local_path, session_begin
from core.errors import PaasError
from tenants import resolve, scope
from tenants.models import Tenant

PURPOSE = "handover"
CODE_SECONDS = 60
SECRET_SECONDS = 900  # for who must sign in on the platform first
STATE = re.compile(r"[0-9a-f]{64}\Z")


def cookie_name() -> str:
    """The secret's cookie; where sessions are `__Host-` cookies, this is one too (no sibling host can plant it)."""
    return settings.SESSION_COOKIE_NAME.replace("sessionid", "handover")


def secret_new() -> tuple[str, str]:
    """A browser's secret, and its digest, which the platform may see."""
    secret = secrets.token_urlsafe(32)
    return secret, state_of(secret)


def state_of(secret: str) -> str:
    """The digest of a browser's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def handover_create(*, request: Any, user: User, slug: str, state: str, following: str) -> tuple[Tenant, str]:
    """The tenant and a code for its host, for the person who is signed in on the platform host with this request.

    Bound to the platform. Raises link_invalid (no state), not_found (no tenant of this person's), and what
    resolve.admitted raises.
    """
    if not STATE.match(state):
        raise PaasError("link_invalid")
    tenant = Tenant.objects.filter(slug=slug, memberships__user=user).first()
    if tenant is None:
        raise PaasError("not_found")
    resolve.admitted(tenant.ref())
    code = codes.issue(
        PURPOSE,
        seconds=CODE_SECONDS,
        user=user,
        tenant_id=tenant.id,
        state=state,
        following=following,
        second_factor=bool(request.session.get(SHOWN)),
    )
    return tenant, code


def handover_accept(*, request: Any, code: str, secret: str, default: str) -> tuple[User, str]:
    """Begin the session that the code promises, or send to the second factor if none was shown on the platform.

    Returns the person, and the path to go to. Bound to the tenant. Raises link_invalid: unknown, used, too old, of
    another tenant, of another browser, or of somebody who is no member any more (A15).
    """
    found = codes.peek(PURPOSE, code)
    mine = found.tenant_id == scope.current_tenant().id
    if not (mine and secrets.compare_digest(state_of(secret), found.data["state"])):
        raise PaasError("link_invalid")
    user = codes.redeem(PURPOSE, code).user
    if user is None or selectors.actor_of_user(user.pk) is None:
        raise PaasError("link_invalid")
    following = local_path(found.data["following"], default)
    if found.data["second_factor"]:
        session_begin(request, user, method="handover", second_factor=True)
        return user, following
    return user, advance(request, user, method="handover", following=following)
