"""`/api/v1/tenants` and the console's pages of tenants, on the platform host: operators only, everything written down."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from django.db import connections
from yarl import URL

from accounts import tenant_life
from accounts.models import AuditEvent, Membership, User
from tenants import scope
from tenants.models import Plan, Tenant
from tests.accounts.test_impersonation import OPERATOR, console
from tests.conftest import PASSWORD, Platform, in_thread
from tests.services import Services
from tests.site import Site
from tests.tenants import life

API = "/api/v1/tenants"
CONSOLE = "/admin/tenants/tenant/"


@pytest.fixture(autouse=True)
def operator(db: Platform, services: Services) -> Iterator[User]:
    with life.cleaned(services):
        with scope.platform():
            made = User.objects.create_superuser(OPERATOR, PASSWORD)
        yield made
        connections.close_all()
    connections.close_all()


@pytest.fixture
async def desk(site: Site) -> aiohttp.ClientSession:
    """The operator's browser, with what a page's script sends along."""
    client = await console(site)
    async with client.get("/admin/tenants/plan/add/") as answer:
        assert answer.status == 200
    client.headers["X-CSRFToken"] = token_of(client, site)
    client.headers["Origin"] = site.url()
    return client


def token_of(client: aiohttp.ClientSession, site: Site) -> str:
    return client.cookie_jar.filter_cookies(URL(site.url()))["csrftoken"].value


async def call(client: aiohttp.ClientSession, method: str, path: str, **body: Any) -> tuple[int, Any]:
    options = {"json": body} if method not in ("GET", "DELETE") else {"params": body}
    async with client.request(method, path, allow_redirects=False, **options) as answer:
        return answer.status, await answer.json()


def actions(tenant_id: Any) -> list[tuple[str, str]]:
    def read() -> list[tuple[str, str]]:
        with scope.platform():
            rows = AuditEvent.objects.filter(tenant_id=tenant_id).order_by("seq")
            return list(rows.values_list("action", "actor"))

    return in_thread(read)  # type: ignore[no-any-return]


def named(slug: str) -> Tenant:
    def read() -> Tenant:
        with scope.platform():
            return Tenant.objects.get(slug=slug)

    return in_thread(read)  # type: ignore[no-any-return]


# --- the API -----------------------------------------------------------------------------------------


async def test_from_creation_to_restoration(desk: aiohttp.ClientSession, site: Site, operator: User) -> None:
    status, made = await call(desk, "POST", API, slug="Fresh", name="Fresh Inc", owner="Chief@Fresh.test", plan="pro")
    assert status == 202, made
    assert (made["slug"], made["status"], made["percent"], made["plan"]) == ("fresh", "creating", 10, "pro")
    one = f"{API}/{made['id']}"
    assert await call(desk, "GET", f"{one}/progress") == (
        200, {"status": "creating", "step": "queued", "percent": 10, "failure": ""}
    )  # fmt: skip
    async with site.client("fresh").get("/login/", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 503
    assert in_thread(lambda: tenant_life.tenant_build(uuid.UUID(made["id"])))
    status, found = await call(desk, "GET", one)
    assert (status, found["status"], found["percent"], found["people"]) == (200, "active", 100, 1)

    def owner() -> Any:
        with scope.platform():
            user = Membership.objects.select_related("user").get(tenant_id=made["id"]).user
            rows = AuditEvent.objects.filter(tenant=None, action="person.created", target=str(user.pk))
            return user, [(row.actor, row.data["by"]) for row in rows]

    person, written = in_thread(owner)
    assert (person.email, person.has_usable_password()) == ("chief@fresh.test", False)
    assert written == [(f"operator:{operator.pk}", "operator")]

    steps: list[tuple[str, str, dict[str, Any], str]] = [
        ("PATCH", one, {"name": "Fresher", "plan": "enterprise", "slug": "fresher"}, "active"),
        ("POST", f"{one}/suspend", {}, "suspended"),
        ("POST", f"{one}/suspend", {}, "suspended"),
        ("POST", f"{one}/resume", {}, "active"),
        ("DELETE", one, {}, "deleting"),
        ("DELETE", one, {}, "deleting"),
        ("POST", f"{one}/restore", {}, "active"),
        ("POST", f"{one}/restore", {}, "active"),
    ]
    for method, path, body, wanted in steps:
        status, found = await call(desk, method, path, **body)
        assert (status, found["status"]) == (202 if method == "DELETE" else 200, wanted), (method, path)
        assert (found["delete_after"] is not None) is (wanted == "deleting")
    assert (found["slug"], found["name"], found["plan"]) == ("fresher", "Fresher", "enterprise")
    who = f"operator:{operator.pk}"
    assert actions(made["id"]) == [
        ("tenant.requested", who), ("tenant.created", "job:tenants"), ("tenant.moved", who), ("tenant.updated", who),
        ("tenant.suspended", who), ("tenant.resumed", who), ("tenant.deleted", who), ("tenant.restored", who),
    ]  # fmt: skip


async def test_the_list(desk: aiohttp.ClientSession) -> None:
    status, page = await call(desk, "GET", API, limit=1)
    assert (status, [one["slug"] for one in page["tenants"]], page["next_cursor"]) == (200, ["acme"], "acme")
    _, page = await call(desk, "GET", API, limit=1, cursor="acme")
    assert ([one["slug"] for one in page["tenants"]], page["next_cursor"]) == (["globex"], None)
    _, page = await call(desk, "GET", API, q="LOBE", status="active")
    assert [one["slug"] for one in page["tenants"]] == ["globex"]
    assert (await call(desk, "GET", API, status="suspended"))[1]["tenants"] == []
    for wrong in ({"limit": 0}, {"limit": 500}, {"status": "gone"}):
        assert (await call(desk, "GET", API, **wrong))[0] == 400


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"slug": "acme"}, "slug", "taken"),
        ({"slug": "www"}, "slug", "reserved"),
        ({"slug": "adm1n"}, "slug", "looks like"),
        ({"slug": "xn--80ak6aa92e"}, "slug", "other alphabets"),
        ({"slug": "no good"}, "slug", "small letters"),
        ({"slug": ""}, "slug", "blank"),
        ({"name": ""}, "name", "blank"),
        ({"name": "x" * 121}, "name", "120"),
        ({"owner": "nobody"}, "owner", "valid email"),
        ({"plan": "gold"}, "plan", "gold"),
    ],
)
async def test_what_is_wrong_is_said_by_field(
    desk: aiohttp.ClientSession, fields: dict[str, str], field: str, said: str
) -> None:
    good = {"slug": "fresh", "name": "Fresh", "owner": "chief@fresh.test", "plan": "free"}
    status, answer = await call(desk, "POST", API, **(good | fields))
    assert (status, answer["error"]["code"]) == (400, "validation_failed")
    assert said in str(answer["error"]["details"]["fields"][field])

    def nothing() -> bool:
        with scope.platform():
            return not User.objects.filter(email="chief@fresh.test").exists() and Tenant.objects.count() == 2

    assert in_thread(nothing), "all or nothing"


async def test_what_cannot_be_done_now(desk: aiohttp.ClientSession, db: Platform) -> None:
    _, made = await call(desk, "POST", API, slug="fresh", name="Fresh", owner="chief@fresh.test")
    one = f"{API}/{made['id']}"
    for act in ("suspend", "resume"):
        status, answer = await call(desk, "POST", f"{one}/{act}")
        assert (status, answer["error"]["code"]) == (409, "wrong_status")
        assert answer["error"]["details"] == {"status": "creating"}
    status, answer = await call(desk, "PATCH", f"{API}/{db.acme.id}", slug="globex")
    assert (status, "taken" in str(answer["error"]["details"])) == (400, True)
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("GET", "/progress")):
        status, answer = await call(desk, method, f"{API}/{uuid.uuid4()}{path}")
        assert (status, answer["error"]["code"]) == (404, "not_found")

    def end() -> None:
        with scope.platform():
            Tenant.objects.filter(pk=made["id"]).update(status="deleted", step="")

    in_thread(end)
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/restore")):
        status, answer = await call(desk, method, f"{one}{path}", **({"name": "X"} if method == "PATCH" else {}))
        assert (status, answer["error"]["code"]) == (409, "wrong_status"), (method, path)


async def test_operators_only(site: Site, desk: aiohttp.ClientSession, db: Platform, api_key: Any) -> None:
    """A66: nobody, a tenant's owner with session or key, a member of staff without rights; and no forged request."""
    owner = await console(site, "owner@acme.test")
    callers = {
        "nobody": (site.client(), (401,)),
        "a key": (site.client(token=api_key("acme")), (401,)),
        "an owner": (owner, (401, 403)),
    }
    for who, (client, wanted) in callers.items():
        for method, path in (
            ("GET", API), ("POST", API), ("GET", f"{API}/{db.acme.id}"), ("PATCH", f"{API}/{db.acme.id}"),
            ("DELETE", f"{API}/{db.acme.id}"), ("POST", f"{API}/{db.acme.id}/suspend"),
            ("POST", f"{API}/{db.acme.id}/resume"), ("POST", f"{API}/{db.acme.id}/restore"),
            ("GET", f"{API}/{db.acme.id}/progress"),
        ):  # fmt: skip
            status, _ = await call(client, method, path)
            assert status in wanted, (who, method, path)
    del desk.headers["X-CSRFToken"]
    status, answer = await call(desk, "POST", f"{API}/{db.acme.id}/suspend")
    assert (status, answer["error"]["code"]) == (403, "permission_denied"), "no CSRF token"
    on_tenant = await site.signed_in("owner")
    async with on_tenant.get(API) as refused:
        assert refused.status == 404, "a tenant's host has none of it"
    assert named("acme").status == "active"


# --- the console -------------------------------------------------------------------------------------


async def send(client: aiohttp.ClientSession, site: Site, path: str, **fields: str) -> tuple[int, str]:
    data = {"csrfmiddlewaretoken": token_of(client, site), **fields}
    async with client.post(path, data=data, allow_redirects=False) as answer:
        return answer.status, await answer.text()


NO_ROWS = {f"memberships-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}


async def test_the_console_from_creation_to_restoration(
    desk: aiohttp.ClientSession, site: Site, operator: User
) -> None:
    form = {"slug": "Fresh", "name": "Fresh Inc", "plan": "free", "owner": "chief@fresh.test"}
    for wrong, said in (("acme", "taken"), ("adm1n", "looks like"), ("xn--a", "other alphabets")):
        status, text = await send(desk, site, f"{CONSOLE}add/", **(form | {"slug": wrong}))
        assert (status, said in text) == (200, True), wrong
    status, text = await send(desk, site, f"{CONSOLE}add/", **form)
    assert status == 302, re.findall(r"errorlist.*?</ul>", text, re.S)
    tenant = named("fresh")
    page = f"{CONSOLE}{tenant.id}/change/"
    async with desk.get(page) as answer:
        text = await answer.text()
        assert (answer.status, answer.headers["Refresh"]) == (200, "2"), "it shows the progress by itself"
    assert "10 % (queued)" in text
    assert "chief@fresh.test" in text
    in_thread(lambda: tenant_life.tenant_build(tenant.id))
    async with desk.get(page) as answer:
        assert "Refresh" not in answer.headers
    change = {"slug": "fresher", "name": "Fresher", "plan": "pro", **NO_ROWS}
    assert (await send(desk, site, page, **change))[0] == 302
    assert (named("fresher").name, named("fresher").plan_id) == ("Fresher", "pro")

    async def act(name: str, **fields: str) -> str:
        path = f"{CONSOLE}{tenant.id}/{name}/"
        async with desk.get(path) as answer:
            assert answer.status == 200, name
        before = named("fresher").status
        assert (await send(desk, site, path, **fields))[0] == 302 or before == named("fresher").status
        return str(named("fresher").status)

    assert await act("suspend") == "suspended"
    assert await act("resume") == "active"
    assert await act("delete-with-grace", confirm="wrong") == "active"
    assert await act("delete-with-grace", confirm="fresher") == "deleting"
    assert await act("restore") == "active"
    who = f"operator:{operator.pk}"
    assert actions(tenant.id) == [
        ("tenant.requested", who), ("tenant.created", "job:tenants"), ("tenant.moved", who), ("tenant.updated", who),
        ("tenant.suspended", who), ("tenant.resumed", who), ("tenant.deleted", who), ("tenant.restored", who),
    ]  # fmt: skip
    async with desk.get(f"{CONSOLE}nonsense/suspend/") as answer:
        assert answer.status == 404
    async with desk.get(CONSOLE) as answer:
        assert (answer.status, "fresher" in await answer.text()) == (200, True)
    assert (await send(desk, site, CONSOLE, action="suspend_chosen", _selected_action=str(tenant.id)))[0] == 302
    assert named("fresher").status == "suspended"


async def test_looking_at_a_page_changes_nothing(desk: aiohttp.ClientSession, db: Platform) -> None:
    for act in ("suspend", "resume", "restore", "delete-with-grace"):
        async with desk.get(f"{CONSOLE}{db.acme.id}/{act}/") as answer:
            assert answer.status == 200
    assert named("acme").status == "active"


async def test_plans_are_edited_and_written_down(desk: aiohttp.ClientSession, site: Site, operator: User) -> None:
    limits = {
        "name": "Team",
        "max_users": "5",
        "max_concurrent_runs": "7",
        "ingest_weight": "2",
        "sessions_per_day": "30",
    }
    assert (await send(desk, site, "/admin/tenants/plan/add/", slug="team", **limits))[0] == 302
    page = "/admin/tenants/plan/team/change/"
    try:
        assert (await send(desk, site, page, **(limits | {"max_users": "6"})))[0] == 302

        def read() -> Any:
            with scope.platform():
                rows = AuditEvent.objects.filter(tenant_id=None, target="team").order_by("seq")
                found = [(row.action, row.actor, row.data["changed"].get("max_users")) for row in rows]
                return Plan.objects.get(slug="team").max_users, found

        who = f"operator:{operator.pk}"
        assert in_thread(read) == (6, [("plan.created", who, 5), ("plan.updated", who, 6)])
        assert (await send(desk, site, "/admin/tenants/plan/team/delete/", post="yes"))[0] == 302
        status, _ = await send(desk, site, "/admin/tenants/plan/pro/delete/", post="yes")
        assert status != 302, "tenants are on it"
    finally:
        in_thread(_no_team)


def _no_team() -> None:
    with scope.platform():
        Plan.objects.filter(slug="team").delete()
        assert Plan.objects.filter(slug="pro").exists()


async def test_staff_without_rights_has_no_tenants(site: Site, db: Platform) -> None:
    def clerk() -> None:
        with scope.platform():
            User.objects.create_user("clerk@platform.test", PASSWORD, is_staff=True)

    in_thread(clerk)
    client = await console(site, "clerk@platform.test")
    async with client.get(CONSOLE) as answer:
        assert answer.status == 403
    async with client.get(f"{CONSOLE}{db.acme.id}/suspend/") as answer:
        assert answer.status in (403, 404)
    assert (await call(client, "GET", API))[0] == 403
