"""The second factor of a person: whether there is one, and whether a code is theirs."""

from __future__ import annotations

from accounts.models import User
from tenants import scope


def is_enrolled(user: User) -> bool:
    """Whether this person has set up a second factor, and so must show it at each sign-in."""
    from allauth.mfa.models import Authenticator

    with scope.platform():
        kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
        return bool(Authenticator.objects.filter(user_id=user.pk, type__in=kinds).exists())
