"""A stranger becomes the owner of a workspace: asks for it, proves the address, chooses a password.

The page that asks says the same whoever the address belongs to; only the mail differs (A18). A password is chosen
behind the link, never before: otherwise somebody could sign up with another's address and a password of their own, and
wait for the other to click. For the same reason a person we know already confirms signed in.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.db import IntegrityError, transaction

from accounts import audit, mail, tenant_life
from accounts.codes import digest
from accounts.models import SignUp, User
from core import clock
from core.errors import PaasError
from tenants import client, naming, ratelimit, resolve, scope

VALID_FOR = timedelta(hours=24)
KEPT_FOR = timedelta(days=30)
HOUR = 3600.0
PER_ADDRESS, PER_MAILBOX = 10, 3  # requests an hour


def check_open() -> None:
    """Raises sign_up_closed when the operator takes no sign-ups."""
    if not settings.SIGN_UP_OPEN:
        raise PaasError("sign_up_closed")


def sign_up_request(*, email: str, tenant_name: str, slug: str, language: str) -> None:
    """Send a link to `email` that makes the workspace.

    Raises ValidationError for the slug, sign_up_closed, rate_limited, redis_unavailable (the limits fail closed).
    """
    check_open()
    address = email.strip().lower()
    with scope.platform():
        naming.check(slug)
        ratelimit.check(
            ratelimit.Limit(f"sign-up:{client.network_of(client.current().address)}", PER_ADDRESS, HOUR),
            ratelimit.Limit(f"sign-up-mail:{digest(address).hex()}", PER_MAILBOX, HOUR),
            fail_closed=True,
        )
        token = secrets.token_urlsafe(32)
        with transaction.atomic():
            SignUp.objects.create(
                email=address,
                tenant_name=tenant_name,
                slug=slug,
                language=language,
                digest=digest(token),
                expires_at=clock.now() + VALID_FOR,
            )
            # The mail goes to an address that nobody has proven yet: it repeats no free text of who asked for it.
            mail.send(
                "sign_up_known" if is_known(address) else "sign_up",
                to=address,
                language=language,
                slug=slug,
                url=f"{resolve.platform_url()}/signup/{token}/",
            )


def is_known(email: str) -> bool:
    """Whether there is a person with this address. Not for pages that strangers see."""
    with scope.platform():
        return User.objects.filter(email=email).exists()


def sign_up_of(token: str) -> SignUp:
    """The sign-up behind a link, verified or not, with its tenant. Raises link_invalid."""
    with scope.platform():
        found = SignUp.objects.select_related("tenant", "user").filter(digest=digest(token)).first()
    if found is None or (found.expires_at <= clock.now()):
        raise PaasError("link_invalid")
    return found


def sign_up_confirm_new(*, token: str, name: str, password: str, slug: str) -> User:
    """Make the person and ask for the workspace. Raises link_invalid, ValidationError.

    link_invalid also when the address has become somebody's meanwhile: then that person signs in first.
    """
    check_open()
    signup = sign_up_of(token)
    user = User(email=signup.email, name=name, language=signup.language)
    validate_password(password, user)
    user.set_password(password)  # slow: before anything is locked
    try:
        with scope.platform(), transaction.atomic():
            user.save(force_insert=True)
            audit.record("person.created", actor=f"user:{user.id}", target=str(user.id), by="sign-up")
            _confirm(token, user, slug)
    except IntegrityError:
        raise PaasError("link_invalid") from None
    return user


def sign_up_confirm_known(*, token: str, user: User, slug: str) -> None:
    """Ask for the workspace as the person whose address it is. Raises link_invalid, ValidationError."""
    check_open()
    with scope.platform(), transaction.atomic():
        _confirm(token, user, slug)


def _confirm(token: str, user: User, slug: str) -> None:
    """Once for each link: the second of two at once finds it used."""
    found = SignUp.objects.select_for_update(of=("self",)).filter(
        digest=digest(token), verified_at=None, expires_at__gt=clock.now(), email=user.email
    )
    signup = found.first()
    if signup is None:
        raise PaasError("link_invalid")
    tenant = tenant_life.tenant_request(slug=slug, name=signup.tenant_name, owner=user, actor=f"user:{user.id}")
    signup.user, signup.tenant, signup.verified_at, signup.slug = user, tenant, clock.now(), slug
    signup.save(update_fields=["user", "tenant", "verified_at", "slug"])


def purge() -> int:
    """Forget sign-ups that are long over; returns how many. Runs bound to the platform."""
    return SignUp.objects.filter(expires_at__lt=clock.now() - KEPT_FOR).delete()[0]
