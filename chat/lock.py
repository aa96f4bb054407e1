"""One run at a time in a conversation: the lock in Redis, in front of the one in PostgreSQL (P46).

PostgreSQL decides: `start_turn` locks the conversation's row, a unique index lets one unfinished run be, and whatever a
run writes is checked against its reservation's fence, which rises with every takeover. So the lock here may be lost
(FLUSHALL), run out under a process that was stopped, or be unreachable, and nothing is written twice or by the wrong
one. What it is for: a second turn in a busy conversation is refused by any process with one command to Redis, before
the tenant's rows in PostgreSQL are queued for (docs/adr/0011).

A lock is kept only with the database's consent: it is renewed by a heartbeat that PostgreSQL has answered, with the
fence that it confirmed, and deleted by the command that lets the end of a run out, which PostgreSQL has committed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from tenants.cache import tenant_key
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 15.0  # a lock's life: after Redis was away, older locks may tell of runs that have ended

# A value is "<run> <fence>". What belongs to another run is left alone.
RENEW_LUA = """
for i, key in ipairs(KEYS) do
    local run, fence, ms = ARGV[2 * i - 1], ARGV[2 * i], ARGV[#ARGV]
    local now = redis.call('GET', key)
    if not now or string.sub(now, 1, #run) == run then redis.call('SET', key, run .. ' ' .. fence, 'PX', ms) end
end
return #KEYS
"""
RELEASE_LUA = """
local now = redis.call('GET', KEYS[1])
if now and string.sub(now, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def lock_key(tenant: TenantRef, caller_id: uuid.UUID | None, conversation_id: uuid.UUID) -> str:
    """The lock's name. The caller is part of it: nobody learns from a lock what others have (A28)."""
    return tenant_key(tenant, "turn", f"{caller_id.hex if caller_id else ''}:{conversation_id.hex}")


class Locks:
    """This process's hold on conversations."""

    def __init__(self, client: Any, seconds: int) -> None:
        self._client = client
        self._ms = seconds * 1000
        self._renew = client.register_script(RENEW_LUA)
        self._release = client.register_script(RELEASE_LUA)
        self._not_before = 0.0

    def distrust(self) -> None:
        """Redis is away, or has been: leave it alone until every lock of before has run out."""
        self._not_before = time.monotonic() + PAUSE_SECONDS

    async def take(self, key: str, run_id: uuid.UUID) -> bool:
        """Whether the conversation is free, as far as Redis knows; it is the run's then. True when Redis is away."""
        if time.monotonic() < self._not_before:
            return True
        try:
            # The first fence of every reservation is 1 (usage_reserve).
            return bool(await self._client.set(key, f"{run_id} 1", px=self._ms, nx=True))
        except RedisError:
            self.distrust()
            return True

    async def renew(self, held: Sequence[tuple[str, uuid.UUID, int]]) -> None:
        """Keep these (name, run, fence), which PostgreSQL has just confirmed, for longer; make anew what is lost."""
        if not held:
            return
        args = [text for _, run_id, fence in held for text in (str(run_id), fence)]
        try:
            await self._renew(keys=[key for key, _, _ in held], args=[*args, self._ms])
        except RedisError:
            self.distrust()

    async def release(self, key: str, run_id: uuid.UUID) -> None:
        """Give the conversation free, if it is this run's."""
        try:
            await self._release(keys=[key], args=[str(run_id)])
        except RedisError:
            self.distrust()
