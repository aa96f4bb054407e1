"""Tenant, Domain and Plan: the shared rows that say who owns the data."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _
from django_tenants.models import DomainMixin, TenantMixin

from core import clock, crypto
from core.ids import uuid7
from tenants.scope import TenantRef, schema_of

# One DNS label (RFC 1035 §2.3.1), lower case, no leading or trailing hyphen, and no "xn--" look-alikes.
slug_validator = RegexValidator(
    r"^(?!xn--)[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z",
    "Use 1 to 40 small letters, digits and inner hyphens.",
)

color_validator = RegexValidator(r"^#[0-9a-f]{6}\Z", "Write a colour as #rrggbb.")

# Names of hosts that are, or will be, the platform's own.
RESERVED_SLUGS = frozenset(
    [
        "admin",
        "api",
        "app",
        "assets",
        "auth",
        "billing",
        "blog",
        "cdn",
        "console",
        "docs",
        "ftp",
        "grafana",
        "help",
        "internal",
        "login",
        "mail",
        "mcp",
        "metrics",
        "ns1",
        "ns2",
        "oauth",
        "platform",
        "portal",
        "prometheus",
        "public",
        "root",
        "signup",
        "smtp",
        "static",
        "status",
        "support",
        "system",
        "tenant",
        "test-platform",
        "webhook",
        "webhooks",
        "www",
    ]
)


COST_HELP = "Runs that could cost more are refused, and so are models without a price in this currency."

currency_validator = RegexValidator(r"^[A-Z]{3}\Z", "Write the currency with three capital letters, such as USD.")


class Plan(models.Model):  # type: ignore[django-manager-missing]  # TenantMixin has no types
    """What a tenant may use. Limits are per tenant; None is unlimited."""

    slug = models.CharField(max_length=40, primary_key=True)
    name = models.CharField(max_length=80)
    tokens_per_month = models.BigIntegerField(null=True, blank=True)
    max_users = models.IntegerField(null=True, blank=True)
    max_agents = models.IntegerField(null=True, blank=True)
    max_concurrent_runs = models.IntegerField(default=50)
    max_concurrent_runs_per_user = models.IntegerField(
        null=True, blank=True, default=3, db_default=3, help_text="Of one person; more wait for their turn."
    )
    max_concurrent_runs_per_key = models.IntegerField(
        null=True, blank=True, help_text="Of one API key; more wait for their turn."
    )
    sessions_per_day = models.IntegerField(null=True, blank=True, help_text="New conversations a day (UTC).")
    storage_bytes = models.BigIntegerField(null=True, blank=True)
    requests_per_minute = models.IntegerField(null=True, blank=True, help_text="API requests of the whole tenant.")
    tokens_per_day = models.BigIntegerField(null=True, blank=True, help_text="A day is UTC's.")
    cost_per_month = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True, help_text=COST_HELP)
    cost_per_day = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True, help_text=COST_HELP)
    cost_currency = models.CharField(
        max_length=3, blank=True, default="USD", db_default="USD", validators=[currency_validator], help_text="Of both."
    )
    max_schedules = models.IntegerField(null=True, blank=True)
    max_documents = models.IntegerField(null=True, blank=True, help_text="Of knowledge, in all bases together.")
    max_pages = models.IntegerField(
        null=True, blank=True, help_text="Of these documents; of one without pages as many as its text would fill."
    )
    ingest_weight = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Shares of the workers' time for documents, while other tenants' documents wait too.",
    )

    class Meta:
        ordering = ["tokens_per_month"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not self.cost_currency and (self.cost_per_month is not None or self.cost_per_day is not None):
            raise ValidationError({"cost_currency": "A limit of cost has a currency."})


class Tenant(TenantMixin):
    """A customer: one schema and one role in PostgreSQL, both named after the id."""

    class Status(models.TextChoices):
        CREATING = "creating"  # the row is there, the worker makes the schema
        ACTIVE = "active"
        SUSPENDED = "suspended"
        DELETING = "deleting"  # nobody gets in; everything is kept until delete_after
        DELETED = "deleted"  # the tombstone: schema, role and people are gone, the name stays taken

    auto_create_schema = False  # tenants.provisioning makes it, with its role and grants
    auto_drop_schema = False

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    schema_name = models.CharField(max_length=63, unique=True, editable=False)
    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=120)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, default="free", related_name="tenants")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.ACTIVE)
    wrapped_key = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    step = models.CharField(max_length=40, blank=True, editable=False, help_text="Where creating or erasing stands.")
    failure = models.TextField(blank=True, editable=False, help_text="Why the last attempt of that step failed.")
    delete_after = models.DateTimeField(null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    require_mfa = models.BooleanField("second factor", default=False, help_text="Members must have a second factor.")
    color = models.CharField(max_length=7, blank=True, validators=[color_validator], help_text="#rrggbb")
    logo = models.CharField(max_length=120, blank=True, help_text="The stored file's name; empty: the initial.")
    guide_hidden = models.BooleanField(
        "first steps hidden", default=False, db_default=False, help_text="Its people put the first steps away."
    )
    schema_missing = ArrayField(
        models.CharField(max_length=120), null=True, blank=True, editable=False,
        help_text="Migrations that its schema lacks.",
    )  # fmt: skip
    schema_failure = models.CharField(
        max_length=300, blank=True, default="", db_default="", editable=False,
        help_text="Why the last attempt to migrate it failed.",
    )  # fmt: skip
    schema_checked_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its schema was last looked at."
    )

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def save(self, verbosity: int = 1, *args: Any, **kwargs: Any) -> None:
        self.schema_name = schema_of(self.id)
        if not self.wrapped_key:
            self.wrapped_key = crypto.wrap(settings.FIELD_KEYS, crypto.new_key())
        super().save(verbosity, *args, **kwargs)

    def ref(self) -> TenantRef:
        """This tenant as a value. What its plan allows is part of it where the plan was selected with it; a limit of
        its own instead of that where it was looked up as `own_rate` (tenants.limits.rate_of)."""
        own = getattr(self, "own_rate", None)
        if own is None and Tenant.plan.is_cached(self):
            own = self.plan.requests_per_minute
        return TenantRef(
            self.id,
            self.slug,
            self.name,
            self.status,
            self.wrapped_key,
            self.color,
            self.logo,
            self.require_mfa,
            None if own is None else int(own),
        )


class TenantSchema(Tenant):
    """A tenant as the operator's list of schemas shows it: how far its migrations are."""

    class Meta:
        proxy = True
        ordering = ["slug"]
        verbose_name = "schema"


class Notice(models.Model):
    """What an operator tells people on their pages for a while. Read it with tenants.notices.

    No tenant's role has any right on the table: whom a notice is for is nobody else's business. plans, tenant_ids: whom
    it is for; both empty: everybody. A text that is missing in Chinese is shown in English.
    """

    class Level(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        CRITICAL = "critical"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.INFO)
    title_en = models.CharField("title, English", max_length=120)
    title_zh = models.CharField("title, Chinese", max_length=120, blank=True)
    text_en = models.TextField("text, English", max_length=1000, blank=True)
    text_zh = models.TextField("text, Chinese", max_length=1000, blank=True)
    starts_at = models.DateTimeField("from", default=clock.now, help_text="UTC.")
    ends_at = models.DateTimeField("until", null=True, blank=True, help_text="UTC; empty: until it is deleted.")
    plans = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    tenant_ids = ArrayField(models.UUIDField(), verbose_name="tenants", default=list, blank=True)
    created_by = models.CharField(max_length=100, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-starts_at"]

    def __str__(self) -> str:
        return self.title_en

    def clean(self) -> None:
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": _("It would end before it begins.")})


class PlatformProvider(models.Model):
    """The operator's own account with a model vendor, which plans may use. Make it with llm.platform_accounts.

    No tenant's role has any right on the table. sealed_key: under FIELD_KEYS. models, allowed_models: as a tenant's
    account has them. plans: the slugs of those that may use it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=40)
    base_url = models.CharField("base URL", max_length=500, blank=True)
    sealed_key = models.TextField(blank=True, editable=False)
    allowed_models = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    plans = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    # Last, because from here on `models` is this field and no longer the module.
    models = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Alarm(models.Model):
    """When work of a tenant is next due by the clock, so that a worker need not look into every schema."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="alarm")
    at = models.DateTimeField(null=True, db_index=True, help_text="Null: nothing is due.")

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.at}"


class RetiredSlug(models.Model):
    """A name that a tenant gave up by renaming: it leads to the tenant's present address and is never given away."""

    slug = models.CharField(max_length=40, primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="retired_slugs")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.slug


class Domain(DomainMixin):
    """A host of its own for a tenant, beside `<slug>.<base domain>`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("domain"), name="domain_unique_lower")]


class Limit(models.Model):
    """A limit beside the plan's: of a tenant in the place of its plan's (the operator's to set), of a person, an API
    key or an agent below that (the tenant's own to set).

    subject_id: the tenant's, person's, key's or agent's id. period: over what it is counted, "" for what is not
    counted over time. currency: of a cost, else "". amount: in tokens, requests, pieces or bytes, or in the currency.
    A key's tokens of a month are a field of the key itself, `tokens_per_month`.
    """

    class Level(models.TextChoices):
        TENANT = "tenant"
        USER = "user"
        KEY = "key"
        AGENT = "agent"

    class Metric(models.TextChoices):
        TOKENS = "tokens"
        COST = "cost"
        REQUESTS = "requests"
        SESSIONS = "sessions"
        RUNS = "concurrent_runs"
        USERS = "users"
        AGENTS = "agents"
        STORAGE = "storage_bytes"
        DOCUMENTS = "documents"
        PAGES = "pages"

    class Period(models.TextChoices):
        MONTH = "month"
        DAY = "day"
        MINUTE = "minute"
        NONE = ""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="limits")
    level = models.CharField(max_length=10, choices=Level.choices)
    subject_id = models.UUIDField()
    metric = models.CharField(max_length=20, choices=Metric.choices)
    period = models.CharField(max_length=6, choices=Period.choices, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    amount = models.DecimalField(max_digits=24, decimal_places=9)
    set_by = models.CharField(max_length=100, help_text="Who set it, as audit rows name them.")
    set_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "subject_id", "level", "metric", "period", "currency"], name="limit_once"
            ),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="limit_not_negative"),
            models.CheckConstraint(
                condition=models.Q(metric="cost", currency__regex="^[A-Z]{3}$")
                | models.Q(~models.Q(metric="cost"), currency=""),
                name="limit_of_cost_has_currency",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.metric} {self.period}: {self.amount.normalize():f} {self.currency}".rstrip()
