"""Cache keys and Redis keys that carry the bound tenant (P16), and the cache's connections."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from django.utils.functional import cached_property

from tenants import scope


class ProcessRedisCache(RedisCache):
    """Django's cache with one pool of connections a process.

    Django keeps a cache object, and with it a pool, for every thread, and a request has a thread of its own: each
    request that looked at its session opened a connection to Redis for it.
    """

    _servers: list[str]
    _options: dict[str, Any]

    @cached_property
    def _cache(self) -> RedisCacheClient:
        return _client(tuple(self._servers), tuple(sorted(self._options.items())))


class _Client(RedisCacheClient):
    """Keeps its client: Django makes one for each command, which takes longer than to send it (0.3 ms of processor)."""

    @cached_property
    def _made(self) -> Any:
        return super().get_client(write=True)

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return self._made


@cache
def _client(servers: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> RedisCacheClient:
    return _Client(list(servers), **dict(options))


def make_key(key: Any, key_prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION: `t:<tenant>:cache:<version>:<key>` or `platform:cache:...`. Raises unbound."""
    return f"{scope.current_binding().key_prefix}:cache:{version}:{key}"


def tenant_key(tenant: scope.TenantRef, *parts: object) -> str:
    """A Redis key of `tenant`: `t:<tenant>:<parts joined by colons>`."""
    return ":".join([f"t:{tenant.id.hex}", *map(str, parts)])
