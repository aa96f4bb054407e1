"""Which addresses tenants may have us call, as the operator set it."""

from __future__ import annotations

import ipaddress
from functools import cache

from django.conf import settings
from django.utils.translation import gettext
from yarl import URL

from core.egress import EgressPolicy, check_url
from core.errors import ERRORS, PaasError


def egress_policy() -> EgressPolicy:
    """What tenants' addresses may be, from Django's settings, both lists and both optional.

    EGRESS_ALLOW names private hosts and networks that tenants may use (core.egress.EgressPolicy.parse says
    how), EGRESS_DENY public networks that they may not; our own hosts they may not either (A59). Raises ValueError
    for an entry that cannot be read.
    """
    allowed, denied = getattr(settings, "EGRESS_ALLOW", ()), getattr(settings, "EGRESS_DENY", ())
    return _policy(tuple(allowed), tuple(denied), settings.BASE_DOMAIN)


def is_allow_listed(url: URL) -> bool:
    """Whether the operator allows the URL's host by its name or number, so that it need not be public, nor use TLS."""
    host, policy = url.raw_host or "", egress_policy()
    if policy.allows_host(host, url.port):
        return True
    try:
        return policy.allows_address(ipaddress.ip_address(host), url.port)
    except ValueError:
        return False


def address_problem(url: str) -> str | None:
    """Why an address that a tenant has set may not be called, as a sentence for people; None: it may."""
    try:
        check_url(url, egress_policy())
    except PaasError as error:
        general = ERRORS[error.code].message
        # Its own words are English; in another language those of its code say it.
        return error.message if gettext(general) == general else gettext(general)
    return None


@cache
def _policy(allowed: tuple[str, ...], denied: tuple[str, ...], own: str) -> EgressPolicy:
    return EgressPolicy.parse(allowed, denied, [own])
