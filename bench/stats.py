"""What the stand-in vendor was asked and what it gave."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT_RECORDS = 100_000
KEPT_BODIES = 100
ASKED_CHARACTERS = 80


@dataclass(slots=True)
class Record:
    """One chat request. `state`: open, done, cancelled (the client left), cut, error, refused.

    `tokens` is what was emitted: for a streamed answer what was handed to the socket; `bytes` of text are those
    tokens'. `asked` is the last user message, at most ASKED_CHARACTERS of it. `began` and `ended` are
    `time.monotonic()`, the machine's own.
    """

    id: str
    model: str
    stream: bool
    request_id: str
    tokens: int = 0
    state: str = "open"
    asked: str = ""
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    def end(self, state: str) -> None:
        """Nothing more is emitted; the first word about why stands."""
        if self.state == "open":
            self.state, self.ended = state, time.monotonic()


@dataclass(slots=True)
class Stats:
    """What the vendor was asked and what it gave. `bodies` are the last requests as sent, oldest first."""

    requests: int = 0
    connections: int = 0
    records: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_BODIES))
    attempts: Counter[str] = field(default_factory=Counter)

    def opened(self, record: Record, body: dict[str, Any]) -> None:
        """Count a request."""
        self.requests += 1
        self.records.append(record)
        self.bodies.append(body)

    def document(self) -> dict[str, Any]:
        """The counters as JSON values: totals over the kept records, and each record."""
        states = Counter(record.state for record in self.records)
        return {
            "requests": self.requests,
            "open_connections": self.connections,
            "open_streams": sum(record.state == "open" and record.stream for record in self.records),
            "cancelled": states["cancelled"],
            "states": dict(states),
            "tokens": sum(record.tokens for record in self.records),
            "answers": [asdict(record) for record in self.records],
        }

    def reset(self) -> None:
        """Forget everything but the open connections. Answers under way go on, uncounted."""
        self.requests = 0
        self.records.clear()
        self.bodies.clear()
        self.attempts.clear()
