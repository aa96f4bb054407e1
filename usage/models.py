"""Quota counters, reservations with their lease, the ledger with its chain, prices and invoices. All shared."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from core.ids import uuid7
from tenants.models import Plan, Tenant


class Quota(models.Model):
    """How much of one metric a subject has used and reserved in one month or day (UTC).

    level, metric, period, currency: as `tenants.models.Limit`. Tokens are counted one by one, a cost in billionths of
    its currency, each call's rounded up. allowance: of the tenant's own month of tokens what its plan allows, kept in
    step by a trigger; of any other counter what was allowed when it was made (`usage_budgets` knows what is now).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    level = models.CharField(max_length=10)
    subject_id = models.UUIDField()
    metric = models.CharField(max_length=20, default="tokens")
    period = models.CharField(max_length=6, default="month", db_default="month")
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    month = models.DateField(verbose_name="from", help_text="First day of the month, or the day that is counted.")
    allowance = models.BigIntegerField(null=True, blank=True)
    used = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    refused_at = models.DateTimeField(null=True, help_text="When a turn first found too little left, near the end.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "subject_id", "month", "level", "metric", "period", "currency"], name="quota_once"
            ),
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
    subjects = ArrayField(models.UUIDField(), default=list, db_default=[], help_text="Whom it counts for.")
    amount = models.BigIntegerField(help_text="Tokens held: counted input + the most output allowed.")
    cost = models.BigIntegerField(default=0, db_default=0, help_text="The most it can cost, in billionths.")
    overrun = models.BigIntegerField(default=0, db_default=0, help_text="Tokens that it used beyond those held.")
    overrun_told = models.BooleanField(default=False, db_default=False)
    input_estimate = models.BigIntegerField(default=0)
    calls = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="What a run's earlier calls of its model used.",
    )
    other_costs = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="What a team's run holds in other currencies than its first: currency -> billionths.",
    )
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
            models.Index(
                fields=["settled_at"],
                condition=models.Q(overrun__gt=0, overrun_told=False),
                name="reservation_overrun",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.run_id}"


class LimitWarning(models.Model):
    """That people were told of a limit: once for each limit, period and threshold (in percent).

    metric `overrun`: operators were told that a vendor reported more than was held, once a day and tenant.
    """

    THRESHOLDS = (80, 100)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    level = models.CharField(max_length=10)
    subject_id = models.UUIDField()
    metric = models.CharField(max_length=20)
    period = models.CharField(max_length=6, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    starts_on = models.DateField()
    threshold = models.IntegerField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "subject_id", "starts_on", "level", "metric", "period", "currency", "threshold"],
                name="limit_warned_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.metric} {self.period} {self.starts_on}: {self.threshold} %"


class UsageRecord(models.Model):
    """One entry of the ledger: a model call as it is billed, or a correction. Append-only (a trigger refuses UPDATE
    and DELETE), once a call.

    kind: `chat` or `embeddings` is usage; `reversal` takes an entry back, number by number; `credit` and `adjustment`
    are amounts. Prices are what the tenant was charged when the call was made (usage/money.py says how `cost` follows
    from them); cost None is "unpriced".
    """

    CORRECTIONS = ("reversal", "credit", "adjustment")

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
    reasoning_price = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    tool_calls = models.IntegerField(default=0, db_default=0)
    tool_price = models.DecimalField(max_digits=18, decimal_places=9, null=True, help_text="Of one tool call.")
    agent = models.CharField(max_length=60, default="", db_default="", help_text="The agent's slug at that time.")
    reverses = models.UUIDField(null=True, help_text="The entry that this one takes back.")
    reason = models.CharField(max_length=300, default="", db_default="", help_text="Why a correction was made.")
    made_by = models.CharField(max_length=100, default="", db_default="", help_text="Who made the correction.")
    currency = models.CharField(max_length=3, default="USD")
    cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "run_id", "call", "kind"], name="usage_once"),
            models.UniqueConstraint(
                fields=["tenant", "reverses"], condition=models.Q(reverses__isnull=False), name="usage_reversed_once"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "at"], name="usage_tenant_time")]
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens} + {self.output_tokens}"


class DailyUse(models.Model):
    """The entries of a tenant's day (UTC) that are alike, added up once the day is over (usage/summaries.py).

    What bills are made of is the ledger; this only makes reading quick, and can be computed from it again.
    runs: calls that were the first of their run. calls: a reversal takes one away. cost None: nothing had a price.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    day = models.DateField()
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    agent = models.CharField(max_length=60)
    provider = models.CharField(max_length=60)
    model = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    runs = models.BigIntegerField()
    calls = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)

    class Meta:
        indexes = [models.Index(fields=["tenant", "day"], name="daily_use_of_tenant")]

    def __str__(self) -> str:
        return f"{self.day} {self.agent} {self.model}: {self.calls}"


class DailyUseMark(models.Model):
    """Up to which day a tenant's entries are in DailyUse: those of `until` and later are not."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE)
    until = models.DateField()

    def __str__(self) -> str:
        return f"before {self.until}"


class Seal(models.Model):
    """An entry's place in its tenant's chain: given by a job, in the order of sealing (usage/chain.py). Append-only.

    digest: SHA-256 over the digest before it, `seq` and the entry's content. Tenants may read theirs.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT)
    record_id = models.UUIDField()
    seq = models.BigIntegerField()
    digest = models.BinaryField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "seq"], name="usage_seal_seq"),
            models.UniqueConstraint(fields=["tenant", "record_id"], name="usage_seal_record"),
        ]
        ordering = ["-seq"]

    def __str__(self) -> str:
        return f"#{self.seq}"


class LedgerHead(models.Model):
    """Up to where a tenant's ledger was found whole; only the platform writes it (see accounts.models.AuditHead)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT)
    seq = models.BigIntegerField(default=0)
    digest = models.BinaryField(default=b"", help_text="Of the entry `seq`; empty for 0.")
    verified_at = models.DateTimeField(null=True, help_text="When everything up to `seq` was last found whole.")
    problem = models.CharField(max_length=300, blank=True, help_text="What the last look found broken.")

    def __str__(self) -> str:
        return self.problem or f"whole up to #{self.seq}"


class Component(models.TextChoices):
    """What has a price. All are per million tokens but the last, which is for one call."""

    INPUT = "input"
    OUTPUT = "output"
    CACHED = "cached"  # the part of the input that the vendor read from its cache; without a price: as other input
    REASONING = "reasoning"  # the part of the output that is thinking; without a price: as other output
    EMBEDDINGS = "embeddings"
    TOOL_CALL = "tool_call"


class Price(models.Model):
    """What one component of a model costs from a moment on. Append-only: a newer row supersedes it.

    vendor: one of the maintained list (`openai`), or a provider kind (`local`) for models that no list has. tenant:
    None is everybody's price; else the price agreed with that tenant. amount None: no price from then on.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True)
    vendor = models.CharField(max_length=40)
    model = models.CharField(max_length=120, help_text="In small letters.")
    component = models.CharField(max_length=12, choices=Component.choices)
    amount = models.DecimalField(max_digits=18, decimal_places=9, null=True, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    valid_from = models.DateTimeField()
    source = models.CharField(max_length=100, help_text="Such as `genai-prices (MIT) 2026-11-22` or `operator:<id>`.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "vendor", "model", "component", "valid_from"],
                nulls_distinct=False,
                name="price_once",
            ),
            models.CheckConstraint(
                condition=models.Q(amount=None) | models.Q(amount__gte=0), name="price_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["model", "vendor", "component", "-valid_from"], name="price_of_model")]
        ordering = ["vendor", "model", "component", "-valid_from"]

    def __str__(self) -> str:
        return f"{self.vendor} {self.model} {self.component}: {self.amount} {self.currency}"


class Margin(models.Model):
    """Percent on top of list prices from a moment on, of a tenant, or of all tenants of a plan. Append-only.

    A tenant's own margin wins over its plan's. percent None: no own margin from then on.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True)
    percent = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    valid_from = models.DateTimeField()
    made_by = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(tenant=None, plan__isnull=False) | models.Q(tenant__isnull=False, plan=None),
                name="margin_of_one",
            ),
            models.CheckConstraint(
                condition=models.Q(percent=None) | models.Q(percent__gte=-100), name="margin_not_below_free"
            ),
        ]
        ordering = ["-valid_from", "-id"]

    def __str__(self) -> str:
        return f"{self.percent} % for {self.tenant or self.plan}"


class InvoiceCounter(models.Model):
    """The last number given out. Taken with its row locked, in the transaction that issues: no number is left out."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=10, unique=True, default="platform")
    last = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.last}"


class Invoice(models.Model):
    """A tenant's month in one currency, frozen when it is issued (a trigger holds that), or what takes one back.

    statement: usage.statements.Statement.frozen(). digest: SHA-256 over usage.invoices.sealed_content. An issued
    invoice may become void and nothing else; the credit note that cancels it has a number of its own.
    """

    class Kind(models.TextChoices):
        INVOICE = "invoice"
        CREDIT_NOTE = "credit_note"

    class Status(models.TextChoices):
        DRAFT = "draft"
        ISSUED = "issued"
        VOID = "void"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.INVOICE)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.DRAFT)
    number = models.BigIntegerField(null=True)
    month = models.DateField(help_text="First day of the month (UTC).")
    currency = models.CharField(max_length=3)
    total = models.DecimalField(max_digits=24, decimal_places=3, help_text="Rounded once, to the currency's unit.")
    statement = models.JSONField()
    billed_to = models.JSONField(default=dict)
    digest = models.BinaryField(default=b"")
    cancels = models.UUIDField(null=True, help_text="The invoice that this credit note takes back.")
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    issued_at = models.DateTimeField(null=True)
    issued_by = models.CharField(max_length=100, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["number"], name="invoice_number"),
            models.UniqueConstraint(
                fields=["tenant", "month", "currency"],
                condition=models.Q(kind="invoice") & ~models.Q(status="void"),
                name="invoice_once_a_month",
            ),
            models.UniqueConstraint(fields=["tenant", "cancels"], name="invoice_cancelled_once"),
            models.CheckConstraint(
                condition=models.Q(status="draft", number=None) | ~models.Q(status="draft") & ~models.Q(number=None),
                name="invoice_numbered_when_issued",
            ),
        ]
        ordering = ["-month", "-number"]

    def __str__(self) -> str:
        return self.label or f"draft of {self.month:%Y-%m}"

    @property
    def label(self) -> str:
        """The number as people write it; "" for a draft."""
        return f"INV-{self.number:06d}" if self.number else ""
