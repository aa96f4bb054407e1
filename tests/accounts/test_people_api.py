"""Members and invitations over the API: every role at every route, bodies that ask for more, foreign ids (A1, A3, A4)."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import aiohttp
import pytest
from yarl import URL

from accounts import invitations
from accounts.models import AuditEvent, Invitation, Membership, User
from tenants import scope
from tests.accounts.people import as_, events, join, letters, people, person, role_of, within
from tests.conftest import CAST, PASSWORD, Platform, in_thread
from tests.site import Site

__all__ = ["people"]
OTHER = "other@acme.test"
NEW = "new@person.test"


async def browser(site: Site, name: str, slug: str = "acme") -> aiohttp.ClientSession:
    """Signed in, with the header that the pages send."""
    client = await site.signed_in(name, slug)
    client.headers["X-CSRFToken"] = client.cookie_jar.filter_cookies(URL(site.url(slug)))["csrftoken"].value
    return client


async def call(client: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    options: dict[str, Any] = {} if body is None else {"json": body}
    async with client.request(method, path, allow_redirects=False, **options) as answer:
        said = await answer.text()
        return answer.status, await answer.json() if said else None


def invited(db: Platform, email: str = NEW, role: str = "member") -> str:
    owner = as_(db.acme, "owner@acme.test")
    return str(within(db.acme, invitations.invitation_create, actor=owner, email=email, role=role).pk)


def calls(user_id: Any, invitation_id: Any) -> list[tuple[str, str, Any, int]]:
    """Every route: method, path, body, what an owner is answered. None of them before another's end."""
    return [
        ("GET", "/api/v1/members", None, 200),
        ("PATCH", f"/api/v1/members/{user_id}", {"role": "viewer"}, 200),
        ("GET", "/api/v1/invitations", None, 200),
        ("POST", "/api/v1/invitations", {"email": f"{uuid.uuid4().hex}@new.test", "role": "viewer"}, 201),
        ("POST", f"/api/v1/invitations/{invitation_id}/resend", {}, 200),
        ("DELETE", f"/api/v1/invitations/{invitation_id}", None, 204),
        ("POST", "/api/v1/owner-transfer", {"user_id": str(user_id)}, 200),
        ("DELETE", f"/api/v1/members/{user_id}", None, 204),
    ]


@pytest.mark.parametrize("who", [*CAST, "key", "key without", "rival", "nobody"])
async def test_every_role_at_every_route(people: Platform, site: Site, api_key: Any, who: str) -> None:
    user = join(people.acme, OTHER)
    found = invited(people)
    if who in CAST:
        client = await browser(site, who)
    elif who == "rival":  # acme's ids, on globex's host
        client = await browser(site, "rival", "globex")
    elif who == "nobody":
        client = site.client("acme")
    else:
        client = site.client("acme", token=api_key("acme", ["admin:members"] if who == "key" else ["chat:read"]))
    for method, path, body, of_owner in calls(user.pk, found):
        status, said = await call(client, method, path, body)
        if who == "owner" or (who in ("admin", "key") and "owner-transfer" not in path):
            wanted = of_owner
        elif who == "nobody":
            wanted = 401
        elif who == "rival":
            wanted = 404 if str(user.pk) in f"{path}{body}" or found in path else of_owner
        else:
            wanted = 403
        assert status == wanted, f"{method} {path} as {who}: {status} {said}"
        if wanted == 403:
            assert said["error"]["code"] == "permission_denied"
    gone = who in ("owner", "admin", "key")
    assert role_of(people.acme, OTHER) == (None if gone else "member")


async def test_the_list(people: Platform, site: Site) -> None:
    client = await browser(site, "admin")
    status, said = await call(client, "GET", "/api/v1/members")
    assert status == 200
    assert {one["user"]["email"]: one["role"] for one in said["members"]} == {
        f"{name}@acme.test": role for name, role in CAST.items()
    }
    assert said["places"] == {"used": 4, "members": 4, "invited": 0, "allowed": 100}
    mine = next(one for one in said["members"] if one["user"]["email"] == "admin@acme.test")
    assert mine["last_seen_at"] is not None
    assert all(one["last_seen_at"] is None for one in said["members"] if one is not mine)
    assert "password" not in str(said)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        _, page = await call(client, "GET", f"/api/v1/members?limit=3{f'&cursor={cursor}' if cursor else ''}")
        seen += [one["user"]["email"] for one in page["members"]]
        cursor = page["next_cursor"]
    assert seen == [one["user"]["email"] for one in said["members"]]
    _, found = await call(client, "GET", "/api/v1/members?text=VIEW")
    assert [one["user"]["email"] for one in found["members"]] == ["viewer@acme.test"]
    for query in ("limit=0", "limit=501", "limit=x", "cursor=x", f"text={'x' * 201}", "text=%00"):
        status, said = await call(client, "GET", f"/api/v1/members?{query}")
        assert (status, said["error"]["code"]) == (400, "validation_failed"), query


async def test_a_body_that_asks_for_more_gets_no_more(people: Platform, site: Site) -> None:
    """A3, A4"""
    user, rival = join(people.acme, OTHER), person("rival@globex.test")
    client = await browser(site, "admin")
    more = {
        "tenant": str(people.globex.id),
        "tenant_id": str(people.globex.id),
        "user": str(rival.pk),
        "user_id": str(rival.pk),
        "is_staff": True,
        "is_superuser": True,
        "email": "changed@acme.test",
        "password": "changed-by-others",
        "id": str(uuid.uuid4()),
    }
    status, said = await call(client, "PATCH", f"/api/v1/members/{user.pk}", {**more, "role": "viewer"})
    assert (status, said["user"]["email"], said["role"]) == (200, OTHER, "viewer")
    asked = {**more, "email": NEW, "invited_by": str(rival.pk), "accepted_at": "2020-01-01T00:00:00Z"}
    status, said = await call(client, "POST", "/api/v1/invitations", {**asked, "expires_at": "2100-01-01T00:00:00Z"})
    assert status == 201
    assert (said["role"], said["invited_by"]["email"]) == ("member", "admin@acme.test")
    assert not said["expires_at"].startswith("2100")

    def read() -> Any:
        with scope.platform():
            made = Invitation.objects.get(email=NEW)
            return (
                (made.tenant_id, made.accepted_at, str(made.pk) == more["id"]),
                list(Membership.objects.filter(user=rival).values_list("tenant_id", "role")),
            )

    assert in_thread(read) == ((people.acme.id, None, False), [(people.globex.id, "owner")])
    stored = person(OTHER)
    assert (stored.is_staff, stored.is_superuser, stored.check_password("changed-by-others")) == (False, False, False)


async def test_an_admin_makes_no_owner_in_any_way(people: Platform, site: Site) -> None:
    client = await browser(site, "admin")
    user = join(people.acme, OTHER)
    own = person("admin@acme.test").pk
    for method, path, body in (
        ("PATCH", f"/api/v1/members/{user.pk}", {"role": "owner"}),
        ("PATCH", f"/api/v1/members/{own}", {"role": "owner"}),
        ("POST", "/api/v1/invitations", {"email": NEW, "role": "owner"}),
        ("POST", "/api/v1/owner-transfer", {"user_id": str(user.pk)}),
        ("PATCH", f"/api/v1/members/{person('owner@acme.test').pk}", {"role": "member"}),
        ("DELETE", f"/api/v1/members/{person('owner@acme.test').pk}", None),
    ):
        status, said = await call(client, method, path, body)
        assert (status, said["error"]["code"]) == (403, "permission_denied"), f"{method} {path}"
    assert letters() == []


async def test_errors_name_the_field(people: Platform, site: Site) -> None:
    client = await browser(site, "owner")
    user = join(people.acme, OTHER)
    for method, path, body, field in (
        ("PATCH", f"/api/v1/members/{user.pk}", {"role": "king"}, "role"),
        ("PATCH", f"/api/v1/members/{user.pk}", {}, "role"),
        ("POST", "/api/v1/invitations", {"email": "nobody"}, "email"),
        ("POST", "/api/v1/invitations", {"email": OTHER}, "email"),
        ("POST", "/api/v1/invitations", {"email": NEW, "role": "king"}, "role"),
        ("POST", "/api/v1/owner-transfer", {"user_id": "x"}, "user_id"),
    ):
        status, said = await call(client, method, path, body)
        assert (status, said["error"]["code"]) == (400, "validation_failed"), f"{method} {path} {body}"
        assert list(said["error"]["details"]["fields"]) == [field]
    status, said = await call(client, "POST", "/api/v1/members/leave", {})
    assert (status, said["error"]["code"]) == (409, "last_owner")
    assert role_of(people.acme, "owner@acme.test") == "owner"


@pytest.mark.parametrize("who", ["admin", "member", "viewer"])
async def test_everybody_may_leave(people: Platform, site: Site, who: str) -> None:
    client = await browser(site, who)
    assert (await call(client, "POST", "/api/v1/members/leave", {}))[0] == 204
    assert role_of(people.acme, f"{who}@acme.test") is None
    assert (await call(client, "GET", "/api/v1/me"))[0] == 401


async def test_a_write_needs_the_pages_token(people: Platform, site: Site) -> None:
    client = await site.signed_in("owner")
    user = join(people.acme, OTHER)
    for method, path, body, _ in calls(user.pk, invited(people)):
        if method != "GET":
            assert (await call(client, method, path, body))[0] == 403, path
    assert role_of(people.acme, OTHER) == "member"


async def test_who_is_removed_is_out_within_five_seconds(people: Platform, site: Site) -> None:
    """A14, P36: pages, API and an open socket."""
    owner, member = await browser(site, "owner"), await browser(site, "member")
    async with member.ws_connect("/ws/chat/", headers={"Origin": site.url("acme")}) as socket:
        assert (await socket.receive_json())["type"] == "ready"
        began = time.monotonic()
        status, _ = await call(owner, "DELETE", f"/api/v1/members/{person('member@acme.test').pk}")
        assert status == 204
        assert (await call(member, "GET", "/api/v1/me"))[0] == 401, "at once"
        async with asyncio.timeout(5):
            message = await socket.receive()
        assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4401)
        assert time.monotonic() - began < 5
    async with member.get("/chat/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/login/?next=/chat/")


async def test_tokens_of_who_is_removed_end_in_this_tenant_only(people: Platform, site: Site) -> None:
    """A14: access and refresh token of the one are dead, those of the other go on."""
    join(people.acme, "both@acme.test")
    user = join(people.globex, "both@acme.test")
    tokens = {}
    for slug in ("acme", "globex"):
        given = {"email": "both@acme.test", "password": PASSWORD}
        status, tokens[slug] = await call(site.client(slug), "POST", "/api/auth/login", given)
        assert status == 200, tokens[slug]
    owner = await browser(site, "owner")
    assert (await call(owner, "DELETE", f"/api/v1/members/{user.pk}"))[0] == 204
    for slug, access, refresh in (("acme", 401, 401), ("globex", 200, 200)):
        assert (await call(site.client(slug, token=tokens[slug]["access_token"]), "GET", "/api/v1/me"))[0] == access
        body = {"refresh_token": tokens[slug]["refresh_token"]}
        assert (await call(site.client(slug), "POST", "/api/auth/refresh", body))[0] == refresh


async def test_who_is_lowered_may_do_less_at_once(people: Platform, site: Site) -> None:
    owner, admin = await browser(site, "owner"), await browser(site, "admin")
    assert (await call(admin, "GET", "/api/v1/members"))[0] == 200
    await call(owner, "PATCH", f"/api/v1/members/{person('admin@acme.test').pk}", {"role": "member"})
    assert (await call(admin, "GET", "/api/v1/members"))[0] == 403
    (event,) = events(people.acme, "member.role_changed")
    assert event.address == "127.0.0.1"


# --- the operator's console ----------------------------------------------------------------------------


async def test_the_console_shows_memberships_and_edits_none(people: Platform, site: Site) -> None:
    def make() -> None:
        with scope.platform():
            User.objects.create_superuser("operator@platform.test", PASSWORD)

    in_thread(make)
    client = site.client()
    async with client.get("/admin/login/") as answer:
        assert answer.status == 200
    client.headers["Origin"] = site.url()
    client.headers["X-CSRFToken"] = client.cookie_jar.filter_cookies(URL(site.url()))["csrftoken"].value
    form = {"email": "operator@platform.test", "password": PASSWORD}
    async with client.post("/admin/login/", data=form, allow_redirects=False) as answer:
        assert answer.status == 302
    client.headers["X-CSRFToken"] = client.cookie_jar.filter_cookies(URL(site.url()))["csrftoken"].value
    owner = person("owner@acme.test")
    change = f"/admin/accounts/user/{owner.pk}/change/"
    async with client.get(change) as answer:
        page = await answer.text()
    assert answer.status == 200
    assert "acme" in page
    assert 'name="memberships-0-role"' not in page

    def membership() -> Any:
        with scope.platform():
            return Membership.objects.get(user=owner)

    found = in_thread(membership)
    inline = {
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": str(found.pk),
        "memberships-0-user": str(owner.pk),
        "memberships-0-role": "viewer",
        "memberships-0-DELETE": "on",
    }
    fields = {"email": owner.email, "name": "Renamed", "language": "", "is_active": "on"}
    async with client.post(change, data=fields | inline, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
    assert role_of(people.acme, owner.email) == "owner"
    async with client.post(f"/admin/accounts/user/{owner.pk}/delete/", data={"post": "yes"}) as answer:
        assert answer.status == 403
    member = await browser(site, "owner")
    fields.pop("is_active")
    async with client.post(change, data=fields | inline, allow_redirects=False) as answer:
        assert answer.status == 302
    assert (await call(member, "GET", "/api/v1/me"))[0] == 401, "who is deactivated is out everywhere"

    def written() -> list[Any]:
        with scope.platform():
            rows = AuditEvent.objects.filter(tenant=None, action="person.updated", target=str(owner.pk))
            return [row.data for row in rows.order_by("seq")]

    assert in_thread(written) == [{"name": "Renamed"}, {"is_active": "False"}]

    def put_back() -> None:
        with scope.platform():
            User.objects.filter(pk=owner.pk).update(name="", is_active=True)

    in_thread(put_back)
