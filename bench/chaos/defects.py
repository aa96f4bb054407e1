"""Defects that are put in on purpose: whoever would not notice them has looked at nothing.

Some are Python, run in the web processes before they serve; others are triggers in the database, which do what a wrong
statement would. Each names the words that the audit's sentence about it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.chaos.clients import KINDS

PRELUDE = "import django; django.setup()\nfrom bench.chaos import defects\ndefects.in_web({name!r})"


@dataclass(frozen=True, slots=True)
class Defect:
    """`web` is run in the web processes, `sql` in the tenant's schema, `tamper` when all is over and sealed.

    `found_by`: words of the violation that must be reported. kinds, agents, leave: what clients do (Habits).
    """

    found_by: str
    web: Callable[[], None] | None = None
    sql: str = ""
    tamper: str = ""
    kinds: tuple[str, ...] = KINDS
    agents: tuple[str, ...] = ("quick", "paced")
    leave: float = 0.004
    patience: float = 4.0  # s until what is not settled is not waited for any more


def _event_dropped() -> None:
    """The 7th event of each run is not shown over SSE."""
    _shown_otherwise(lambda first, events: [(first + n, e) for n, e in enumerate(events) if first + n != 7])


def _event_doubled() -> None:
    """The 7th event of each run is shown twice over SSE."""
    _shown_otherwise(
        lambda first, events: [(first + n, e) for n, e in enumerate(events) for _ in range(2 if first + n == 7 else 1)]
    )


def _text_changed() -> None:
    """The 7th event of each run is shown with other text than is logged."""

    def change(first: int, events: list[tuple[str, dict[str, str]]]) -> list[tuple[int, tuple[str, dict[str, str]]]]:
        return [
            (first + n, (kind, data | {"text": "?"}) if first + n == 7 and "text" in data else (kind, data))
            for n, (kind, data) in enumerate(events)
        ]

    _shown_otherwise(change)


def _shown_otherwise(change: Callable[..., list[tuple[int, tuple[str, dict[str, str]]]]]) -> None:
    from chat import protocol

    real = protocol.sse_batch

    def batch(run_id: object, found: tuple[int, list[tuple[str, dict[str, str]]]]) -> bytes:
        return b"".join(real(run_id, (number, [event])) for number, event in change(*found))  # type: ignore[arg-type]

    protocol.sse_batch = batch  # type: ignore[assignment]


def _delta_lost() -> None:
    """Of each batch of the vendor's with more than one piece, the last is lost before it is logged."""
    from agents.runtime.spec import Transcript

    real = Transcript.absorb

    def absorb(self: Transcript, batch: list[object], emit: object) -> None:
        real(self, batch[:-1] if len(batch) > 1 else batch, emit)  # type: ignore[arg-type]

    Transcript.absorb = absorb  # type: ignore[method-assign,assignment]


def _stop_ignored() -> None:
    """An OpenAI client that leaves leaves its run going."""
    from chat.host import LiveRun

    real = LiveRun.stop
    LiveRun.stop = lambda self, code: None if code == "cancelled" else real(self, code)  # type: ignore[method-assign]


def _trigger(table: str, body: str, when: str = "BEFORE INSERT") -> str:
    return (
        f"CREATE FUNCTION public.chaos_defect() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        f"$$ BEGIN {body} END $$; "
        f"CREATE TRIGGER chaos_defect {when} ON {table} FOR EACH ROW EXECUTE FUNCTION public.chaos_defect()"
    )


_RECORD = "public.usage_usagerecord"
_TWICE = (
    "IF pg_trigger_depth() = 1 THEN NEW.id := gen_random_uuid(); NEW.call := NEW.call + 1; "
    f"INSERT INTO {_RECORD} SELECT NEW.*; END IF; RETURN NULL;"
)
_LEAK = (
    "IF NEW.state <> 'held' AND OLD.state = 'held' THEN UPDATE public.usage_quota SET reserved = reserved + 1 "
    "WHERE tenant_id = NEW.tenant_id AND level = 'tenant'; END IF; RETURN NULL;"
)

_UNBILLED = "RETURN CASE WHEN NEW.output_tokens % 2 = 0 THEN NULL ELSE NEW END;"
_LOST = "RETURN CASE WHEN NEW.first_seq BETWEEN 2 AND 100 THEN NULL ELSE NEW END;"
_TAMPERED = (
    f"SET session_replication_role = replica; UPDATE {_RECORD} SET input_tokens = input_tokens + 1 "
    "WHERE id = (SELECT record_id FROM public.usage_seal LIMIT 1); SET session_replication_role = origin"
)
_SSE = ("sse",)

DEFECTS: dict[str, Defect] = {
    "nothing": Defect(""),
    "an event is not shown": Defect("event 8 where 7 is due", web=_event_dropped, kinds=_SSE),
    "an event is shown twice": Defect("event 7 where 8 is due", web=_event_doubled, kinds=_SSE),
    "another text is shown than is logged": Defect("that the log has otherwise", web=_text_changed, kinds=_SSE),
    "a piece of the answer is lost": Defect("that are not the vendor's", web=_delta_lost, agents=("burst",)),
    "a run outlives its client": Defect(
        "after its client had left", web=_stop_ignored, kinds=("openai",), agents=("long",), leave=0.1, patience=30
    ),
    "a call is billed twice": Defect("2 entries in the ledger", sql=_trigger(_RECORD, _TWICE, "AFTER INSERT")),
    "a call is not billed": Defect("none billed", sql=_trigger(_RECORD, _UNBILLED)),
    "a token too many is billed": Defect(
        "the vendor sent", sql=_trigger(_RECORD, "NEW.output_tokens := NEW.output_tokens + 1; RETURN NEW;")
    ),
    "a reservation leaks": Defect("reserved: ", sql=_trigger("public.usage_reservation", _LEAK, "AFTER UPDATE")),
    "a stretch of the log is lost": Defect("its stored log goes on with", sql=_trigger("chat_runsegment", _LOST)),
    "a run is not ended": Defect(
        "running: ", sql=_trigger("chat_run", "NEW.status := 'running'; RETURN NEW;", "BEFORE UPDATE")
    ),
    "an entry of the ledger is changed": Defect("ledger: ", tamper=_TAMPERED),
}
"""By what is wrong. With nothing wrong, nothing may be found."""

MEND = "DROP FUNCTION IF EXISTS public.chaos_defect() CASCADE"


def in_web(name: str) -> None:
    """Called in a web process: put the defect in."""
    web = DEFECTS[name].web
    assert web is not None
    web()
