"""Sessions, messages and logs of a Phase 1 file as conversations, messages and runs. Bound to the tenant.

A person's message and what answers it are a run. A log of the same session and task is that run's, so that it has the
outcome and the time it took; a log of its own becomes a run without a conversation's messages. Nothing of it is in the
ledger: what was used elsewhere is not billed here.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.core.exceptions import ValidationError

from agents import registry
from agents.builtin_specs import builtin_row
from agents.models import Agent, AgentVersion
from chat.models import Conversation, Message, Run
from chat.turns import title_of
from core import clock
from paas.phase1_file import BadRow, Phase1File, Row
from paas.phase1_report import IMPORTED, PRESENT, Report

DOOR = "import"
ROLES = ("user", "assistant", "system")
SUCCESS = frozenset({"success", "completed", "ok", "done"})
BATCH = 1000
OWN_RUNS = uuid.UUID("6f2f52a0-7d3f-5b0c-9a3c-2f1f0f4a8b61")
PLACEHOLDER = "Keeps conversations that were imported from Phase 1. Make an agent with this slug to go on with them."


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose the imported conversations are: a person or an API key."""

    user_id: uuid.UUID | None = None
    key_id: uuid.UUID | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """As conversations and runs store it."""
        return {"user_id": self.user_id, "key_id": self.key_id}


@dataclass
class Pending:
    """Rows that wait to be written together, in the order in which they point to one another."""

    runs: list[Run] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    logs: set[uuid.UUID] = field(default_factory=set)  # of the runs, those that a log was for

    def write(self, report: Report) -> None:
        """Write what is not there yet; an earlier import's rows are found by their ids."""
        here = set(Run.objects.filter(id__in=[one.id for one in self.runs]).values_list("id", flat=True))
        Run.objects.bulk_create([one for one in self.runs if one.id not in here])
        report.add("agent_logs", IMPORTED, len(self.logs - here))
        report.add("agent_logs", PRESENT, len(self.logs & here))
        here = set(Message.objects.filter(id__in=[one.id for one in self.messages]).values_list("id", flat=True))
        fresh = [one for one in self.messages if one.id not in here]
        Message.objects.bulk_create(fresh)
        report.add("messages", IMPORTED, len(fresh))
        report.add("messages", PRESENT, len(self.messages) - len(fresh))
        self.runs, self.messages, self.logs = [], [], set()


class Talk:
    """One import of a file's conversations."""

    def __init__(self, file: Phase1File, source: str | None, owner: Owner, report: Report) -> None:
        self._file = file
        self._source = source
        self._owner = owner
        self._report = report
        self._agents: dict[str, Agent | str] = {}
        self._sessions: dict[uuid.UUID, Conversation] = {}
        self._logs: dict[tuple[uuid.UUID, bytes], deque[dict[str, Any]]] = defaultdict(deque)
        self._pending = Pending()

    def run(self) -> None:
        """Import all of it. Raises phase1_report.Stopped."""
        self._import_sessions()
        self._read_logs()
        self._import_messages()
        self._import_other_logs()

    # --- sessions -------------------------------------------------------------------------------
    def _import_sessions(self) -> None:
        self._report.begin("sessions", self._file.count("sessions", self._source))
        batch: list[Conversation] = []
        for row in self._report.read(self._file.rows("sessions", self._source), "sessions"):
            try:
                made = self._conversation(row)
            except BadRow as bad:
                self._report.refuse(row, str(bad))
                continue
            self._sessions[made.id] = made
            batch.append(made)
            if len(batch) >= BATCH:
                self._write_sessions(batch)
                batch = []
        self._write_sessions(batch)

    def _write_sessions(self, batch: list[Conversation]) -> None:
        here = set(Conversation.objects.filter(id__in=[one.id for one in batch]).values_list("id", flat=True))
        fresh = [one for one in batch if one.id not in here]
        Conversation.objects.bulk_create(fresh)
        self._report.add("sessions", IMPORTED, len(fresh))
        self._report.add("sessions", PRESENT, len(batch) - len(fresh))

    def _conversation(self, row: Row) -> Conversation:
        session_id = row.id_of()
        if session_id in self._sessions:
            raise BadRow("this id is in the file twice")
        agent = self._agent(row.text("agent_type", most=60))
        return Conversation(
            id=session_id,
            agent=agent,
            title=agent.name,
            created_at=row.moment("created_at"),
            updated_at=row.optional_moment("updated_at") or row.moment("created_at"),
            config=row.json("config", dict),
            meta=row.json("meta", dict),
            **self._owner.columns,
        )

    def _agent(self, slug: str) -> Agent:
        """The agent with this slug, or one that only keeps what is imported. Raises BadRow."""
        if slug not in self._agents:
            try:
                self._agents[slug] = _agent_row(slug)
            except ValidationError:
                self._agents[slug] = f"no agent can be called {slug!r}: small letters, digits, and inner . _ or -"
        found = self._agents[slug]
        if isinstance(found, str):
            raise BadRow(found)
        return found

    # --- messages -------------------------------------------------------------------------------
    def _import_messages(self) -> None:
        self._report.begin("messages", self._file.count("messages", self._source))
        rows = self._report.read(self._file.rows("messages", self._source, "session_id", "created_at"), "messages")
        seen: set[uuid.UUID] = set()
        titles: list[Conversation] = []
        for _, group in groupby(rows, key=lambda row: row.columns.get("session_id")):
            self._import_session_messages(group, seen, titles)
            if len(self._pending.messages) >= BATCH:
                self._pending.write(self._report)
        self._pending.write(self._report)
        Conversation.objects.bulk_update(titles, ["title"], batch_size=BATCH)

    def _import_session_messages(self, rows: Any, seen: set[uuid.UUID], titles: list[Conversation]) -> None:
        """The messages of one session, oldest first."""
        run: Run | None = None
        last = 0
        for row in rows:
            try:
                session = self._sessions.get(row.id_of("session_id"))
                if session is None:
                    raise BadRow("its session was not imported")
                original, said_at, role = row.id_of(), row.moment("created_at"), row.one_of("role", ROLES)
                content, tokens, meta = (
                    row.text("content", empty=True),
                    row.count("tokens_used"),
                    row.json("meta", dict),
                )
                if original in seen:
                    raise BadRow("this id is in the file twice")
            except BadRow as bad:
                self._report.refuse(row, str(bad))
                continue
            seen.add(original)
            if run is None or role == "user":
                first = run is None
                run = self._run_of(session, original, content, said_at)
                self._pending.runs.append(run)
                if first and role == "user" and session.title == session.agent.name:
                    session.title = title_of(content) or session.title
                    titles.append(session)
            assert run.usage is not None
            run.usage["output_tokens"] += tokens
            run.finished_at = max(run.finished_at or said_at, said_at)
            last = max(last + 1, _microseconds(said_at))
            kept = {"id": str(original), "tokens_used": tokens} | ({"meta": meta} if meta else {})
            self._pending.messages.append(
                Message(
                    id=ordered_id(last, original), conversation=session, run=run, role=role, content=content,
                    created_at=said_at, meta=kept,
                )
            )  # fmt: skip

    def _run_of(self, session: Conversation, message_id: uuid.UUID, task: str, at: datetime) -> Run:
        waiting = self._logs.get((session.id, _digest(task)))
        log = waiting.popleft() if waiting else None
        if log:
            self._pending.logs.add(log["id"])
        run = self._run(log["id"] if log else uuid.uuid5(OWN_RUNS, str(message_id)), session.agent, at, log)
        run.conversation = session
        return run

    def _run(self, run_id: uuid.UUID, agent: Agent, at: datetime, log: dict[str, Any] | None) -> Run:
        failed = log is not None and log["error"] is not None
        version = agent.current or agent.versions.first()
        assert version is not None
        return Run(
            id=run_id,
            agent=agent,
            version=version,
            door=DOOR,
            status=Run.Status.FAILED if failed else Run.Status.COMPLETED,
            finish_reason="error" if failed else "stop",
            error_code="agent_failed" if failed else "",
            error_message=(log["error"] if log and failed else "") or "",
            usage=_usage(),
            created_at=at,
            finished_at=at + timedelta(milliseconds=log["milliseconds"]) if log else at,
            **self._owner.columns,
        )

    # --- logs -----------------------------------------------------------------------------------
    def _read_logs(self) -> None:
        """Check the logs and keep those of sessions until their message comes."""
        self._report.begin("agent_logs", self._file.count("agent_logs", self._source))
        seen: set[uuid.UUID] = set()
        others: list[tuple[dict[str, Any], Agent, str]] = []
        for row in self._report.read(self._file.rows("agent_logs", self._source, "created_at"), "agent_logs"):
            try:
                log, task = self._log(row), row.text("task", empty=True)
                agent, session = self._agent(row.text("agent_type", most=60)), row.optional_id_of("session_id")
                if log["id"] in seen:
                    raise BadRow("this id is in the file twice")
                if session is not None and session not in self._sessions:
                    raise BadRow("its session was not imported")
            except BadRow as bad:
                self._report.refuse(row, str(bad))
                continue
            seen.add(log["id"])
            if session is None:
                others.append((log, agent, task))
                if len(others) >= BATCH:
                    self._write_logs(others)
                    others = []
            else:
                self._logs[session, _digest(task)].append(log | {"agent": agent, "task": task, "session": session})
        self._write_logs(others)

    @staticmethod
    def _log(row: Row) -> dict[str, Any]:
        status, error = row.text("status", most=40).lower(), row.optional_text("error_message")
        failed = status not in SUCCESS
        return {
            "id": row.id_of(),
            "at": row.moment("created_at"),
            "milliseconds": min(row.count("execution_time_ms"), 10**10),
            "error": (error or f"It ended as {status!r}.") if failed else None,
        }

    def _write_logs(self, logs: list[tuple[dict[str, Any], Agent, str]]) -> None:
        runs = []
        for log, agent, task in logs:
            run = self._run(log["id"], agent, log["at"], log)
            run.input = [{"role": "user", "content": task}]
            runs.append(run)
        here = set(Run.objects.filter(id__in=[run.id for run in runs]).values_list("id", flat=True))
        Run.objects.bulk_create([run for run in runs if run.id not in here])
        self._report.add("agent_logs", IMPORTED, len(runs) - len(here))
        self._report.add("agent_logs", PRESENT, len(here))

    def _import_other_logs(self) -> None:
        """Logs of sessions that no message took stand by themselves; the others came with their message's run."""
        left = [log for waiting in self._logs.values() for log in waiting]
        self._write_logs([(log, log["agent"], log["task"]) for log in left])


def _agent_row(slug: str) -> Agent:
    built = registry.builtin(slug)
    found = (builtin_row(built) if built else None) or Agent.objects.select_related("current").filter(slug=slug).first()
    if found is not None and (found.current is not None or found.versions.exists()):
        return found
    found = found or Agent(slug=slug, name=slug, description=PLACEHOLDER, archived_at=clock.now())
    found.full_clean(exclude=["current"])
    found.save()
    AgentVersion.objects.create(agent=found, number=1, model="", created_by=DOOR)
    return found


def ordered_id(microseconds: int, original: uuid.UUID) -> uuid.UUID:
    """A UUIDv7 of that moment, the same each time: messages are read in the order of their ids.

    Between the milliseconds of RFC 9562 §5.7 and the rest, twelve bits of the millisecond's fraction (§6.2, method 3).
    """
    milliseconds, fraction = divmod(max(microseconds, 0), 1000)
    rest = int.from_bytes(hashlib.sha256(original.bytes).digest()[:8], "big") >> 2
    high = (milliseconds << 16) | 0x7000 | (fraction * 4096 // 1000)
    return uuid.UUID(int=(high << 64) | (0b10 << 62) | rest)


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _digest(task: str) -> bytes:
    return hashlib.sha256(task.encode()).digest()


def _usage() -> dict[str, Any]:
    return {
        "input_tokens": 0, "output_tokens": 0, "cached_tokens": 0, "reasoning_tokens": 0, "counted": True,
        "cost": None, "currency": "USD",
    }  # fmt: skip
