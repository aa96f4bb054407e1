"""Cache keys and Redis keys that carry the bound tenant (P16)."""

from __future__ import annotations

from typing import Any

from tenants import scope


def make_key(key: Any, key_prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION: `t:<tenant>:cache:<version>:<key>` or `platform:cache:...`. Raises unbound."""
    return f"{scope.current_binding().key_prefix}:cache:{version}:{key}"


def tenant_key(tenant: scope.TenantRef, *parts: object) -> str:
    """A Redis key of `tenant`: `t:<tenant>:<parts joined by colons>`."""
    return ":".join([f"t:{tenant.id.hex}", *map(str, parts)])
