"""Quota counters, reservations with their lease, and the usage record. All shared, all under RLS."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from core.ids import uuid7
from tenants.models import Tenant


class Quota(models.Model):
    """How much of one metric a subject has used and reserved in one month (UTC).

    level tenant: subject is the tenant itself; later levels are user, key and agent. allowance None: unlimited.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    level = models.CharField(max_length=10)
    subject_id = models.UUIDField()
    metric = models.CharField(max_length=20, default="tokens")
    month = models.DateField(help_text="First day of the month.")
    allowance = models.BigIntegerField(null=True, blank=True)
    used = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "level", "subject_id", "metric", "month"], name="quota_once"),
            models.CheckConstraint(condition=models.Q(used__gte=0, reserved__gte=0), name="quota_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.metric} {self.month:%Y-%m}: {self.used}+{self.reserved} of {self.allowance}"


class SessionCount(models.Model):
    """How many conversations a tenant has begun on one day (UTC); one row a tenant, which turns over at midnight."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    day = models.DateField()
    begun = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant"], name="session_count_once")]

    def __str__(self) -> str:
        return f"{self.day}: {self.begun}"


class Reservation(models.Model):
    """Tokens held for one run, and the lease of the process that runs it.

    held -> settled is a compare-and-swap on (state, fence), so a run ends exactly once: by its host, or
    by whoever took the lease over after it expired (each takeover raises the fence).
    """

    class State(models.TextChoices):
        HELD = "held"
        SETTLED = "settled"

    run_id = models.UUIDField(primary_key=True, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    quotas = ArrayField(models.UUIDField(), default=list, help_text="The Quota rows the amount is held on.")
    amount = models.BigIntegerField(help_text="Tokens held: counted input + the most output allowed.")
    input_estimate = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    host = models.CharField(max_length=60, help_text="The process that holds the lease.")
    fence = models.IntegerField(default=1)
    lease_until = models.DateTimeField()
    cancel_requested = models.BooleanField(default=False)
    counted_output = models.BigIntegerField(default=0, help_text="Output tokens at the last checkpoint.")
    agent = models.CharField(max_length=60, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    outcome = models.CharField(max_length=12, blank=True, help_text="completed, failed or cancelled.")
    error_code = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "run"
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["lease_until"], condition=models.Q(state="held"), name="reservation_expired"),
            models.Index(fields=["tenant", "-created_at"], name="reservation_recent"),
        ]

    def __str__(self) -> str:
        return f"run {self.run_id}"


class UsageRecord(models.Model):
    """One model call as it is billed. Append-only (a trigger refuses UPDATE and DELETE), once a call.

    Prices are per million tokens, as they were when the call was made; cost None is "unpriced".
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT)
    run_id = models.UUIDField()
    call = models.IntegerField(default=1, help_text="Which call of the run.")
    kind = models.CharField(max_length=12, default="chat")
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    provider = models.CharField(max_length=60)
    model = models.CharField(max_length=120)
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    counted = models.BooleanField(help_text="Counted by us because the vendor did not report.")
    input_price = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    output_price = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    cached_price = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    currency = models.CharField(max_length=3, default="USD")
    cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "run_id", "call", "kind"], name="usage_once")]
        indexes = [models.Index(fields=["tenant", "at"], name="usage_tenant_time")]
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens} + {self.output_tokens}"
