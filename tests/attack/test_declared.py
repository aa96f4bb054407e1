"""Whatever can be knocked at says for whom it is, in `tests/contracts/access.py` (T4)."""

from __future__ import annotations

import re
import uuid

import pytest
from django.conf import settings

from tenants import scope
from tests.attack.knocking import EVERYTHING, suspended
from tests.conftest import Platform
from tests.contracts import access, tenancy
from tests.contracts.access import DOORS, FRAMES, JOBS, PLATFORM, TENANT
from tests.contracts.declaring import ACCESS_KINDS, ANY, OPERATOR, PERSON


def test_every_route_of_a_tenants_host_says_who_it_is_for() -> None:
    found = set(access.routes_of(settings.TENANT_URLCONF))
    assert found - TENANT.keys() == set(), "say in tests/contracts/routes/ who may do what there"
    assert TENANT.keys() - found == set(), "these are declared but gone"


def test_every_route_of_the_platforms_host_says_who_it_is_for() -> None:
    found = set(access.routes_of(settings.ROOT_URLCONF))
    undeclared = {route for route in found if access.platform_access(route) is None}
    assert undeclared == set(), "say in tests/contracts/access.py who may do what there"
    assert PLATFORM.keys() - found == set(), "these are declared but gone"


def test_the_console_shows_these_tables_and_no_others() -> None:
    """A68: no tenant's content, and none of the secrets that packages would register (P61)."""
    from django.contrib import admin

    assert {model._meta.label_lower for model in admin.site._registry} == access.CONSOLE_MODELS


def test_declarations_agree_with_those_of_foreign_ids() -> None:
    assert DOORS.keys() == tenancy.DOORS.keys()
    assert FRAMES.keys() == tenancy.FRAMES.keys()
    from accounts.policies import ACTIONS

    for route, declared in (EVERYTHING | PLATFORM).items():
        assert declared.kind in ACCESS_KINDS
        assert {word for needs in declared.needs.values() for word in needs.split()} <= ACTIONS | {PERSON, OPERATOR}, (
            route
        )
        assert set(declared.skip) <= declared.needs.keys()
    for route, declared in EVERYTHING.items():
        methods = set((tenancy.ROUTES | tenancy.DOORS)[route].methods)
        assert methods == declared.needs.keys(), f"{route}: the two contracts name other methods"


def test_pages_ask_for_the_action_that_is_declared() -> None:
    """`@page(action)` says the same as the contract, also where a refusal would look like another one."""
    from django.urls import get_resolver

    for pattern in get_resolver(settings.TENANT_URLCONF).url_patterns:
        view = getattr(pattern, "callback", None)
        if view is not None and hasattr(view, "required_action"):
            route = "/" + re.sub(r"[\^$]|\\Z", "", str(pattern.pattern))
            least = set.intersection(*(set(needs.split()) for needs in TENANT[route].needs.values()))
            assert {view.required_action or ANY} <= least | {ANY}, route


def test_every_job_says_whose_work_it_is() -> None:
    from procrastinate.contrib.django import app

    found = {
        name: task.func.__qualname__.partition(".")[0]
        for name, task in app.tasks.items()
        if "builtin_tasks" not in name and not name.startswith(("test", "bench."))
    }
    assert found == JOBS, "say in tests/contracts/access.py whose work these are"


async def test_tenants_jobs_refuse_to_run_for_nobody_and_for_the_suspended(db: Platform) -> None:
    """P23, A21. The door that all of them go through; the work itself must not be reached."""
    from tenants import jobs

    reached: list[str] = []

    async def work() -> None:
        reached.append(scope.current_tenant().slug)

    with pytest.raises(scope.TenantNotBound):
        await jobs.run_for_tenant(work, None, {})
    with suspended(db.acme):
        await jobs.run_for_tenant(work, str(db.acme.id), {})
        await jobs.run_for_tenant(work, str(uuid.uuid4()), {})
        assert reached == []
        await jobs.run_for_tenant(work, str(db.globex.id), {})
    assert reached == ["globex"]
