"""How much is begun at once in a process, and whose turn is next when there is more: requests of Django's and turns.

Threads and tasks share one processor's worth of Python: the more of them work, the longer each takes, until clients
have given up on answers that are still being made. So a few work, the others wait, tenants take turns, and who would
wait for too long is told at once to come again (T15, T16). A tenant that asks for more than it is given works at one
thing at a time while others are there, and lets them go first; one that asks on although its rate is used up rests in
between. A turn has its place until it is begun: the more of them run, the longer that takes, and the fewer begin.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakSet

from django.conf import settings

from core.errors import PaasError

AT_ONCE = 6
SHARE = 3  # of them for one tenant: somebody else's request always finds a place soon
IN_A_CROWD = 1  # of them for a tenant whose requests queue, while others are there: each thread slows those of others
PASSED_OVER = 0.1  # s at most for which such a tenant begins nothing because others, who ask for little, are at work
STANDING = 0.6  # of the patience is left to those who join a queue that has stood for as long: it only makes them wait
OVER_FOR = 2.0  # s that a tenant counts as one that asks on, after its rate has refused it something
# Times as long as a request takes, such a tenant begins nothing after one: it works for a twenty-fifth of the time, and
# so fewer than one in twenty of others' requests meet one of its own, which is what their p95 shows.
RESTS = 24.0
LONGEST_REST = 1.0  # s
THERE_FOR = 5.0  # s that a tenant is there after it asked for something
ON_THE_WAY = 0.25  # s for which who was let through in front is expected here: most need 20 ms; a bad key never comes
LONGEST_WAIT = 12  # times the patience: nobody waits for longer, in no crowd
# Of the patience, for the turns of programs, which begin more quickly than a page is made; those of people, who would
# only ask again, wait for as long as anybody may.
PROGRAM, PERSON = 0.4, LONGEST_WAIT
# Who takes longer waits for something else (a provider, a mail server, a slow statement) and does not count any more.
PLACE_SECONDS = 0.5
RETRY_AFTER = 1

Whose = uuid.UUID | None  # a tenant, or the platform
Waiting = asyncio.Future[None]  # a request; done when its turn has come


class Busy(PaasError):
    """too_many_connections: whoever asks is to come again."""

    def __init__(self) -> None:
        super().__init__("too_many_connections", "The server is busy. Try again in a moment.", retry_after=RETRY_AFTER)


class Queue(deque[Waiting]):
    """A tenant's requests that wait, since when there have been any."""

    def __init__(self, since: float) -> None:
        super().__init__()
        self.since = since


class Gate:
    """Places in which to work, and who waits for one.

    patience (s): who would have to wait for longer is refused, once a queue has stood for as long: it is a crowd then,
    and not a moment.
    """

    def __init__(self, patience: float, *, at_once: int = AT_ONCE, share: int = SHARE) -> None:
        self.patience = patience
        self._at_once, self._share = at_once, share
        self._working: Counter[Whose] = Counter()
        self._queues: dict[Whose, Queue] = {}  # in the order in which tenants have their turns
        self._takes = 0.0  # s that a place is kept for, as of late
        self._asked: OrderedDict[Whose, float] = OrderedDict()  # when each tenant last did, the latest at the end
        self._began: dict[Whose, float] = {}  # when each of those last had a place
        self._over: dict[Whose, float] = {}  # when each last asked for more than its rate, or went on to (_refuses)
        self._rests: dict[Whose, float] = {}  # until when each rests
        self._coming: dict[Whose, deque[float]] = {}  # let through in front to a queue, and not here yet: since when
        self._turned: Counter[Whose] = Counter()  # refused by a tenant's queue since it last had a place
        _gates.add(self)

    @asynccontextmanager
    async def place(self, whose: Whose, *, times: float = 1.0) -> AsyncIterator[None]:
        """A place to work in, for at most PLACE_SECONDS: who takes longer does not count any more.

        times: how many times the gate's patience whoever asks has. Raises Busy.
        """
        self.notice(whose)
        await self._come_in(whose, times * self.patience)
        loop, left = asyncio.get_running_loop(), False
        began = loop.time()

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._takes += (loop.time() - began - self._takes) / 16
                self._leave(whose)

        timer = loop.call_later(PLACE_SECONDS, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    def load(self) -> tuple[int, int]:
        """(places that are taken, those who wait for one). May be asked in any thread."""
        return sum(list(self._working.values())), sum(len(queue) for queue in list(self._queues.values()))

    def turns_away(self, whose: Whose, times: float) -> bool:
        """Asked once for each request, in front: whether it is refused. One that is not is on its way to the queue from
        then on, and those behind wait for it too. What is done for a request before it asks for a place would be lost
        if the queue were too long by then."""
        if (queue := self._queues.get(whose)) is None:
            return False
        coming = self._on_the_way(whose)
        if self._refuses(whose, queue, times * self.patience, len(coming)):
            return True
        coming.append(asyncio.get_running_loop().time())
        return False

    @property
    def crowded(self) -> bool:
        """Whether anybody waits."""
        return bool(self._queues)

    def notice(self, whose: Whose) -> None:
        """Somebody of a tenant's is there, also for something that needs no place."""
        now = asyncio.get_running_loop().time()
        self._asked[whose] = now
        self._asked.move_to_end(whose)
        while now - self._asked[oldest := next(iter(self._asked))] > THERE_FOR:
            del self._asked[oldest]
            for known in (self._began, self._over, self._rests, self._coming, self._turned):
                known.pop(oldest, None)

    def refused(self, whose: Whose, *, known: bool = True) -> None:
        """A rate has refused something in front of this gate; known: to somebody of the tenant's, and not to whoever
        asks at its host. Who come to the platform's have nothing to do with each other, and operators are among them.
        """
        self._arrived(whose)
        if known and whose is not None:
            self._over[whose] = asyncio.get_running_loop().time()

    async def _come_in(self, whose: Whose, patience: float) -> None:
        """Wait for a place and take it. Raises Busy."""
        self._arrived(whose)
        queue = self._queues.get(whose)
        if queue is None and self._free(whose):
            self._take(whose)
            return
        loop = asyncio.get_running_loop()
        if queue is None:
            queue = self._queues[whose] = Queue(loop.time())
        if self._refuses(whose, queue, patience):
            raise Busy
        turn: Waiting = loop.create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(LONGEST_WAIT * self.patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave(whose)  # the turn came at the very moment
            else:
                self._drop(whose, turn)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def _on_the_way(self, whose: Whose) -> deque[float]:
        """Those who were let through in front a moment ago and have not arrived."""
        coming, now = self._coming.setdefault(whose, deque()), asyncio.get_running_loop().time()
        while coming and now - coming[0] > ON_THE_WAY:
            coming.popleft()
        return coming

    def _arrived(self, whose: Whose) -> None:
        if whose in self._coming and (coming := self._on_the_way(whose)):
            coming.popleft()

    def _refuses(self, whose: Whose, queue: Queue, patience: float, coming: int = 0) -> bool:
        """Whether a request is refused that would join a queue behind those who are coming.

        A tenant that asks on does so for as long as more is refused to it than it could have had without rests, and no
        longer: its rate lets something through again while it rests, which it would otherwise take all at once.
        """
        if not self._too_long(whose, queue, patience, coming):
            return False
        self._turned[whose] += 1
        if self._turned[whose] > RESTS and self._is_over(whose):
            self._over[whose] = asyncio.get_running_loop().time()
        return True

    def _too_long(self, whose: Whose, queue: Queue, patience: float, coming: int = 0) -> bool:
        """Whether who joins this queue behind those who are coming would wait for too long."""
        wait = (len(queue) + coming) * (self._takes + self._rest_of(whose)) / self._share_of(whose)
        stood = asyncio.get_running_loop().time() - queue.since
        if stood > self.patience:
            patience *= STANDING
        return wait > LONGEST_WAIT * self.patience or min(wait, stood) > patience

    def _free(self, whose: Whose) -> bool:
        if self._working.total() >= self._at_once or self._working[whose] >= self._share_of(whose):
            return False
        if asyncio.get_running_loop().time() < self._rests.get(whose, 0.0):
            return False
        if not self._in_a_crowd(whose) or all(other == whose or other in self._queues for other in self._working):
            return True
        return asyncio.get_running_loop().time() - self._began.get(whose, 0.0) > PASSED_OVER

    def _take(self, whose: Whose) -> None:
        self._working[whose] += 1
        self._began[whose] = asyncio.get_running_loop().time()
        self._turned.pop(whose, None)

    def _share_of(self, whose: Whose) -> int:
        """Places that a tenant may have now."""
        return IN_A_CROWD if self._in_a_crowd(whose) else self._share

    def _in_a_crowd(self, whose: Whose) -> bool:
        """Whether a tenant asks for more than it is given while others are there."""
        return (whose in self._queues or self._is_over(whose)) and len(self._asked) > (whose in self._asked)

    def _rest_of(self, whose: Whose) -> float:
        """s for which a tenant begins nothing after each request."""
        return min(RESTS * self._takes, LONGEST_REST) if self._is_over(whose) and self._in_a_crowd(whose) else 0.0

    def _is_over(self, whose: Whose) -> bool:
        """Whether a tenant asks on although its rate is used up."""
        return asyncio.get_running_loop().time() - self._over.get(whose, -OVER_FOR) < OVER_FOR

    def _drop(self, whose: Whose, turn: Waiting) -> None:
        queue = self._queues.get(whose)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[whose]

    def _leave(self, whose: Whose) -> None:
        self._working[whose] -= 1
        if not self._working[whose]:
            del self._working[whose]
        if rest := self._rest_of(whose):
            loop = asyncio.get_running_loop()
            self._rests[whose] = loop.time() + rest
            loop.call_later(rest, self._rested, whose)
        self._let_in()

    def _rested(self, whose: Whose) -> None:
        self._rests.pop(whose, None)
        self._let_in()

    def _let_in(self) -> None:
        """Give what places there are to those who wait: one tenant after the other, and again."""
        while any(self._free(whose) and self._next(whose) for whose in list(self._queues)):
            pass

    def _next(self, whose: Whose) -> bool:
        """Give a place to who has waited longest in a tenant's queue; false if there was nobody."""
        queue, found = self._queues.pop(whose), False
        while queue and not found:
            turn = queue.popleft()
            if found := not turn.done():  # who has just given up is passed over
                self._take(whose)
                turn.set_result(None)
        if queue:
            self._queues[whose] = queue  # behind the others
        return found


_gates: WeakSet[Gate] = WeakSet()
of_process = Gate(settings.REQUEST_PATIENCE_MS / 1000)
"""The one that everything in a web process passes: a tenant's share is of all that it asks for."""


def load() -> tuple[int, int]:
    """(requests and turns that are begun, those that wait) in this process."""
    loads = [gate.load() for gate in list(_gates)]
    return sum(working for working, _ in loads), sum(waiting for _, waiting in loads)
