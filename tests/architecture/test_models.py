"""What the models and the migrated database must agree on (P6, P7, P9, P11)."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.db import models

from tenants import catalog, isolation
from tests import cleaning
from tests.conftest import Platform
from tests.services import Services

SHARED, TENANT = "shared", "tenant"
OURS = ("tenants", "accounts", "usage", "llm", "knowledge", "agents", "chat")


def kind_of(config: Any) -> str | None:
    """In which kind of schema an app's tables are; None for apps without."""
    if config.name in settings.TENANT_APPS:
        return TENANT
    return SHARED if config.name in settings.SHARED_APPS else None


def tables(kind: str) -> dict[str, type[models.Model]]:
    return {
        model._meta.db_table: model
        for config in apps.get_app_configs()
        if kind_of(config) == kind
        for model in config.get_models(include_auto_created=True)
        if model._meta.managed
    }


@pytest.fixture
def found(services: Services, platform: Platform) -> catalog.Catalog:
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        return catalog.read(login)


def test_every_app_with_models_is_in_one_list() -> None:
    both = set(settings.SHARED_APPS) & set(settings.TENANT_APPS)
    assert both == set()
    homeless = [
        config.name
        for config in apps.get_app_configs()
        if kind_of(config) is None and list(config.get_models(include_auto_created=True))
    ]
    assert homeless == []


def test_no_table_name_is_in_both_kinds_of_schema() -> None:
    assert tables(SHARED).keys() & tables(TENANT).keys() == set()


def test_every_shared_models_table_is_protected(found: catalog.Catalog) -> None:
    guards = {guard.table: guard.how for guard in isolation.guards(found)}
    wanted = {f"public.{table}" for table, model in tables(SHARED).items() if not model._meta.proxy}
    # procrastinate's models are views of its tables that Django does not manage.
    assert wanted - guards.keys() == set()
    by_tenant = [
        table
        for table, model in tables(SHARED).items()
        if any(
            field.related_model is apps.get_model("tenants.Tenant")
            for field in model._meta.get_fields()
            if field.concrete
        )
    ]
    assert len(by_tenant) >= 8
    assert {table: guards[f"public.{table}"] for table in by_tenant} == dict.fromkeys(by_tenant, "row-level security")


def test_nothing_is_exempt_that_does_not_exist(found: catalog.Catalog) -> None:
    """An exemption of tenants/isolation.py ends with its table."""
    names = {relation.name for relation in found.relations if relation.schema == "public"}
    for exempt in (isolation.OWN_CONDITIONS, isolation.READ_ONLY, isolation.SECRET_KEYS):
        assert set(exempt) <= names


def test_every_tenant_models_table_is_in_the_template_and_not_in_public(found: catalog.Catalog) -> None:
    where: dict[str, set[str]] = {}
    for relation in found.relations:
        where.setdefault(relation.schema, set()).add(relation.name)
    wanted = set(tables(TENANT))
    assert wanted <= where["t_template"]
    assert wanted & where["public"] == set()
    assert set(tables(SHARED)) & where["t_template"] == set()


def test_keys_of_our_models_are_uuids() -> None:
    """UUIDv7 by default; a plan and a retired name are their slug, sessions and codes their secret, reservations and
    tasks their run, the words of a message the message."""
    other = {}
    for kind in (SHARED, TENANT):
        for table, model in tables(kind).items():
            key = model._meta.pk
            if model._meta.app_label in OURS and not isinstance(key, models.UUIDField):
                if not model._meta.auto_created:
                    other[table] = key.name if key else None
            elif model._meta.app_label in OURS and key is not None and key.has_default():
                assert uuid.UUID(str(key.get_default())).version == 7, table
    assert other == {
        "tenants_plan": "slug",
        "tenants_retiredslug": "slug",
        "accounts_session": "session_key",
        "accounts_onetimecode": "digest",
        "chat_runtask": "run",
        "chat_runtrace": "run",
        "chat_messagewords": "message",
    }


def test_no_key_leads_from_a_tenants_schema_into_shared_tables() -> None:
    """A foreign key's check bypasses row-level security, and so tells of rows that are hidden (P11)."""
    shared = set(tables(SHARED).values())
    across = [
        f"{table}.{field.name}"
        for table, model in tables(TENANT).items()
        for field in model._meta.get_fields()
        if field.concrete and field.related_model in shared
    ]
    assert across == []


def test_no_key_leads_from_shared_tables_into_a_tenants_schema() -> None:
    tenants_own = set(tables(TENANT).values())
    across = [
        f"{table}.{field.name}"
        for table, model in tables(SHARED).items()
        for field in model._meta.get_fields()
        if field.concrete and field.related_model in tenants_own
    ]
    assert across == []


def test_every_table_of_a_tenant_is_emptied_after_a_test() -> None:
    """Rows that stay make other tests fail, in some orders."""
    assert tables(TENANT).keys() - {*cleaning._TENANT_TABLES, *cleaning._KEPT_TABLES} == set()
