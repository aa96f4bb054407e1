"""Conversation, Message, Run and its log (tenant schema).

Users and keys live in shared tables; they are named here by id only, so that no foreign key reaches out of
the tenant's schema (a constraint would answer questions about rows that row-level security hides, P11).
"""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from agents.models import Agent, AgentVersion
from core import clock
from core.ids import uuid7


class Conversation(models.Model):
    """One person's thread with one agent.

    config: what every turn of it is asked with unless the turn says otherwise; meta: the client's own words about it.
    Both are set over the Phase 1 API only, where a conversation is a session.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    title = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)
    deleted_at = models.DateTimeField(null=True)
    pinned_at = models.DateTimeField(null=True)
    # No foreign key: conversation and message would each have to be there before the other.
    leaf_id = models.UUIDField(null=True, help_text="The last message of the path that is shown; null: not linked.")
    config = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    meta = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    tainted = models.BooleanField(
        default=False, db_default=False, help_text="One of its runs has read something from outside."
    )

    class Meta:
        indexes = [
            models.Index(
                fields=["user_id", "-updated_at", "-id"],
                condition=models.Q(deleted_at=None),
                name="conversation_recent",
            ),
            models.Index(
                fields=["user_id", "-pinned_at"],
                condition=models.Q(pinned_at__isnull=False),
                name="conversation_pinned",
            ),
        ]

    def __str__(self) -> str:
        return self.title


# Not `status__in`: PostgreSQL would write that condition otherwise for a clone of the table than for the table itself.
ACTIVE_ROWS = models.Q(status="queued") | models.Q(status="running")
UNFINISHED_ROWS = ACTIVE_ROWS | models.Q(status="waiting")


class Run(models.Model):
    """One answer being made, or made. Its lease and its tokens are the shared `usage.Reservation`."""

    class Status(models.TextChoices):
        QUEUED = "queued"  # waits for a place (chat/queue.py), or for a worker
        RUNNING = "running"
        WAITING = "waiting"  # for a person's approval: no process has it (chat/approvals.py)
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, null=True, related_name="runs")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="+")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    door = models.CharField(max_length=12, help_text="websocket, sse, openai, phase1 or import")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    background = models.BooleanField(default=False, db_default=False, help_text="A worker's, and nobody waits for it.")
    input = models.JSONField(null=True, help_text="The messages of a call that has no conversation.")
    finish_reason = models.CharField(max_length=12, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    usage = models.JSONField(null=True)
    last_seq = models.IntegerField(default=0, help_text="Of the stored log; the live one may be ahead.")
    asked_id = models.UUIDField(null=True, help_text="The message that is answered.")
    message_id = models.UUIDField(null=True, help_text="The answer that it wrote; while it runs: that it continues.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    finished_at = models.DateTimeField(null=True)
    first_ms = models.IntegerField(
        null=True, help_text="Milliseconds from the turn's start to its first token; null: none, or not seen."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=models.Q(conversation__isnull=False) & UNFINISHED_ROWS,
                name="one_run_a_conversation",
            )
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="run_recent"),
            models.Index(fields=["status"], condition=ACTIVE_ROWS, name="run_unfinished"),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def unfinished(self) -> bool:
        """Whether its end is still to come."""
        return self.status in UNFINISHED


UNFINISHED = (Run.Status.QUEUED, Run.Status.RUNNING, Run.Status.WAITING)


class RunTask(models.Model):
    """What a run that has not begun yet, or waits for a person, is to do, so that another process can do it; gone once
    it begins, or goes on.

    task: `agents.runtime.spec.Turn` as JSON, see chat/tasks.py.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, primary_key=True, related_name="task")
    task = models.JSONField()

    def __str__(self) -> str:
        return f"task of {self.run_id}"


def _count_of_steps(kind: str) -> models.GeneratedField:
    """How many steps of this kind a trace has: counted in its text, because JSON may hold what jsonb cannot (NUL)."""
    step = models.Value(f'"index":\\d+,"kind":"{kind}"')
    counted = models.Func(models.F("document"), step, function="regexp_count", output_field=models.IntegerField())
    return models.GeneratedField(expression=counted, output_field=models.IntegerField(), db_persist=True)


class RunTrace(models.Model):
    """The steps of a run that called tools, as far as it has come: agents.runtime.trace.Trace.document as JSON text.

    tainted: something that it read came from outside, so what it says is not to be trusted with acting. tools, members:
    how many of its steps are calls of tools, and members of a team; for people, as an argument that looks like a step
    counts as one.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, primary_key=True, related_name="trace")
    tainted = models.BooleanField(default=False)
    document = models.TextField()
    tools = _count_of_steps("tool")
    members = _count_of_steps("agent")

    def __str__(self) -> str:
        return f"trace of {self.run_id}"


class Approval(models.Model):
    """A call of a tool that waits for a person, or waited.

    user_id, key_id: whose run it is. call_id, path: as the run's events name the call. arguments: JSON text, as they
    will be sent. arguments_hash: agents.tools.gate.hash_of; who decides names it. reason: agents.tools.gate.Reason.
    decided_by: a person's id.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        EXPIRED = "expired"  # nobody decided in time, or the run has ended before

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    call_id = models.TextField()
    path = models.TextField(blank=True)
    name = models.CharField(max_length=64)
    effect = models.CharField(max_length=6)
    arguments = models.TextField()
    arguments_hash = models.CharField(max_length=64)
    reason = models.CharField(max_length=10)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.PENDING)
    decided_by = models.UUIDField(null=True)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    decided_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["status", "-id"], name="approval_status"),
            models.Index(fields=["user_id", "-id"], name="approval_own"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of run {self.run_id}: {self.status}"


class LetIn(models.Model):
    """When a caller who had to wait was last let in (`run_queue`). caller_id: a person's or an API key's id."""

    caller_id = models.UUIDField(primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.caller_id} at {self.at}"


class IdempotencyKey(models.Model):
    """A key under which a caller began a turn: whoever sends it again gets that turn and begins none.

    caller_id: a person's or an API key's id. digest: SHA-256 of the parsed request. started: what the first answer said
    (chat/idempotency.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    caller_id = models.UUIDField()
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    started = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller_id", "key"], name="idempotency_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_old")]

    def __str__(self) -> str:
        return self.key


class Message(models.Model):
    """What somebody said, as a node of the conversation's tree: messages with one parent are siblings.

    meta: of an imported message {"id", "tokens_used", "meta"} as it was there (paas/phase1_import.py).
    """

    class Status(models.TextChoices):
        COMPLETE = "complete"
        STOPPED = "stopped"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    # Without constraint and index: added in no time to a table of any size, and only ever followed upwards.
    parent_id = models.UUIDField(null=True, help_text="The message that it follows; null: a beginning.")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=10)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.COMPLETE)
    superseded = models.BooleanField(default=False, help_text="Of before there were siblings: replaced by a retry.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    meta = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))

    class Meta:
        indexes = [models.Index(fields=["conversation", "-id"], name="message_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:40]}"


class MessageWords(models.Model):
    """The words of a message, for search (`words_of_message` in migrations/0017_search.sql); made when its owner first
    searches. run_id: the message's, when they were made: an answer that is continued gets another one.
    """

    message = models.OneToOneField(Message, on_delete=models.CASCADE, primary_key=True, related_name="words")
    run_id = models.UUIDField()
    words = SearchVectorField()

    class Meta:
        indexes = [GinIndex(fields=["words"], name="message_search")]

    def __str__(self) -> str:
        return f"words of {self.message_id}"


class ConversationFile(models.Model):
    """A file that somebody put into a conversation (chat/files.py). key: where the tenant's storage has it (P17)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, help_text="One of core.documents.kinds.KINDS.")
    size = models.BigIntegerField(help_text="In bytes.")
    key = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["conversation", "id"], name="file_order")]

    def __str__(self) -> str:
        return self.name


class Feedback(models.Model):
    """What whoever got an answer thought of it: one a person (or key) and message.

    author_id: a person's or an API key's id. version: of the agent, when it was said; an answer that is continued
    later may be another version's then.
    """

    class Rating(models.TextChoices):
        UP = "up"
        DOWN = "down"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="feedback")
    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="+")
    author_id = models.UUIDField()
    by_key = models.BooleanField(default=False)
    rating = models.CharField(max_length=4, choices=Rating.choices)
    comment = models.TextField(blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "author_id"], name="feedback_once")]
        indexes = [models.Index(fields=["version", "-id"], name="feedback_of_version")]

    def __str__(self) -> str:
        return f"{self.rating} on {self.message_id}"


class RunSegment(models.Model):
    """A stretch of a run's log: events first_seq..last_seq, one checkpoint's worth.

    events: the UTF-8 JSON of a list of [type, data], the first of which has number first_seq. Bytes, not
    jsonb, because what was sent to clients must come back to the byte.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="segments")
    first_seq = models.IntegerField()
    last_seq = models.IntegerField()
    events = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "first_seq"], name="segment_once")]
        ordering = ["first_seq"]

    def __str__(self) -> str:
        return f"{self.run_id} {self.first_seq}..{self.last_seq}"


class Response(models.Model):
    """What /v1/responses keeps beside a run: what was asked, and the context that it was answered from.

    Clients know it by its run. items holds the whole context, earlier answers included, so that deleting an earlier
    response takes nothing from a later one, and going on needs one row however long the chain is. Text and not
    jsonb, because what was sent to clients must come back to the byte.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="response")
    previous_id = models.UUIDField(null=True, help_text="The response that this one goes on from; it may be deleted.")
    stored = models.BooleanField(default=True, help_text="False: nobody finds it, and it goes when its run ends.")
    request = models.TextField(help_text="JSON: the fields of the request that the answer repeats.")
    items = models.TextField(help_text="JSON: a list of items. Those of this request, the last ones, have no id.")

    def __str__(self) -> str:
        return f"response {self.run_id}"


class Schedule(models.Model):
    """A question that is asked again and again in somebody's name: by an interval, or by a cron expression."""

    class Mode(models.TextChoices):
        NEW = "new"  # each run is a conversation of its own
        ONE = "one"  # all runs go on in one conversation

    class Stopped(models.TextChoices):
        """Why it is not enabled any more, if no person paused it."""

        OWNER_GONE = "owner_gone"
        OWNER_MAY_NOT = "owner_may_not"
        FAILURES = "failures"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.UUIDField()
    name = models.CharField(max_length=120)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    prompt = models.TextField()
    cron = models.CharField(max_length=100, blank=True, help_text="Five fields; empty: by the interval.")
    every_seconds = models.IntegerField(null=True)
    timezone = models.CharField(max_length=64, default="UTC")
    mode = models.CharField(max_length=3, choices=Mode.choices, default=Mode.NEW)
    conversation = models.ForeignKey(Conversation, on_delete=models.SET_NULL, null=True, related_name="+")
    enabled = models.BooleanField(default=True)
    stopped = models.CharField(max_length=20, choices=Stopped.choices, blank=True)
    failures = models.IntegerField(default=0, help_text="In a row.")
    max_failures = models.IntegerField(default=5)
    next_run_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_run_at"], condition=models.Q(enabled=True), name="schedule_due"),
            models.Index(fields=["user_id", "-id"], name="schedule_own"),
        ]

    def __str__(self) -> str:
        return self.name


class ScheduledRun(models.Model):
    """One due time of a schedule. Its id is also its run's, so that it can start one run only (A71)."""

    class Outcome(models.TextChoices):
        DUE = "due"  # not started yet
        STARTED = "started"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"
        REFUSED = "refused"  # by a quota, or because its conversation was being answered

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs")
    due_at = models.DateTimeField()
    by_hand = models.BooleanField(default=False)
    taken_at = models.DateTimeField(null=True, help_text="When a worker last set about starting it.")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.DUE)
    code = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    conversation_id = models.UUIDField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["schedule", "due_at"], name="due_once")]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(ended_at=None), name="scheduled_run_open"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at}"
