"""Circuit breakers: a vendor that is dead costs nobody the wait to find it out again (A45).

One for each (account, model) in the process. FAULTS in a row, none of them older than WINDOW_SECONDS, open it; for
OPEN_SECONDS every call fails at once, then one is let through to see, and the others wait for what it finds.
An account that was changed begins anew. Only faults that say something of the vendor count: not its limits on rates,
not a key that is refused, and not a call that its caller left.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from core import metrics
from core.errors import PaasError
from llm.registry import ProviderRef

log = structlog.get_logger(__name__)

FAULTS = 3
WINDOW_SECONDS = 60.0
OPEN_SECONDS = 30.0
COUNTED = frozenset({"provider_unavailable", "provider_timeout"})
# What only a vendor says that works.
ALIVE = frozenset({
    "provider_auth_failed", "provider_rate_limited", "provider_request_rejected", "context_too_long", "model_not_found",
})  # fmt: skip
_MEMORY = 4096

clock = time.monotonic


@dataclass(slots=True)
class Breaker:
    """The state of one. open_until: 0 while it is closed. probing: somebody is finding out."""

    kind: str = ""  # of the account
    faults: list[float] = field(default_factory=list)
    open_until: float = 0.0
    probing: bool = False

    @property
    def wait(self) -> int:
        """Whole seconds after which it is worth asking again; 0: now."""
        left = self.open_until - clock() if self.open_until else 0.0
        return math.ceil(max(left, 1.0)) if left > 0 or (self.open_until and self.probing) else 0

    def admit(self) -> None:
        """Raises provider_unavailable, with the time after which it is worth asking again, while it is open."""
        if wait := self.wait:
            raise PaasError("provider_unavailable", retry_after=wait)
        self.probing = bool(self.open_until)

    def succeeded(self) -> None:
        """The vendor has begun to answer, or has refused in its right mind."""
        self.faults.clear()
        self.open_until = 0.0

    def failed(self) -> bool:
        """It has not; whether that has opened the breaker."""
        now = clock()
        recent = [at for at in self.faults if now - at < WINDOW_SECONDS]
        self.faults = [*recent[-FAULTS:], now]
        if self.open_until or len(self.faults) >= FAULTS:
            opened = not self.open_until
            self.open_until = now + OPEN_SECONDS
            return opened
        return False


_breakers: OrderedDict[tuple[object, ...], Breaker] = OrderedDict()


def breaker_for(account: ProviderRef, model: str) -> Breaker:
    """The breaker of a model of an account; of 4,096 the one that was longest not asked for makes room."""
    key = (account.id, account.updated_at, model)
    found = _breakers.get(key)
    if found is None:
        found = _breakers[key] = Breaker(account.kind)
        if len(_breakers) > _MEMORY:
            _breakers.popitem(last=False)
    else:
        _breakers.move_to_end(key)
    return found


def open_models() -> list[tuple[str, str]]:
    """(kind of the account, model) of each that is open in this process; one that nobody asks any more is none."""
    soonest = clock() - WINDOW_SECONDS
    return [(one.kind, str(key[-1])) for key, one in list(_breakers.items()) if one.open_until > max(soonest, 0.0)]


def seconds_left_alone(account_id: uuid.UUID, updated_at: datetime, model: str) -> int:
    """For how long this process asks a model of an account no more; 0: it does."""
    found = _breakers.get((account_id, updated_at, model))
    return found.wait if found else 0


def forget() -> None:
    """Close all (tests)."""
    _breakers.clear()


class Call:
    """One call that passes a breaker."""

    __slots__ = ("_breaker", "_settled")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._settled = False

    def begun(self) -> None:
        """The vendor answers; what happens later is another matter."""
        if not self._settled:
            self._settled = True
            self._breaker.succeeded()

    def failed(self, error: PaasError, account: ProviderRef, model: str) -> None:
        """It ended with an error. After it had begun, that says nothing of whether the vendor can be reached."""
        if self._settled:
            return
        if error.code not in COUNTED:
            if error.code in ALIVE:
                self.begun()
            return
        self._settled = True
        if self._breaker.failed():
            log.warning("a vendor is left alone for a while", provider=str(account.id), model=model, error=error.code)


@contextmanager
def guarded(account: ProviderRef, model: str) -> Iterator[Call]:
    """Around a call, which is counted. Raises provider_unavailable at once while the breaker is open."""
    breaker = breaker_for(account, model)
    outcome, probes = "breaker_open", False
    try:
        breaker.admit()
        outcome, probes = "left", breaker.probing
        call = Call(breaker)
        try:
            yield call
            outcome = "done"
        except PaasError as error:
            outcome = error.code
            call.failed(error, account, model)
            raise
    finally:
        metrics.MODEL_CALLS.labels(account.kind, outcome).inc()
        if probes:
            breaker.probing = False
