"""Conversation, Message, Run and its log (tenant schema).

Users and keys live in shared tables; they are named here by id only, so that no foreign key reaches out of
the tenant's schema (a constraint would answer questions about rows that row-level security hides, P11).
"""

from __future__ import annotations

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
    config = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    meta = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))

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


class Run(models.Model):
    """One answer being made, or made. Its lease and its tokens are the shared `usage.Reservation`."""

    class Status(models.TextChoices):
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
    door = models.CharField(max_length=12, help_text="websocket, sse, openai, phase1 or import")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    input = models.JSONField(null=True, help_text="The messages of a call that has no conversation.")
    finish_reason = models.CharField(max_length=12, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    usage = models.JSONField(null=True)
    last_seq = models.IntegerField(default=0, help_text="Of the stored log; the live one may be ahead.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=models.Q(status="running", conversation__isnull=False),
                name="one_run_a_conversation",
            )
        ]
        indexes = [models.Index(fields=["-created_at"], name="run_recent")]

    def __str__(self) -> str:
        return f"run {self.id}"


class Message(models.Model):
    """What somebody said. Ids are UUIDv7, so their order is the conversation's.

    meta: of an imported message {"id", "tokens_used", "meta"} as it was there (paas/phase1_import.py).
    """

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
    created_at = models.DateTimeField(default=clock.now, editable=False)
    meta = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))

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
