"""Which addresses tenants may have us call, as the operator set it."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from core.egress import EgressPolicy


def egress_policy() -> EgressPolicy:
    """What tenants' addresses may be, from Django's settings, both lists and both optional.

    EGRESS_ALLOW names private hosts and networks that tenants may use (core.egress.EgressPolicy.parse says
    how), EGRESS_DENY public networks that they may not. Raises ValueError for an entry that cannot be read.
    """
    return _policy(tuple(getattr(settings, "EGRESS_ALLOW", ())), tuple(getattr(settings, "EGRESS_DENY", ())))


@cache
def _policy(allowed: tuple[str, ...], denied: tuple[str, ...]) -> EgressPolicy:
    return EgressPolicy.parse(allowed, denied)
