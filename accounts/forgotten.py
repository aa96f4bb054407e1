"""Forgotten passwords: a link by mail that works once, for an hour, on the host where it was asked for.

Whoever asks gets one answer, in one time, whether there is such a person or not: looking them up and writing to them
is a job (A18). A new password ends everything that is open, and signs nobody in: that goes through the door, with
the second factor of who has one (A16).
"""

from __future__ import annotations

import json
import uuid

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts import audit, codes, identities, mail, sessions
from accounts.models import User
from accounts.profile import password_store
from core import crypto
from core.errors import PaasError
from tenants import client, jobs, ratelimit, resolve, scope
from tenants.models import Tenant
from tenants.ratelimit import Limit

PURPOSE = "password"
SECONDS = 3600
JOB = "accounts.password_reset"
PER_NETWORK, PER_MAILBOX = (20, 3600.0), (3, 3600.0)


def password_reset_request(*, email: str, language: str) -> None:
    """Send a link to the person with this address, if there is one on this host. Raises rate_limited,
    redis_unavailable (the limits fail closed)."""
    address, tenant = email.strip().lower(), scope.current_binding().tenant
    with scope.platform():
        ratelimit.check(
            Limit(f"forgotten:{client.network_of(client.current().address)}", *PER_NETWORK),
            Limit(f"forgotten-mail:{codes.digest(address).hex()}", *PER_MAILBOX),
            fail_closed=True,
        )
    asked = {"email": address, "language": language, "tenant": str(tenant.id) if tenant else ""}
    jobs.enqueue_platform(JOB, sealed=crypto.wrap(settings.FIELD_KEYS, json.dumps(asked)))


@jobs.platform_job(JOB, retries=8)
async def send(sealed: str) -> None:
    """Write to who asked, if they are somebody."""
    asked = json.loads(crypto.unwrap(settings.FIELD_KEYS, sealed))
    await scope.run_bound(_send, asked["email"], asked["language"], asked["tenant"])


def _send(email: str, language: str, tenant_id: str) -> None:
    user = User.objects.filter(email=email, is_active=True).first()
    tenant = Tenant.objects.filter(pk=uuid.UUID(tenant_id), status="active").first() if tenant_id else None
    if user is None or (tenant_id and not (tenant and user.memberships.filter(tenant=tenant).exists())):
        return
    way = f"{resolve.tenant_url(tenant.slug)}/login" if tenant else f"{resolve.platform_url()}/accounts"
    with transaction.atomic():
        codes.revoke(PURPOSE, user)
        code = codes.issue(PURPOSE, seconds=SECONDS, user=user, tenant_id=tenant.id if tenant else None)
        where = mail.plain_name(tenant.name, tenant.slug) if tenant else "Agent PaaS"
        spoken = user.language or language
        mail.send("password_reset", to=email, language=spoken, name=where, url=f"{way}/reset/{code}/")


def person_of_link(code: str) -> User:
    """Whose password this link sets on this host. Raises link_invalid (A15: of another host, used, too old)."""
    found = codes.peek(PURPOSE, code)
    tenant = scope.current_binding().tenant
    user = found.user
    if user is None or not user.is_active or found.tenant_id != (tenant.id if tenant else None):
        raise PaasError("link_invalid")
    return user


def password_reset(*, code: str, new: str) -> User:
    """Set the password and end every session and token. Raises link_invalid, ValidationError for the password."""
    user = person_of_link(code)
    validate_password(new, user)
    user.set_password(new)  # slow: before anything is locked
    with transaction.atomic():
        codes.redeem(PURPOSE, code)
        claimed = identities.mailbox_proven(user)
        password_store(user)
        sessions.end_everything(user.pk)
        audit.record("password.reset", actor=f"user:{user.pk}", disconnected=claimed)
        mail.send("password_changed", to=user.email, language=user.language)
    return user
