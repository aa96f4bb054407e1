"""Tenant, Domain and Plan: the shared rows that say who owns the data."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django_tenants.models import DomainMixin, TenantMixin

from core import crypto
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


class Plan(models.Model):  # type: ignore[django-manager-missing]  # TenantMixin has no types
    """What a tenant may use. Limits are per tenant; None is unlimited."""

    slug = models.CharField(max_length=40, primary_key=True)
    name = models.CharField(max_length=80)
    tokens_per_month = models.BigIntegerField(null=True, blank=True)
    max_users = models.IntegerField(null=True, blank=True)
    max_agents = models.IntegerField(null=True, blank=True)
    max_concurrent_runs = models.IntegerField(default=50)
    sessions_per_day = models.IntegerField(null=True, blank=True, help_text="New conversations a day (UTC).")
    storage_bytes = models.BigIntegerField(null=True, blank=True)
    requests_per_minute = models.IntegerField(null=True, blank=True, help_text="API requests of the whole tenant.")
    max_schedules = models.IntegerField(null=True, blank=True)

    class Meta:
        ordering = ["tokens_per_month"]

    def __str__(self) -> str:
        return self.name


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
        """This tenant as a value. What its plan allows is part of it where the plan was selected with it."""
        return TenantRef(
            self.id,
            self.slug,
            self.name,
            self.status,
            self.wrapped_key,
            self.color,
            self.logo,
            self.require_mfa,
            self.plan.requests_per_minute if Tenant.plan.is_cached(self) else None,
        )


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
