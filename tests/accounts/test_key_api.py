"""API keys over the API (A22, A24, A25, P41)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from accounts import keys, policies
from accounts.models import ApiKey, AuditEvent
from tenants import scope
from tests.conftest import Platform, in_thread

FULL = {
    "name": "report",
    "scopes": ["chat:read", "chat:write", "agents:execute"],
    "agents": ["assistant"],
    "models": ["demo"],
    "networks": ["203.0.113.0/24"],
    "tokens_per_month": 5000,
    "expires_at": "2999-01-01T00:00:00Z",
}


@pytest.fixture
async def admin(site: Any) -> Any:
    """`await admin("POST", "/api/v1/keys", {...})` as acme's admin, in a browser."""
    session = await site.signed_in("admin")
    csrf = session.cookie_jar.filter_cookies(URL(site.url("acme")))["csrftoken"].value

    async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await ask(session, method, path, body, {"X-CSRFToken": csrf})

    return call


async def ask(session: Any, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
    async with session.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None


async def test_a_key_from_making_to_revoking(site: Any, admin: Any) -> None:
    status, made = await admin("POST", "/api/v1/keys", FULL)
    assert status == 201
    token, key = made["token"], made["key"]
    assert keys.TOKEN.match(token)
    assert {name: key[name] for name in FULL if name != "expires_at"} == {
        name: value for name, value in FULL.items() if name != "expires_at"
    }
    assert (key["expires_at"], key["state"], key["tokens_used"], key["tokens_left"]) == (
        "2999-01-01T00:00:00+00:00", "active", 0, 5000,
    )  # fmt: skip
    assert key["created_by"]["email"] == "admin@acme.test"
    assert key["actions"] == ["agents:execute", "chat:read", "chat:write"]

    place = f"/api/v1/keys/{key['id']}"
    assert (await admin("GET", place)) == (200, {"key": key}), "the token is shown once"
    status, listed = await admin("GET", "/api/v1/keys")
    assert (status, listed["keys"], listed["count"]) == (200, [key], 1)

    program = site.client("acme", token=token)
    assert (await ask(program, "GET", "/api/v1/me"))[1]["error"]["code"] == "address_not_allowed"
    status, changed = await admin("PATCH", place, {"networks": [], "scopes": ["chat:read"]})
    assert (status, changed["key"]["networks"], changed["key"]["agents"]) == (200, [], ["assistant"])
    keys.forget_all()
    assert (await ask(program, "GET", "/api/v1/me"))[1]["scopes"] == ["chat:read"]

    status, rotated = await admin("POST", f"{place}/rotate")
    assert (status, rotated["key"]["id"]) == (200, key["id"])
    keys.forget_all()
    assert (await ask(program, "GET", "/api/v1/me"))[0] == 401
    program = site.client("acme", token=rotated["token"])
    assert (await ask(program, "GET", "/api/v1/me"))[0] == 200

    assert (await admin("DELETE", place)) == (204, None)
    keys.forget_all()
    assert (await ask(program, "GET", "/api/v1/me"))[1]["error"]["code"] == "invalid_api_key"
    assert (await admin("GET", place))[0] == 404
    assert (await admin("GET", "/api/v1/keys"))[1]["keys"] == []


async def test_each_act_has_its_row_in_the_audit_log(site: Any, admin: Any, db: Platform) -> None:
    _, made = await admin("POST", "/api/v1/keys", {"name": "a", "scopes": ["chat:read"]})
    place = f"/api/v1/keys/{made['key']['id']}"
    await admin("PATCH", place, {"name": "b"})
    await admin("PATCH", place, {"name": "b"})  # which changes nothing
    await admin("POST", f"{place}/rotate")
    await admin("DELETE", place)

    def rows() -> Any:
        with scope.bind(db.acme):
            found = AuditEvent.objects.filter(action__startswith="api_key.").order_by("seq")
            return [(one.action, one.actor.split(":")[0], one.target, one.data["name"]) for one in found]

    names = (("created", "a"), ("updated", "b"), ("rotated", "b"), ("revoked", "b"))
    assert in_thread(rows) == [(f"api_key.{what}", "user", made["key"]["id"], name) for what, name in names]


@pytest.mark.parametrize(
    ("change", "status", "place"),
    [
        ({"scopes": []}, 400, "scopes"),
        ({"scopes": ["chat:everything"]}, 400, "scopes"),
        ({"scopes": ["admin:owner"]}, 400, "scopes"),
        ({"scopes": "chat:read"}, 400, "scopes"),
        ({"name": " "}, 400, "name"),
        ({"name": "x" * 81}, 400, "name"),
        ({"networks": ["203.0.113.7/24"]}, 400, "allowed_networks"),
        ({"tokens_per_month": 0}, 400, "tokens_per_month"),
        ({"tokens_per_month": 10**18}, 400, "tokens_per_month"),
        ({"expires_at": "tomorrow"}, 400, "expires_at"),
        ({"netwroks": ["203.0.113.7"]}, 400, "netwroks"),  # a limit that is misspelt is not no limit
        ({"tenant_id": str(uuid.uuid4())}, 400, "tenant_id"),
        ({"created_by": str(uuid.uuid4())}, 400, "created_by"),
    ],
)
async def test_what_makes_no_key(admin: Any, change: dict[str, Any], status: int, place: str) -> None:
    found, said = await admin("POST", "/api/v1/keys", {"name": "k", "scopes": ["chat:read"]} | change)
    assert (found, said["error"]["code"], list(said["error"]["details"]["fields"])) == (
        status, "validation_failed", [place],
    )  # fmt: skip
    assert (await admin("GET", "/api/v1/keys"))[1]["count"] == 0


async def test_a_name_is_taken_once(admin: Any) -> None:
    assert (await admin("POST", "/api/v1/keys", {"name": "k", "scopes": ["*"]}))[0] == 201
    status, said = await admin("POST", "/api/v1/keys", {"name": "k", "scopes": ["*"]})
    assert (status, said["error"]["code"]) == (409, "already_exists")


async def test_a_key_mints_only_what_is_narrower_and_below_itself(
    site: Any, admin: Any, api_key: Callable[..., str], db: Platform
) -> None:
    """A25."""
    scopes = ["admin:keys", "chat:read", "chat:write"]
    own = site.client("acme", token=api_key("acme", scopes, agents=["assistant"]))
    _, listed = await ask(own, "GET", "/api/v1/keys")
    assert listed["count"] == 1
    itself = listed["keys"][0]["id"]
    for wider in (["*"], ["admin:*"], [*scopes, "usage:read"], ["agents:execute"]):
        status, said = await ask(own, "POST", "/api/v1/keys", {"name": "wide", "scopes": wider})
        assert (status, said["error"]["code"]) == (403, "permission_denied")
    status, said = await ask(own, "POST", "/api/v1/keys", {"name": "w", "scopes": ["chat:read"], "agents": ["other"]})
    assert (status, list(said["error"]["details"]["fields"])) == (403, ["agents"])
    for body in ({"scopes": ["*"]}, {"scopes": ["chat:read"]}, {"agents": []}, {"name": "me"}):
        status, said = await ask(own, "PATCH", f"/api/v1/keys/{itself}", body)
        assert (status, said["error"]["code"]) == (403, "permission_denied")
    for method, path in (("POST", f"/api/v1/keys/{itself}/rotate"), ("DELETE", f"/api/v1/keys/{itself}")):
        assert (await ask(own, method, path))[0] == 403

    status, made = await ask(own, "POST", "/api/v1/keys", {"name": "narrow", "scopes": ["chat:read"]})
    assert (status, made["key"]["parent_id"], made["key"]["created_by"]) == (201, itself, None)
    assert (await ask(own, "PATCH", f"/api/v1/keys/{made['key']['id']}", {"scopes": ["usage:read"]}))[0] == 403
    assert (await ask(own, "PATCH", f"/api/v1/keys/{made['key']['id']}", {"scopes": ["chat:write"]}))[0] == 200
    _, another = await admin("POST", "/api/v1/keys", {"name": "another", "scopes": ["*"]})
    for method, body in (("GET", None), ("PATCH", {"name": "mine"}), ("DELETE", None)):
        assert (await ask(own, method, f"/api/v1/keys/{another['key']['id']}", body))[0] == 404
    taken = {"name": "x", "scopes": ["chat:read"], "parent_id": another["key"]["id"]}
    assert (await ask(own, "POST", "/api/v1/keys", taken))[0] == 404

    child = site.client("acme", token=made["token"])
    assert (await ask(child, "GET", "/api/v1/keys"))[0] == 403
    assert (await ask(child, "POST", "/api/v1/keys", {"name": "y", "scopes": ["chat:read"]}))[0] == 403
    assert in_thread(lambda: _count(db)) == 3


def _count(db: Platform) -> int:
    with scope.bind(db.acme):
        return ApiKey.objects.count()


async def test_only_admin_keys_opens_these_routes(site: Any, api_key: Callable[..., str], db: Platform) -> None:
    """A22: each action by itself."""
    token = api_key("acme", ["admin:keys"])
    nowhere = uuid.uuid4()
    routes = [
        ("GET", "/api/v1/keys", None, 200),
        ("POST", "/api/v1/keys", {"name": "child", "scopes": ["admin:keys"]}, 201),
        ("GET", f"/api/v1/keys/{nowhere}", None, 404),
        ("PATCH", f"/api/v1/keys/{nowhere}", {"name": "x"}, 404),
        ("DELETE", f"/api/v1/keys/{nowhere}", None, 404),
        ("POST", f"/api/v1/keys/{nowhere}/rotate", None, 404),
    ]
    program = site.client("acme", token=token)
    for action in sorted(policies.KEY_ACTIONS - {"admin:keys"}) + ["admin:keys"]:

        def give(action: str = action) -> None:
            with scope.bind(db.acme):
                keys.key_update(key=ApiKey.objects.get(), scopes=[action], actor="test")

        in_thread(give)
        keys.forget_all()
        for method, path, body, status in routes:
            found, _ = await ask(program, method, path, body)
            assert found == (status if action == "admin:keys" else 403), (action, method, path)


@pytest.mark.parametrize(("name", "status"), [("owner", 200), ("admin", 200), ("member", 403), ("viewer", 403)])
async def test_roles(site: Any, name: str, status: int) -> None:
    session = await site.signed_in(name)
    assert (await ask(session, "GET", "/api/v1/keys"))[0] == status
    async with session.get("/settings/keys/") as answer:
        assert answer.status == status


async def test_new_tokens_are_in_no_record(
    site: Any, admin: Any, caplog: pytest.LogCaptureFixture, services: Any
) -> None:
    """A24: a token leaves the platform once, in the answer that makes it."""
    import psycopg

    caplog.set_level(logging.DEBUG)
    _, made = await admin("POST", "/api/v1/keys", {"name": "a", "scopes": ["admin:keys"]})
    _, rotated = await admin("POST", f"/api/v1/keys/{made['key']['id']}/rotate")
    _, child = await ask(
        site.client("acme", token=rotated["token"]), "POST", "/api/v1/keys", {"name": "b", "scopes": ["admin:keys"]}
    )
    said = str(await admin("GET", "/api/v1/keys")) + str(await admin("GET", "/api/v1/audit"))
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as connection:
        for table in ("accounts_auditevent", "accounts_apikey", "accounts_session", "django_admin_log"):
            said += str(connection.execute(f"SELECT x::text FROM public.{table} x".encode()).fetchall())
    for answer in (made, rotated, child):
        assert answer["token"] not in said + caplog.text
        assert answer["token"][9:] not in said + caplog.text
