"""A tenant of one's own with knowledge bases, in services that go away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.leaks.services import own_services


@contextmanager
def own_tenant() -> Iterator[Any]:
    """The owner of an empty tenant, which is bound; the process has the owner's login, as the worker does."""
    with own_services():
        os.environ["DATABASE_LOGIN"] = "owner"
        import django

        django.setup()
        from django.core.management import call_command

        from accounts.actors import Actor
        from accounts.policies import actions_of_role
        from core.ids import uuid7
        from tenants import scope
        from tenants.migrate import migrate_all
        from tenants.provisioning import tenant_create

        call_command("init_database", verbosity=0, stdout=sys.stderr)
        migrate_all(lambda line: None)
        tenant = tenant_create(slug="bench", name="Bench").ref()
        with scope.bind(tenant):
            yield Actor(tenant, uuid7(), None, "owner", actions_of_role("owner"))


def superuser(tenant: Any) -> Any:
    """A connection that may load and explain, with the tenant's tables first; autocommit. Close it."""
    import psycopg

    found = psycopg.connect(os.environ["DATABASE_ADMIN_URL"], dbname="paas", autocommit=True)
    found.execute("SELECT set_config('search_path', %s, false)", [f"{tenant.schema}, public"])
    return found


def base_of(slug: str, dimension: int = 256) -> Any:
    """A new knowledge base; its model is the hashing embedder."""
    from knowledge.models import KnowledgeBase

    return KnowledgeBase.objects.create(slug=slug, name=slug, dimension=dimension)
