"""What tests of tenants' lives need: a place that is cleaned up, and the worker's jobs run by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from accounts import tenant_life
from accounts.models import User
from tenants import provisioning, resolve, scope
from tenants.models import RetiredSlug, Tenant
from tests.services import Services


def state(services: Services) -> list[str]:
    """Roles, schemas and rows of tenants as PostgreSQL has them."""
    query = """
        SELECT 'role ' || rolname FROM pg_roles WHERE rolname ~ '^t_'
        UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname ~ '^t_'
        UNION ALL SELECT 'tenant ' || slug || ' ' || status FROM tenants_tenant
    """
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as admin:
        return sorted(name for (name,) in admin.execute(query).fetchall())


def about(services: Services, tenant: Tenant) -> list[str]:
    """What PostgreSQL has of one tenant: ["role", "schema", its status], as far as it is there."""
    found = state(services)
    marks = [(f"role {tenant.schema_name}", "role"), (f"schema {tenant.schema_name}", "schema")]
    status = [line.split()[2] for line in found if line.startswith(f"tenant {tenant.slug} ")]
    return [word for line, word in marks if line in found] + status


def request(slug: str = "newcomer", **fields: Any) -> Tenant:
    """A tenant that was asked for, with an owner `boss@<slug>.test`."""
    with scope.platform():
        owner, _ = User.objects.get_or_create(email=f"boss@{slug}.test")
        return tenant_life.tenant_request(slug=slug, name=slug.title(), owner=owner, actor="test", **fields)


def made(slug: str = "newcomer", **fields: Any) -> Tenant:
    """An active tenant with an owner."""
    tenant = request(slug, **fields)
    assert tenant_life.tenant_build(tenant.id)
    return fresh(tenant)


def fresh(tenant: Tenant) -> Tenant:
    """The row as it is now."""
    with scope.platform():
        found: Tenant = Tenant.objects.get(pk=tenant.pk)
    return found


def erase(tenant_id: uuid.UUID) -> None:
    """Run the erasing to its end."""
    while tenant_life.erase_some(tenant_id):
        pass


@contextmanager
def cleaned(services: Services) -> Iterator[None]:
    """Afterwards there are the tenants and people that were there before."""
    with scope.platform():
        tenants, people = (
            set(Tenant.objects.values_list("pk", flat=True)),
            set(User.objects.values_list("pk", flat=True)),
        )
    try:
        yield
    finally:
        with scope.platform():
            gone = list(Tenant.objects.exclude(pk__in=tenants))
        for tenant in gone:
            provisioning.drop_schema(tenant.schema_name)
        with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
            admin.execute("SET session_replication_role = replica")
            for tenant in gone:
                for table in ("accounts_auditevent", "usage_seal", "usage_usagerecord"):
                    admin.execute(f"DELETE FROM {table} WHERE tenant_id = %s".encode(), [tenant.id])
            admin.execute("SET session_replication_role = DEFAULT")
        with scope.platform():
            RetiredSlug.objects.all().delete()
            for tenant in gone:
                Tenant.objects.filter(pk=tenant.pk).delete()
            User.objects.exclude(pk__in=people).delete()
        resolve.forget_all()
