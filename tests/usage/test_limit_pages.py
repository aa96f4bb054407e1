"""Limits as people and programs meet them: over the API, on the pages, in the console."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from accounts import keys
from accounts.models import ApiKey, AuditEvent, User
from agents.models import Agent
from core import clock
from core.metrics import digest_of
from tenants import limits, scope
from tenants.models import Limit, Plan
from tests.accounts.test_people_pages import get, post
from tests.chat.ledger import Ledger
from tests.conftest import Platform, in_thread
from tests.console import Console, console
from tests.site import Site
from tests.usage.conftest import Money

__all__ = ["console"]
LIMITS, PAGE = "/api/v1/limits", "/settings/limits/"


@pytest.fixture
def ids(db: Platform) -> dict[str, str]:
    def find() -> dict[str, str]:
        with scope.bind(db.acme):
            made = keys.key_create(name="nightly", scopes=["*"], actor="test")[0]
            below = keys.key_create(name="below", scopes=["*"], actor="test", parent=made)[0]
            member = User.objects.get(email="member@acme.test")
            agent = Agent.objects.get(slug="assistant")
        with scope.bind(db.globex):
            rival = User.objects.get(email="rival@globex.test")
        found = {"user": member.pk, "key": made.pk, "below": below.pk, "agent": agent.pk, "rival": rival.pk}
        return {name: str(id_) for name, id_ in found.items()}

    return in_thread(find)  # type: ignore[no-any-return]


async def call(client: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, path, json=body) as answer:
        return answer.status, (await answer.json() if answer.content_length else None)


async def test_limits_over_the_api(site: Site, db: Platform, ids: dict[str, str], ledger: Ledger) -> None:
    ledger.limit(2000)
    program = await site.signed_in("admin")
    program.headers["X-CSRFToken"] = site.csrf(program, "acme")
    for level in ("user", "key", "agent"):
        for limit in (1000, 900):
            wanted = {"level": level, "subject_id": ids[level], "metric": "tokens", "period": "month", "limit": limit}
            status, said = await call(program, "PUT", LIMITS, wanted)
            assert status == 200, said
            assert (said["changed"], said["limit"]["limit"]) == (True, limit)
        assert (await call(program, "PUT", LIMITS, wanted))[1]["changed"] is False
        assert (said["limit"]["left"], said["limit"]["used"], said["limit"]["reserved"]) == (900, 0, 0)
        assert said["limit"]["resets_at"] == clock.next_month(clock.month_of(clock.now())).isoformat()
    cost = {"level": "user", "subject_id": ids["user"], "metric": "cost", "period": "day", "currency": "USD"}
    status, said = await call(program, "PUT", LIMITS, cost | {"limit": "1.25"})
    assert (status, said["limit"]["limit"], said["limit"]["currency"]) == (200, "1.25", "USD")

    status, said = await call(program, "GET", LIMITS)
    own = [(one["level"], one["subject_name"], one["metric"], one["limit"]) for one in said["limits"] if one["id"]]
    assert sorted(one for one in own if one[0] == "user") == [
        ("user", "member@acme.test", "cost", "1.25"), ("user", "member@acme.test", "tokens", 900)
    ]  # fmt: skip
    remove = next(one["id"] for one in said["limits"] if one["metric"] == "cost")
    assert (await call(program, "DELETE", f"{LIMITS}/{remove}"))[0] == 204
    assert (await call(program, "DELETE", f"{LIMITS}/{remove}"))[0] == 404
    whole = next(one["id"] for one in said["limits"] if one["level"] == "tenant" and one["id"])
    assert (await call(program, "DELETE", f"{LIMITS}/{whole}"))[0] == 404, "the operator's"

    def told() -> list[str]:
        with scope.bind(db.acme):
            return list(AuditEvent.objects.filter(action__startswith="limit.").values_list("action", flat=True))

    assert sorted(in_thread(told)) == ["limit.removed"] + ["limit.set"] * 5


NO_LIMITS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"limit": 2001}, "limit"),  # above the workspace's own
    ({"limit": -1}, "limit"), ({"limit": "NaN"}, "limit"), ({"limit": "1.5"}, "limit"), ({"limit": 10**16}, "limit"),
    ({"metric": "words"}, "metric"), ({"period": "year"}, "metric"), ({"metric": "users", "period": ""}, "metric"),
    ({"metric": "cost"}, "currency"), ({"currency": "USD"}, "currency"), ({"level": "tenant"}, "level"),
    ({"limits": 5}, "limits"),
)  # fmt: skip


async def test_what_is_no_limit(site: Site, api_key: Any, ids: dict[str, str], ledger: Ledger) -> None:
    """A38, A25: nobody below has more than the whole."""
    ledger.limit(2000)
    program = site.client("acme", token=api_key())
    whole = {"level": "user", "subject_id": ids["user"], "metric": "tokens", "period": "month", "limit": 10}
    for change, field in NO_LIMITS:
        status, said = await call(program, "PUT", LIMITS, whole | change)
        assert (status, said["error"]["code"], list(said["error"]["details"].get("fields", ()))) == (
            400, "validation_failed", [field],
        ), change  # fmt: skip


async def test_whose_limits_can_be_set(
    site: Site, api_key: Any, ids: dict[str, str], ledger: Ledger, db: Platform
) -> None:
    """Foreign people and ids that never were: the same answer. A key widens neither itself nor what is beside it."""
    program = site.client("acme", token=api_key())
    wanted = {"metric": "tokens", "period": "day", "limit": 10}
    answers = []
    for level, subject in (
        ("user", ids["rival"]),
        ("user", str(uuid.uuid4())),
        ("key", str(uuid.uuid4())),
        ("agent", ids["user"]),
    ):
        status, said = await call(program, "PUT", LIMITS, wanted | {"level": level, "subject_id": subject})
        answers.append((status, said["error"]["code"]))
    assert set(answers) == {(404, "not_found")}

    def token() -> str:
        with scope.bind(db.acme):
            return keys.key_rotate(key=ApiKey.objects.get(pk=ids["key"]), actor="test")

    narrow = site.client("acme", token=in_thread(token))
    below = {"level": "key", "subject_id": ids["below"]}
    assert (await call(narrow, "PUT", LIMITS, wanted | below))[0] == 200
    status, said = await call(narrow, "PUT", LIMITS, wanted | below | {"subject_id": ids["key"]})
    assert (status, said["error"]["code"]) == (403, "permission_denied")


async def test_what_is_left_for_whoever_asks(
    site: Site, api_key: Any, ids: dict[str, str], ledger: Ledger, money: Money
) -> None:
    """People: the workspace's, their own and the agents'; keys: theirs and those above."""
    run = uuid.uuid4()
    await money.hold(run=run, user=uuid.UUID(ids["user"]))
    assert await money.settle(run, user_id=ids["user"])
    await money.hold(user=uuid.UUID(ids["user"]))
    for level, subject in (("user", ids["user"]), ("key", ids["key"]), ("agent", ids["agent"]), ("user", ids["rival"])):
        ledger.limit(500, "tokens", "day", level=level, subject=subject)
    ledger.limit(7, "requests", "minute", level="user", subject=ids["user"])
    member = await site.signed_in("member")
    status, said = await call(member, "GET", "/api/v1/quotas")
    assert status == 200
    shown = {(one["level"], one["metric"], one["period"]): one for one in said["quotas"]}
    own = shown["user", "tokens", "day"]
    assert (own["limit"], own["used"], own["reserved"], own["left"], own["percent"]) == (500, 30, 0, 470, 6)
    assert own["resets_at"].endswith("T00:00:00+00:00")
    whole = shown["tenant", "tokens", "month"]
    assert (whole["used"], whole["reserved"], whole["left"]) == (30, 100, whole["limit"] - 130)
    requests = shown["user", "requests", "minute"]
    assert (requests["limit"], requests["left"]) == (7, 6), "this very request is counted, and the question is not"
    assert {"users", "agents", "storage_bytes", "concurrent_runs"} & {one["metric"] for one in said["quotas"]}
    assert shown["tenant", "concurrent_runs", None]["used"] == 1
    assert ("agent", "tokens", "day") in shown
    assert not any(level == "key" for level, *_ in shown)
    status, said = await call(await site.signed_in("viewer"), "GET", "/api/v1/quotas")
    assert not any(one["level"] == "user" for one in said["quotas"])


async def test_the_page(site: Site, ids: dict[str, str], ledger: Ledger, money: Money) -> None:
    admin = await site.signed_in("admin")
    status, page = await get(admin, PAGE)
    assert status == 200
    assert "Nobody has a limit of their own" in page
    form = {"who": f"user:{ids['user']}", "kind": "cost:month", "amount": "2.50", "currency": "usd"}
    assert await post(admin, PAGE, **form) == (302, PAGE)
    status, page = await get(admin, PAGE)
    assert "0.00 USD of 2.50 USD" in page
    assert "The limit holds from now on." in page
    ledger.limit(100)
    for wrong, said in (
        ({"amount": ""}, "required"), ({"amount": "-1"}, "greater than"), ({"currency": "dollar"}, "3 characters"),
        ({"currency": ""}, "three letters"), ({"kind": "tokens:month", "amount": "101"}, "above what the workspace"),
        ({"kind": "tokens:month", "amount": "1.5", "currency": ""}, "Write a whole number."),
        ({"who": f"user:{ids['rival']}"}, "valid choice"), ({"kind": "users:"}, "valid choice"),
    ):  # fmt: skip
        status, page = await post(admin, PAGE, **(form | wrong))
        assert (status, said in page) == (200, True), (wrong, said)
    limit = in_thread(lambda: ledger.value("SELECT id FROM tenants_limit WHERE level = 'user'"))
    status, page = await post(admin, PAGE, remove="x")
    assert status == 404
    assert await post(admin, PAGE, remove=str(limit)) == (302, PAGE)
    assert (await get(await site.signed_in("member"), PAGE))[0] == 403


async def test_the_line_over_the_pages(
    site: Site, ids: dict[str, str], ledger: Ledger, money: Money, db: Platform
) -> None:
    """From 80 percent on, for whom it concerns, until it is raised; and on the profile whatever it says."""
    from usage import alerts

    def look() -> None:
        with scope.platform():
            alerts.warn_all()

    member, admin = await site.signed_in("member"), await site.signed_in("admin")
    ledger.limit(100, level="user", subject=ids["user"])
    run = uuid.uuid4()
    await money.hold(run=run, user=uuid.UUID(ids["user"]))
    assert await money.settle(run, input_tokens=10, output_tokens=75, user_id=ids["user"])
    assert "pressing" not in (await get(member, "/chat/"))[1]
    in_thread(look)
    for path in ("/chat/", "/profile/"):
        status, page = await get(member, path)
        assert status == 200
        assert 'data-testid="pressing"' in page
        assert "Your own limit · Tokens a month: 85 % used, 15 left" in page
        assert 'data-testid="pressing"' not in (await get(admin, path))[1]
    own, _between, shared = (await get(member, "/profile/"))[1].partition('data-testid="shared-limits"')
    assert "85 of 100 ·" in own.partition('data-testid="my-limits"')[2]
    assert "85 of 100 ·" not in shared
    ledger.limit(1000, level="user", subject=ids["user"])
    assert 'data-testid="pressing"' not in (await get(member, "/chat/"))[1]


async def test_members_agents_and_files_of_a_workspace(db: Platform, ledger: Ledger) -> None:
    """The operator's limit stands in the place of the plan's."""

    def allowed() -> tuple[Any, ...]:
        with scope.bind(db.acme):
            return limits.max_users(), limits.max_agents(), limits.storage_bytes(), limits.requests_per_minute()

    before = in_thread(allowed)
    for metric in ("users", "agents", "storage_bytes"):
        ledger.limit(3, metric, "")
    ledger.limit(4, "requests", "minute")
    assert in_thread(allowed) == (3, 3, 3, 4)
    assert before != (3, 3, 3, 4)


def test_the_console(db: Platform, console: Console) -> None:
    """The operator sets and removes a workspace's own; those below are shown only."""
    with scope.platform():
        plan = {
            "name": "Pro",
            "max_concurrent_runs": 50,
            "ingest_weight": 1,
            "cost_per_month": "12.5",
            "cost_currency": "USD",
        }
        assert console.post("/admin/tenants/plan/pro/change/", **plan).status_code == 302
        changed = AuditEvent.objects.get(action="plan.updated").data["changed"]
        assert changed["cost_per_month"] == "12.5"
        given = {"tenant": str(db.acme.id), "kind": "cost:day", "amount": "5", "currency": "USD"}
        for wrong in (
            {"currency": ""},
            {"amount": "-1"},
            {"amount": "0.0000001"},
            {"kind": "x"},
            {"tenant": str(uuid.uuid4())},
        ):
            assert console.post("/admin/tenants/limit/set", **(given | wrong)).status_code == 200, wrong
        assert not Limit.objects.exists()
        assert console.post("/admin/tenants/limit/set", **given).status_code == 302
        found = Limit.objects.get()
        assert (found.level, found.subject_id, found.set_by) == ("tenant", db.acme.id, f"operator:{console.user.pk}")
        for path in ("", f"{found.pk}/change/", "set", f"{found.pk}/remove"):
            assert console.get(f"/admin/tenants/limit/{path}").status_code == 200, path
        below = Limit.objects.create(
            tenant_id=db.acme.id,
            level="user",
            subject_id=uuid.uuid4(),
            metric="tokens",
            period="day",
            amount=1,
            set_by="x",
        )
        page = console.get(f"/admin/tenants/tenant/{db.acme.id}/change/").content.decode()
        assert "1 in the place of its plan&#x27;s, 1 for its people, keys and agents" in page
        assert digest_of(db.acme.id) in page, "what dashboards call it"
        form = console.get("/admin/tenants/plan/add/").content.decode()
        assert [one.name for one in Plan._meta.fields if f'name="{one.name}"' not in form] == []
        assert console.post(f"/admin/tenants/limit/{below.pk}/remove", sure="on").status_code == 404
        assert console.post(f"/admin/tenants/limit/{found.pk}/remove", sure="on").status_code == 302
        assert list(Limit.objects.values_list("level", flat=True)) == ["user"]
        rows = AuditEvent.objects.filter(tenant_id=db.acme.id, action__startswith="limit.")
        assert sorted(rows.values_list("action", flat=True)) == ["limit.removed", "limit.set"]
