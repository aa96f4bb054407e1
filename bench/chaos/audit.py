"""Compares three accounts of the same calls: what the vendor sent, what clients saw, what the platform wrote down.

Calls are told apart by what is in them: each answer's tokens carry the tag that its client asked under, and no two
answers share one. So a run's log names its call by itself, and a piece of somebody else's answer is seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.answers import tagged_text
from bench.chaos.books import Books, Run
from bench.chaos.clients import TERMINAL, Seen
from bench.stats import Record

UNDER_TOKENS = 64
UNDER_SECONDS = 1.0
STOP_SECONDS = 5.0  # that an answer may go on after its OpenAI client has left, with faults about
STATUS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


@dataclass(slots=True)
class Call:
    """What the vendor sent under one tag; more than one attempt when the platform asked again."""

    tag: str
    attempts: list[Record] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """All that was emitted."""
        return sum(record.tokens for record in self.attempts)

    @property
    def longest(self) -> int:
        """Of one attempt."""
        return max(record.tokens for record in self.attempts)

    @property
    def whole(self) -> bool:
        """Whether some attempt was sent to its end."""
        return any(record.state == "done" for record in self.attempts)

    def allowance(self, blind: Iterable[tuple[float, float]]) -> int:
        """Tokens that may be unbilled when the call was cut short: 64 or what came in 1 s, and what the vendor went
        on to send into the void while the process was stopped."""
        rate = max((_rate(record) for record in self.attempts), default=0.0)
        unheard = sum(
            max(0.0, min(end, record.ended or end) - max(start, record.began))
            for start, end in blind
            for record in self.attempts
        )
        return int(max(UNDER_TOKENS, rate * UNDER_SECONDS) + rate * unheard) + 1


def _rate(record: Record) -> float:
    """Tokens a second: a paced model's by its name, another's as it went."""
    gap = int(record.model.split("-")[2]) if record.model.startswith("tagged-") else 0
    return 1000 / gap if gap else record.tokens / max(record.ended - record.began, 0.001)


@dataclass(slots=True)
class Findings:
    """The audit's result: counts for the report, and every violation as a sentence."""

    counts: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def wrong(self, sentence: str) -> None:
        """Note a violation."""
        self.violations.append(sentence)


def audit(
    seen: Sequence[Seen], records: Iterable[Record], books: Books, blind: Sequence[tuple[float, float]]
) -> Findings:
    """Compare. Nothing may run any more, and the vendor's connections must be closed."""
    findings = Findings()
    calls = calls_of(records)
    named = {run.id: tag_of(run) for run in books.runs.values()}
    _nothing_is_left(books, findings)
    for run in books.runs.values():
        _log_is_whole(run, findings)
        _text_is_the_vendors(run, calls.get(named[run.id]), findings)
    for one in seen:
        _saw_the_log(one, books.runs.get(one.run_id), findings)
        if one.kind == "openai":
            _stopped_when_left(one, calls.get(one.tag), findings)
    under = _money(books, calls, named, blind, findings)
    findings.counts |= {
        "answers asked for": len(seen),
        "runs": len(books.runs),
        "ends": _count(run.status for run in books.runs.values()),
        "answers cut short": sum(not one.whole for one in calls.values()),
        "tokens sent by the vendor": sum(call.tokens for call in calls.values()),
        "tokens billed": sum(record["output_tokens"] for run in books.runs.values() for record in run.records),
        "largest under-count of a call": max(under, default=0),
        "comings back": sum(len(one.resumes) for one in seen),
    }
    return findings


def calls_of(records: Iterable[Record]) -> dict[str, Call]:
    """The vendor's records by tag. Those that it refused sent nothing."""
    calls: dict[str, Call] = {}
    for record in records:
        calls.setdefault(record.asked, Call(record.asked)).attempts.append(record)
    return calls


def tag_of(run: Run) -> str:
    """The tag in a run's text, "" where it has none."""
    deltas = run.deltas
    return deltas[0].partition(".")[0] if deltas else ""


def _count(values: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for value in values:
        found[value] += 1
    return dict(found)


def _nothing_is_left(books: Books, findings: Findings) -> None:
    for name, count in books.left.items():
        findings.wrong(f"{name}: {count} when nothing runs")
    for problem in books.chain:
        findings.wrong(f"ledger: {problem}")
    billed = sum(
        record["input_tokens"] + record["output_tokens"] for run in books.runs.values() for record in run.records
    )
    for level, used in books.used.items():
        if used != billed:
            findings.wrong(f"the {level}'s counter says {used} tokens, its ledger {billed}")


def _log_is_whole(run: Run, findings: Findings) -> None:
    if run.status == "no run":
        findings.wrong(f"an entry is for run {run.id}, which does not exist")
        return
    at = 1
    for first, last in run.first_seqs:
        if first != at:
            findings.wrong(f"run {run.id}: its stored log goes on with {first} where {at} is due")
        at = last + 1
    if at - 1 != len(run.events):
        findings.wrong(f"run {run.id}: {len(run.events)} events under {at - 1} numbers")
    ends = [kind for kind, _ in run.events if kind in TERMINAL]
    if len(ends) != 1 or run.events[-1][0] not in TERMINAL:
        findings.wrong(f"run {run.id} ({run.status}): its log has the ends {ends}")
    elif STATUS[ends[0]] != run.status:
        findings.wrong(f"run {run.id}: its log ends with {ends[0]}, its row says {run.status}")


def _text_is_the_vendors(run: Run, call: Call | None, findings: Findings) -> None:
    """The log's text is, byte for byte, a beginning of what the vendor sent; all of it, if the run completed."""
    got = "".join(run.deltas)
    if not got:
        return
    if call is None:
        findings.wrong(f"run {run.id}: no call of the vendor's has the text {got[:40]!r}")
        return
    sent = "".join(tagged_text(call.tag, call.longest))
    if not sent.startswith(got):
        findings.wrong(f"run {run.id}: {len(got)} bytes that are not the vendor's: {_where(got, sent)}")
    elif run.status == "completed" and got != sent:
        findings.wrong(f"run {run.id}: completed with {len(got)} bytes of {len(sent)}")
    messages = [data["content"] for kind, data in run.events if kind == "message.completed"]
    if messages != [got]:
        findings.wrong(f"run {run.id}: its message is not its text")


def _where(got: str, sent: str) -> str:
    at = next((index for index, pair in enumerate(zip(got, sent, strict=False)) if pair[0] != pair[1]), len(sent))
    return f"at byte {at}: {got[max(0, at - 10) : at + 15]!r}"


def _saw_the_log(one: Seen, run: Run | None, findings: Findings) -> None:
    """What a client was shown is the log, from its first event, without gap or double."""
    name = f"{one.kind} client of {one.tag}"
    for problem in one.wrong:
        findings.wrong(f"{name}: {problem}")
    if not one.run_id:
        return
    if run is None:
        findings.wrong(f"{name}: its run {one.run_id} is not in the books")
        return
    if one.kind == "openai":
        text, whole = "".join(one.text), "".join(run.deltas)
        if not whole.startswith(text) or (one.ended and not one.refused and text != whole):
            findings.wrong(f"{name}: was shown {len(text)} bytes, the log has {len(whole)}: {_where(text, whole)}")
        return
    numbers = [number for number, _, _ in one.events]
    if numbers != list(range(1, len(numbers) + 1)):
        odd = next(index for index, number in enumerate(numbers) if number != index + 1)
        findings.wrong(f"{name}: event {numbers[odd]} where {odd + 1} is due")
    elif [(kind, data) for _, kind, data in one.events] != run.events[: len(numbers)]:
        findings.wrong(f"{name}: was shown events that the log has otherwise")
    elif one.ended and len(numbers) != len(run.events):
        findings.wrong(f"{name}: its end is event {len(numbers)}, the log's is {len(run.events)}")


def _stopped_when_left(one: Seen, call: Call | None, findings: Findings) -> None:
    if not one.left_at or call is None:
        return
    for record in call.attempts:
        if record.state == "done" and record.ended > one.left_at + STOP_SECONDS:
            findings.wrong(
                f"{one.tag}: the vendor sent for {record.ended - one.left_at:.1f} s after its client had left"
            )


def _money(
    books: Books,
    calls: dict[str, Call],
    named: dict[str, str],
    blind: Sequence[tuple[float, float]],
    findings: Findings,
) -> list[int]:
    """Every call is billed once: as reported when it was whole, as counted when not. Returns the under-counts."""
    runs_of: dict[str, list[Run]] = defaultdict(list)
    for run in books.runs.values():
        runs_of[named[run.id]].append(run)
        _entry_fits_the_log(run, findings)
    under = []
    for tag, call in calls.items():
        runs = runs_of.get(tag, [])
        if len(runs) > 1:
            findings.wrong(f"{tag}: {len(runs)} runs have its text")
        billed = sum(record["output_tokens"] for run in runs for record in run.records)
        # One more may have been reported than was heard of by the log; never more than was sent.
        if billed > call.longest:
            findings.wrong(f"{tag}: billed {billed} tokens, the vendor sent {call.longest}")
        if call.tokens - billed > call.allowance(blind):
            findings.wrong(f"{tag}: billed {billed} tokens of {call.tokens}; {call.allowance(blind)} may be lost")
        under.append(call.tokens - billed)
    return under


def _entry_fits_the_log(run: Run, findings: Findings) -> None:
    name, deltas = f"run {run.id} ({run.status})", len(run.deltas)
    if len(run.records) > 1:
        findings.wrong(f"{name}: {len(run.records)} entries in the ledger")
    elif not run.records and (deltas or run.status == "completed"):
        findings.wrong(f"{name}: {deltas} tokens were shown and none billed")
    for record in run.records:
        if record["output_tokens"] != deltas:
            findings.wrong(f"{name}: {record['output_tokens']} tokens billed, {deltas} shown")
        if run.status == "completed" and record["counted"]:
            findings.wrong(f"{name}: completed, and its entry does not follow the vendor's report")
