"""Audit rows: written in the transaction of what they tell about.

A log has one writer at a time, until it commits (the chain has no forks). A transaction that writes to two logs
writes to the tenant's first and to the platform's last, so that two of them never wait for each other.
"""

from __future__ import annotations

import contextlib
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from accounts import acting
from accounts.models import AuditEvent
from core.errors import PaasError
from tenants import client, ratelimit, scope

NOBODY = "anonymous"
# Rows that anybody can cause without a credential: 600 at once in each log, then one every six seconds. What is not
# written is counted, and the next row that is written says how many were left out.
UNKNOWN_CALLERS = ratelimit.Limit("audit:anonymous", rate=600, period=3600)
LEFT_OUT = "audit:left-out"
LEFT_OUT_SECONDS = 30 * 24 * 3600


def record(action: str, *, actor: str, target: str = "", **data: Any) -> None:
    """One audit row for the bound tenant (or the platform). `data` holds JSON values, no secrets.

    actor: `user:<id>`, `key:<id>`, `operator:<id>`, `command:<name>`, `job:<name>`, or NOBODY. While an operator acts
    as somebody the row names the operator too (`data.impersonator`).
    """
    if actor == NOBODY:
        left_out = _admitted()
        if left_out is None:
            return
        data |= {"left_out": left_out} if left_out else {}
    operator = acting.current()
    if operator is not None:
        data |= {"impersonator": str(operator.operator_id), "impersonation": str(operator.id)}
    tenant = scope.current_binding().tenant
    AuditEvent.objects.create(
        tenant_id=tenant.id if tenant else None,
        actor=actor,
        action=action,
        target=target,
        data=data,
        address=client.current().address or None,
    )


def _admitted() -> int | None:
    """How many rows of unknown callers were left out before this one; None when this one is left out too."""
    try:
        ratelimit.check(UNKNOWN_CALLERS)
    except PaasError:
        with contextlib.suppress(RedisError, OSError):  # only the count is lost
            cache.add(LEFT_OUT, 0, LEFT_OUT_SECONDS)
            cache.incr(LEFT_OUT)
        return None
    with contextlib.suppress(RedisError, OSError):
        left_out = int(cache.get(LEFT_OUT) or 0)
        if left_out:
            cache.delete(LEFT_OUT)
        return left_out
    return 0
