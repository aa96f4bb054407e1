"""Conversation, Message, Run and its log (tenant schema).

Users and keys live in shared tables; they are named here by id only, so that no foreign key reaches out of
the tenant's schema (a constraint would answer questions about rows that row-level security hides, P11).
"""

from __future__ import annotations

from django.db import models

from agents.models import Agent, AgentVersion
from core.ids import uuid7


class Conversation(models.Model):
    """One person's thread with one agent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    title = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["user_id", "-updated_at", "-id"],
                condition=models.Q(deleted_at=None),
                name="conversation_recent",
            )
        ]

    def __str__(self) -> str:
        return self.title


# Not `status__in`: PostgreSQL would write that condition otherwise for a clone of the table than for the table itself.
UNFINISHED_ROWS = models.Q(status="queued") | models.Q(status="running")


class Run(models.Model):
    """One answer being made, or made. Its lease and its tokens are the shared `usage.Reservation`."""

    class Status(models.TextChoices):
        QUEUED = "queued"  # waits for a place (chat/queue.py), or for a worker
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, null=True, related_name="runs")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="+")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    door = models.CharField(max_length=12, help_text="websocket, sse or openai")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    background = models.BooleanField(default=False, db_default=False, help_text="A worker's, and nobody waits for it.")
    input = models.JSONField(null=True, help_text="The messages of a call that has no conversation.")
    finish_reason = models.CharField(max_length=12, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    usage = models.JSONField(null=True)
    last_seq = models.IntegerField(default=0, help_text="Of the stored log; the live one may be ahead.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

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
            models.Index(fields=["status"], condition=UNFINISHED_ROWS, name="run_unfinished"),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def unfinished(self) -> bool:
        """Whether its end is still to come."""
        return self.status in UNFINISHED


UNFINISHED = (Run.Status.QUEUED, Run.Status.RUNNING)


class RunTask(models.Model):
    """What a run that has not begun yet is to do, so that another process can do it; gone once it begins.

    task: `agents.runtime.spec.Turn` as JSON, see chat/tasks.py.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, primary_key=True, related_name="task")
    task = models.JSONField()

    def __str__(self) -> str:
        return f"task of {self.run_id}"


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
    """What somebody said. Ids are UUIDv7, so their order is the conversation's."""

    class Status(models.TextChoices):
        COMPLETE = "complete"
        STOPPED = "stopped"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=10)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.COMPLETE)
    superseded = models.BooleanField(default=False, help_text="Replaced by a retry; kept, not shown.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["conversation", "-id"], name="message_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:40]}"


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
