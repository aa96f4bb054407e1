"""A tenant's life: asked for, built, suspended, renamed, moved; killed anywhere, it converges (A21, A77, T22)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, connections

from accounts import tenant_life
from accounts.models import AuditEvent, Membership, OneTimeCode
from tenants import catalog, naming, provisioning, scope
from tenants.models import Plan, Tenant
from tests.conftest import Platform
from tests.contracts.sampling import sampled
from tests.services import Services
from tests.tenants import life
from tests.tenants.test_provisioning import at_statement


@pytest.fixture(autouse=True)
def _clean(db: Platform, services: Services) -> Iterator[None]:
    with life.cleaned(services):
        yield
        connections.close_all()


def jobs_waiting() -> list[tuple[str, str]]:
    with scope.platform(), connection.cursor() as cursor:
        cursor.execute("SELECT task_name, args->>'tenant_id' FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        return [row for row in cursor.fetchall() if row[0].startswith("tenant.")]


def actions(tenant: Tenant) -> list[str]:
    with scope.platform():
        return list(AuditEvent.objects.filter(tenant_id=tenant.id).order_by("seq").values_list("action", flat=True))


# --- creation ----------------------------------------------------------------------------------------


def test_a_request_takes_the_name_and_leaves_the_rest_to_the_worker(services: Services) -> None:
    tenant = life.request()
    assert life.about(services, tenant) == ["creating"]
    assert jobs_waiting() == [("tenant.create", str(tenant.id))]
    assert provisioning.progress_of(tenant) == 10
    with pytest.raises(ValidationError, match="taken"):
        life.request()
    assert tenant_life.tenant_build(tenant.id) is True
    assert life.about(services, tenant) == ["role", "schema", "active"]
    assert provisioning.progress_of(life.fresh(tenant)) == 100
    with scope.owner(), connection.cursor():
        assert catalog.drift(connection.connection, [tenant.schema_name]) == []
    with scope.bind(tenant.ref()):
        assert Membership.objects.get().role == "owner"
    assert actions(tenant) == ["tenant.requested", "tenant.created"]
    assert tenant_life.tenant_build(tenant.id) is False, "a second run finds nothing to do"


@pytest.mark.exhaustive
def test_a_build_killed_at_any_statement_is_finished_by_the_next(services: Services) -> None:
    """A77: an error at every statement, one after the other, leaves the row and nothing else; then a retry works."""
    counted = life.request("counted")
    with at_statement(-1, _raise) as count:
        tenant_life.tenant_build(counted.id)
    assert count[0] > 20
    tenant = life.request("killed")
    for number in range(1, count[0]):
        with at_statement(number, _raise), pytest.raises(Killed):
            tenant_life.tenant_build(tenant.id)
        assert life.about(services, tenant) == ["creating"]
    assert tenant_life.tenant_build(tenant.id)
    assert life.about(services, tenant) == ["role", "schema", "active"]


class Killed(Exception):
    pass


def _raise(cursor: Any) -> None:
    raise Killed


@pytest.mark.parametrize("part", sampled([0.2, 0.5, 0.9, 1.0], lambda part: part == 0.5))
def test_a_build_whose_backend_is_killed_is_finished_by_the_next(part: float, services: Services) -> None:
    counted = life.request("counted")
    with at_statement(-1, _raise) as count:
        tenant_life.tenant_build(counted.id)
    tenant = life.request("killed")

    def kill(cursor: Any) -> None:
        with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])

    with at_statement(max(2, int((count[0] - 2) * part)), kill), pytest.raises(DatabaseError):
        tenant_life.tenant_build(tenant.id)
    connections.close_all()
    assert life.about(services, tenant) == ["creating"]
    assert tenant_life.tenant_build(tenant.id)
    assert life.about(services, tenant) == ["role", "schema", "active"]


async def test_a_failure_is_kept_and_taken_up_again(services: Services) -> None:
    from accounts import jobs
    from tests.conftest import in_thread

    tenant = in_thread(life.request)
    broken = patch.object(provisioning, "create_schema", side_effect=RuntimeError("no room\nat all"))
    with broken, scope.platform(), pytest.raises(RuntimeError):
        await jobs.create(str(tenant.id))
    found = in_thread(lambda: life.fresh(tenant))
    assert (found.status, found.step, found.failure) == ("creating", "schema", "RuntimeError: no room")
    in_thread(lambda: _take("tenant.create"))
    assert await jobs.resume() == 1, "the periodic job asks for it again"
    assert await jobs.resume() == 0, "once"
    with scope.platform():
        await jobs.create(str(tenant.id))
    assert in_thread(lambda: life.fresh(tenant)).failure == ""
    assert in_thread(lambda: life.about(services, tenant)) == ["role", "schema", "active"]


ACTS: list[tuple[str, Callable[..., bool], dict[str, str], str]] = [
    ("active", tenant_life.tenant_suspend, {}, "suspended"),
    ("suspended", tenant_life.tenant_resume, {}, "active"),
    ("active", tenant_life.tenant_move, {"slug": "elsewhere"}, "active"),
    ("active", tenant_life.tenant_delete, {}, "deleting"),
    ("deleting", tenant_life.tenant_restore, {}, "active"),
]


@pytest.mark.parametrize(("before", "act", "more", "after"), ACTS, ids=[act[1].__name__ for act in ACTS])
def test_an_act_killed_at_any_statement_is_done_or_not(
    before: str, act: Callable[..., bool], more: dict[str, str], after: str
) -> None:
    """A77: an error at every statement leaves the row, the audit log, the jobs and the letters as they were."""
    tenant = life.made()
    if before == "suspended":
        tenant_life.tenant_suspend(tenant=tenant, actor="test")
    if before == "deleting":
        tenant_life.tenant_delete(tenant=tenant, actor="test")

    def whole() -> Any:
        found = life.fresh(tenant)
        with scope.platform(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM procrastinate_jobs")
            jobs = cursor.fetchone()
            return found.status, found.slug, actions(tenant), jobs, OneTimeCode.objects.count()

    state, number = whole(), 0
    while True:
        number += 1
        try:
            with at_statement(number, _raise):
                done = act(tenant=life.fresh(tenant), actor="operator:1", **more)
        except Killed:
            assert whole() == state, number
            continue
        break
    assert done
    assert number > 5
    assert life.fresh(tenant).status == after
    assert len(actions(tenant)) == len(state[2]) + 1


def _take(task: str) -> None:
    """As if a worker had taken the job, and been killed."""
    with scope.platform(), connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = %s", [task])


# --- status and plan ---------------------------------------------------------------------------------


def test_suspend_and_resume_leave_audit_rows(db: Platform) -> None:
    tenant = life.made()
    assert tenant_life.tenant_suspend(tenant=tenant, actor="operator:1")
    assert not tenant_life.tenant_suspend(tenant=tenant, actor="operator:1")
    assert life.fresh(tenant).status == "suspended"
    assert tenant_life.tenant_resume(tenant=tenant, actor="operator:1")
    assert life.fresh(tenant).status == "active"
    assert actions(tenant)[2:] == ["tenant.suspended", "tenant.resumed"]


@pytest.mark.parametrize("status", ["creating", "deleting", "deleted"])
def test_what_is_neither_active_nor_suspended_is_not_resumed(status: str) -> None:
    tenant = life.made()
    with scope.platform():
        Tenant.objects.filter(pk=tenant.pk).update(status=status)
    assert not tenant_life.tenant_resume(tenant=tenant, actor="test")
    assert not tenant_life.tenant_suspend(tenant=tenant, actor="test")
    assert life.fresh(tenant).status == status


def test_update_says_what_differs() -> None:
    tenant = life.made()
    assert tenant_life.tenant_update(tenant=tenant, actor="test", name="Neu", plan="pro") == ["name", "plan_id"]
    assert tenant_life.tenant_update(tenant=tenant, actor="test", name="Neu") == []
    for wrong in ({"color": "red"}, {"plan": "gold"}, {"name": ""}, {"name": "x" * 200}):
        with pytest.raises(ValidationError):
            tenant_life.tenant_update(tenant=tenant, actor="test", **wrong)
    found = life.fresh(tenant)
    assert (found.name, found.plan_id, found.color) == ("Neu", "pro", "")


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "problem"),
    [
        ("acme", "taken"), ("admin", "reserved"), ("www", "reserved"), ("xn--80ak6aa92e", "punycode"),
        ("", "form"), ("Acme", "form"), ("аcme", "form"), ("ａcme", "form"), ("acmé", "form"), ("a_b", "form"),
        ("-a", "form"), ("a-", "form"), ("a.b", "form"), ("a" * 41, "form"), ("acme\n", "form"), ("a b", "form"),
        ("adm1n", "similar_reserved"), ("4dmin", "similar_reserved"), ("ad-min", "similar_reserved"),
        ("p0rtal", "similar_reserved"), ("5upport", "similar_reserved"), ("10gin", "similar_reserved"),
        ("acm3", "similar"), ("g1obex", "similar"), ("4cme", "similar"),
        ("acme-2", ""), ("bureau-42", ""), ("a", ""), ("1", ""),
    ],
)  # fmt: skip
def test_one_answer_for_each_name(slug: str, problem: str) -> None:
    with scope.platform():
        assert naming.problem_with(slug) == problem
        if problem:
            with pytest.raises(ValidationError) as caught:
                naming.check(slug)
            assert caught.value.message_dict == {"slug": [str(naming.MESSAGES[problem])]}
        suggested = naming.suggestions(slug)
        assert all(not naming.problem_with(name) for name in suggested)
    if problem in ("taken", "reserved"):
        assert len(suggested) == 3


@pytest.mark.parametrize(
    ("title", "slug"),
    [("Müller & Co", "muller-co"), ("智能工厂", ""), ("x" * 60, "x" * 40), ("  Acme_Inc  ", "acme-inc"), ("--", "")],
)
def test_a_name_from_a_title(title: str, slug: str) -> None:
    assert naming.from_title(title) == slug


def test_operators_may_take_what_looks_alike() -> None:
    with scope.platform():
        assert naming.problem_with("acm3", careful=False) == ""
        assert naming.problem_with("adm1n", careful=False) == "similar_reserved"


def test_a_former_name_leads_on_and_comes_back_to_nobody_else() -> None:
    tenant, other = life.made("before"), life.made("bystander")
    assert tenant_life.tenant_move(tenant=tenant, slug="after", actor="test")
    assert not tenant_life.tenant_move(tenant=tenant, slug="after", actor="test")
    with pytest.raises(ValidationError, match="not given away"):
        tenant_life.tenant_move(tenant=other, slug="before", actor="test")
    with pytest.raises(ValidationError, match="not given away"):
        life.request("before")
    with pytest.raises(ValidationError, match="taken"):
        tenant_life.tenant_move(tenant=other, slug="after", actor="test")
    assert tenant_life.tenant_move(tenant=tenant, slug="before", actor="test"), "its own it may have back"
    assert life.fresh(tenant).slug == "before"
    with pytest.raises(ValidationError, match="not given away"):
        life.request("after")
    assert actions(tenant)[2:] == ["tenant.moved", "tenant.moved"]


# --- limits ------------------------------------------------------------------------------------------


def test_a_plan_limits_people_and_agents(db: Platform) -> None:
    from agents.services import agent_set
    from core.errors import PaasError
    from llm.services import provider_create
    from tenants import limits

    tenant = life.made()
    with scope.platform():
        Plan.objects.create(slug="tiny", name="Tiny", max_users=2, max_agents=1)
    try:
        tenant_life.tenant_update(tenant=tenant, actor="test", plan="tiny")
        with scope.bind(tenant.ref()):
            limits.check_users(1)
            with pytest.raises(PaasError) as caught:
                limits.check_users(2)
            assert (caught.value.code, caught.value.details) == (
                "plan_limit_reached", {"limit": "max_users", "allowed": 2}
            )  # fmt: skip
            account = provider_create(actor="test", name="scripted", kind="scripted")
            agent_set(slug="one", provider=account, model="demo", actor="test")
            agent_set(slug="one", provider=account, model="other", actor="test")
            with pytest.raises(PaasError) as caught:
                agent_set(slug="two", provider=account, model="demo", actor="test")
            assert caught.value.code == "plan_limit_reached"
        tenant_life.tenant_update(tenant=tenant, actor="test", plan="enterprise")
        with scope.bind(tenant.ref()):
            limits.check_users(10**6)
    finally:
        with scope.platform():
            Tenant.objects.filter(pk=tenant.pk).update(plan_id="free")
            Plan.objects.filter(slug="tiny").delete()
