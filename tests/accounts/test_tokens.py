"""JSON Web Tokens: where one is good, what ends it, and that a refresh token works once (A11 to A14, A21, P33 to P36, T6)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
from django.conf import settings
from django.db.models import F

from accounts import selectors, tokens
from accounts.models import AuditEvent, Membership, RefreshFamily, Role, User
from accounts.sessions import end_everything
from chat import http
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tenants import resolve, scope
from tests.chat.conftest import ledger  # noqa: F401 - a fixture
from tests.chat.sockets import close_of, impatient, opened, refused  # noqa: F401 - a fixture
from tests.conftest import PASSWORD, Platform, forget_caches, in_thread


@pytest.fixture
def pair(db: Platform) -> Callable[..., tokens.Pair]:
    """`pair("member")`: tokens of one of the cast."""

    def make(name: str = "member", slug: str = "acme") -> tokens.Pair:
        def begin() -> tokens.Pair:
            with scope.bind(getattr(db, slug)):
                actor = selectors.actor_of_user(User.objects.get(email=f"{name}@{slug}.test").pk)
                assert actor is not None
                return tokens.family_begin(actor=actor, method="password")

        return in_thread(begin)  # type: ignore[no-any-return]

    return make


def claims(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))


def rows(action: str, place: Any) -> list[AuditEvent]:
    def read() -> list[AuditEvent]:
        with scope.platform():
            return list(AuditEvent.objects.filter(action=action, tenant_id=place.id if place else None))

    return in_thread(read)  # type: ignore[no-any-return]


async def me(client: Any, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.get("/api/v1/me", headers=headers) as answer:
        return int(answer.status)


async def post(client: Any, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    async with client.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


# --- sign-in -----------------------------------------------------------------------------------------


async def test_sign_in_on_a_tenants_host(site: Any, db: Platform) -> None:
    client = site.client("acme")
    status, said = await post(client, "/api/auth/login", {"email": " Member@acme.test", "password": PASSWORD})
    assert status == 200, said
    assert set(said) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert (said["token_type"], said["expires_in"]) == ("bearer", 900)
    person = said["user"]
    assert (person["email"], person["role"], person["tenant_id"]) == ("member@acme.test", "member", str(db.acme.id))
    for name, kind, seconds in (("access_token", "access", 900), ("refresh_token", "refresh", 7 * 24 * 3600)):
        found = claims(said[name])
        assert (found["sub"], found["tenant_id"], found["aud"]) == (person["id"], str(db.acme.id), str(db.acme.id))
        assert (found["iss"], found["role"], found["type"]) == (resolve.tenant_url("acme"), "member", kind)
        assert found["exp"] - found["iat"] == seconds
        assert (found["token_version"], len(found["jti"]), len(found["sid"])) == (0, 36, 36)
    async with client.get("/api/v1/me", headers={"Authorization": f"Bearer {said['access_token']}"}) as answer:
        assert (answer.status, (await answer.json())["user"]["id"]) == (200, person["id"])
    assert [row.data["method"] for row in rows("session.created", db.acme)] == ["token:password"]


async def test_sign_in_that_is_refused(site: Any, db: Platform) -> None:
    wrong = {"error": "INVALID_CREDENTIALS", "code": "auth_001", "path": "/api/auth/login"}
    for slug, email, password in [
        ("acme", "member@acme.test", "wrong-password"),
        ("acme", "nobody@nowhere.test", PASSWORD),
        ("acme", "rival@globex.test", PASSWORD),  # a person, but of another tenant
        ("", "stranger@nowhere.test", PASSWORD),  # a member of none
        ("", "member@acme.test", "wrong-password"),
    ]:
        status, said = await post(site.client(slug), "/api/auth/login", {"email": email, "password": password})
        assert status == 401
        assert said.pop("message")
        assert said == wrong
    for body in (
        {},
        {"email": "member@acme.test"},
        {"email": 1, "password": "x"},
        [],
        {"email": "a\0", "password": "x"},
    ):
        status, said = await post(site.client("acme"), "/api/auth/login", body)
        assert (status, said["error"]) == (422, "VALIDATION_ERROR")
    async with site.client("acme").post(
        "/api/auth/login", data="{", headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 422


async def test_a_long_password_is_an_answer(site: Any) -> None:
    body = {"email": "member@acme.test", "password": "密" * 200}
    assert (await post(site.client("acme"), "/api/auth/login", body))[0] == 401


@pytest.fixture
def twofold(db: Platform) -> Any:
    """acme's viewer is a member of globex too, for a while."""

    def join() -> uuid.UUID:
        with scope.platform():
            user = User.objects.get(email="viewer@acme.test")
            Membership.objects.create(tenant_id=db.globex.id, user=user, role=Role.MEMBER)
            return user.pk

    def leave() -> None:
        with scope.platform():
            Membership.objects.filter(tenant_id=db.globex.id, user__email="viewer@acme.test").delete()

    yield in_thread(join)
    in_thread(leave)


async def test_the_platforms_host_asks_for_the_tenant(site: Any, db: Platform, twofold: Any) -> None:
    client = site.client()
    body = {"email": "viewer@acme.test", "password": PASSWORD}
    status, said = await post(client, "/api/auth/login", body)
    assert (status, said["status"]) == (202, "tenant_selection_required")
    assert {one["id"]: one["name"] for one in said["tenants"]} == {
        str(db.acme.id): "Acme",
        str(db.globex.id): "Globex",
    }
    status, said = await post(client, "/api/auth/login/tenant", body | {"tenant_id": str(db.globex.id)})
    assert (status, said["user"]["role"], said["user"]["tenant_id"]) == (200, "member", str(db.globex.id))
    assert await me(site.client("globex"), said["access_token"]) == 200
    assert await me(site.client("acme"), said["access_token"]) == 401
    for tenant_id in (str(uuid.uuid4()), "x"):
        status, said = await post(client, "/api/auth/login/tenant", body | {"tenant_id": tenant_id})
        assert status == (401 if len(tenant_id) > 1 else 422)
    # Where the host names one, the other cannot be chosen.
    status, _ = await post(site.client("acme"), "/api/auth/login/tenant", body | {"tenant_id": str(db.globex.id)})
    assert status == 401


async def test_a_member_of_one_tenant_needs_no_choice(site: Any, db: Platform) -> None:
    status, said = await post(site.client(), "/api/auth/login", {"email": "member@acme.test", "password": PASSWORD})
    assert (status, said["user"]["tenant_id"]) == (200, str(db.acme.id))
    status, again = await post(site.client(), "/api/auth/refresh", {"refresh_token": said["refresh_token"]})
    assert status == 200
    assert await me(site.client("acme"), again["access_token"]) == 200


# --- where it is good --------------------------------------------------------------------------------


async def test_every_door_takes_it(site: Any, pair: Any) -> None:
    client = site.client("acme", token=pair("owner").access)
    for path in ("/api/v1/me", "/api/v1/conversations", "/v1/models"):
        async with client.get(path) as answer:
            assert answer.status == 200, path
    async with client.post("/api/v1/runs", json={"agent": "assistant", "message": "hi"}) as answer:
        assert answer.status == 202, "no CSRF token, no Origin: no cookie is involved"
    async with client.post("/api/v1/ws-ticket") as answer:
        assert answer.status == 201
    async with opened(client):
        pass


async def test_elsewhere_it_is_nothing(site: Any, db: Platform, pair: Any) -> None:
    """A11, P33: at globex, on the platform, in the console, at their sockets: 401, with a row in their own log."""
    token = pair("owner").access
    for slug, path in [
        ("globex", "/api/v1/me"),
        ("globex", "/v1/models"),
        ("", "/v1/models"),
        ("", "/admin/"),
        ("", "/api/v1/me"),
    ]:
        async with site.client(slug, token=token).get(path, allow_redirects=False) as answer:
            assert answer.status == 401, (slug, path)
    assert await refused(site.client("globex", token=token)) == (4401, "token_invalid")
    assert len(rows("token.refused", db.globex)) == 3
    assert len(rows("token.refused", None)) == 3
    assert rows("token.refused", db.acme) == []
    status, said = await post(site.client("globex"), "/api/auth/refresh", {"refresh_token": pair().refresh})
    assert (status, said["code"]) == (401, "auth_003")


def _signed(header: dict[str, Any], body: dict[str, Any], key: bytes) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, body)]
    mac = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


async def test_forgeries(site: Any, pair: Any) -> None:
    """A12: alg=none, another algorithm, kid and jku, the wrong key, a refresh token in an access token's place."""
    good = pair("owner")
    body, key = claims(good.access), tokens.backend().signing_key.encode()
    header = dict(tokens.HEADER)
    assert await me(site.client("acme"), _signed(header, body, key)) == 200, "the forger's tool works"
    forged = [
        _signed(header, body, settings.SECRET_KEY.encode()),
        _signed(header, body, b""),
        _signed(header | {"kid": "../../dev/null"}, body, key),
        _signed(header | {"jku": "https://evil.test/keys"}, body, key),
        _signed(header | {"alg": "none"}, body, key),
        _signed(header | {"alg": "HS512"}, body, key),
        _signed(header | {"alg": "RS256"}, body, key),
        _signed({"alg": "none"}, body, key).rsplit(".", 1)[0] + ".",
        _signed(header, body | {"role": "owner"}, b"x" * 32),
        _signed(header, {name: value for name, value in body.items() if name != "exp"}, key),
        _signed(header, body | {"exp": body["iat"] - 1}, key),
        _signed(header, body | {"type": "refresh"}, key),
        good.access[:-2] + ("AA" if good.access[-2:] != "AA" else "BB"),
        good.refresh,
        "a.b.c",
        "..",
        good.access + "x" * 5000,
    ]
    for token in forged:
        assert await me(site.client("acme"), token) == 401, token
    status, _ = await post(site.client("acme"), "/api/auth/refresh", {"refresh_token": good.access})
    assert status == 401, "an access token does not refresh"


async def test_the_role_in_the_token_is_information_only(site: Any, pair: Any) -> None:
    body, key = claims(pair("viewer").access), tokens.backend().signing_key.encode()
    token = _signed(dict(tokens.HEADER), body | {"role": "owner"}, key)
    async with site.client("acme", token=token).get("/api/v1/me") as answer:
        assert (await answer.json())["role"] == "viewer"


# --- what ends it ------------------------------------------------------------------------------------


async def test_no_token(site: Any) -> None:
    for path in ("/api/auth/refresh", "/api/auth/logout"):
        status, said = await post(site.client("acme"), path, {})
        assert (status, said["error"], said["code"]) == (401, "MISSING_TOKEN", "auth_002")


async def test_logout_ends_the_family(site: Any, db: Platform, pair: Any) -> None:
    ours, other = pair(), pair()
    client = site.client("acme", token=ours.access)
    assert await me(client) == 200
    assert (await post(client, "/api/auth/logout", {}))[0] == 200
    assert tokens._known.seconds <= 2
    forget_caches()
    assert await me(client) == 401
    assert (await post(client, "/api/auth/refresh", {"refresh_token": ours.refresh}))[0] == 401
    assert await me(site.client("acme"), other.access) == 200, "the other sign-in goes on"
    assert (await post(site.client("acme"), "/api/auth/logout", {"refresh_token": other.refresh}))[0] == 200
    assert len(rows("session.ended", db.acme)) == 2


def _change(what: Callable[[], Any]) -> None:
    def run() -> None:
        with scope.platform():
            what()

    in_thread(run)
    forget_caches()


ENDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "token_version": (
        lambda user: end_everything(user.pk),
        lambda user: User.objects.filter(pk=user.pk).update(token_version=0),
    ),
    "version alone": (
        lambda user: User.objects.filter(pk=user.pk).update(token_version=F("token_version") + 1),
        lambda user: User.objects.filter(pk=user.pk).update(token_version=0),
    ),
    "inactive": (
        lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda user: User.objects.filter(pk=user.pk).update(is_active=True),
    ),
    "removed": (
        lambda user: Membership.objects.filter(user=user, tenant__slug="acme").delete(),
        lambda user: Membership.objects.create(
            user=user,
            tenant_id=resolve.lookup("acme.localhost").id,
            role=Role.VIEWER,  # type: ignore[union-attr]
        ),
    ),
}


@pytest.mark.parametrize("how", ENDS)
async def test_what_ends_every_token(site: Any, pair: Any, how: str) -> None:
    """A13, P35: no access, no refresh, afterwards."""
    both = pair("viewer")
    user = in_thread(lambda: _platform(lambda: User.objects.get(email="viewer@acme.test")))
    end, undo = ENDS[how]
    assert await me(site.client("acme"), both.access) == 200
    _change(lambda: end(user))
    try:
        assert await me(site.client("acme"), both.access) == 401
        status, said = await post(site.client("acme"), "/api/auth/refresh", {"refresh_token": both.refresh})
        assert (status, said["error"]) == (401, "INVALID_TOKEN")
    finally:
        _change(lambda: undo(user))
    if how == "removed":
        status = await me(site.client("acme"), both.access)
        assert status == 401, ("who is asked back signs in anew", since(user))
        status, _ = await post(site.client("acme"), "/api/auth/refresh", {"refresh_token": both.refresh})
        assert status == 401


def since(user: Any) -> Any:
    """When the person's memberships and sign-ins began."""
    models = (Membership, tokens.RefreshFamily)
    return in_thread(lambda: _platform(lambda: [list(one.objects.filter(user=user).values()) for one in models]))


def _platform(work: Callable[[], Any]) -> Any:
    with scope.platform():
        return work()


async def test_leaving_one_tenant_is_not_leaving_the_other(site: Any, db: Platform, pair: Any, twofold: Any) -> None:
    """A14."""
    here, there = pair("viewer"), in_thread(lambda: _begin(db.globex, twofold))
    _change(lambda: Membership.objects.filter(user_id=twofold, tenant_id=db.globex.id).delete())
    assert await me(site.client("globex"), there.access) == 401
    assert await me(site.client("acme"), here.access) == 200
    assert (await post(site.client("acme"), "/api/auth/refresh", {"refresh_token": here.refresh}))[0] == 200


def _begin(tenant: Any, user_id: uuid.UUID) -> tokens.Pair:
    with scope.bind(tenant):
        actor = selectors.actor_of_user(user_id)
        assert actor is not None
        return tokens.family_begin(actor=actor, method="password")


async def test_a_suspended_tenant(site: Any, db: Platform, ledger: Any, pair: Any) -> None:
    """A21: 403 for its tokens at both hosts, and nothing changes for globex."""
    ours, rivals = pair(), pair("rival", "globex")
    change = "UPDATE tenants_tenant SET status = %s WHERE slug = 'acme'"
    ledger.rows(change, "suspended")
    forget_caches()
    try:
        assert await me(site.client("acme"), ours.access) == 403
        for client in (site.client("acme"), site.client()):
            assert (await post(client, "/api/auth/refresh", {"refresh_token": ours.refresh}))[0] == 403
        login = {"email": "member@acme.test", "password": PASSWORD}
        for client in (site.client("acme"), site.client()):
            assert (await post(client, "/api/auth/login", login))[0] == 403
        for client, body in ((site.client(), login), (site.client(), login | {"tenant_id": str(db.acme.id)})):
            path = "/api/auth/login/tenant" if "tenant_id" in body else "/api/auth/login"
            assert (await post(client, path, body))[1]["error"] == "TENANT_SUSPENDED"
        assert await me(site.client("globex"), rivals.access) == 200
    finally:
        ledger.rows(change, "active")
        forget_caches()


async def test_open_sockets_and_streams_end_with_it(site: Any, pair: Any, impatient: None, monkeypatch: Any) -> None:
    """P36: revoked, or at `exp`; also a socket that a ticket opened for it."""
    monkeypatch.setattr(tokens._known, "seconds", 0.01)
    both = pair()
    client = site.client("acme", token=both.access)
    async with client.post("/api/v1/ws-ticket") as answer:
        ticket = (await answer.json())["ticket"]
    async with opened(client) as direct, opened(site.client("acme"), f"/ws/chat/?ticket={ticket}") as by_ticket:
        assert (await post(client, "/api/auth/logout", {}))[0] == 200
        assert (await close_of(direct))[0] == 4401
        assert (await close_of(by_ticket))[0] == 4401
    body, key = claims(pair().access), tokens.backend().signing_key.encode()
    from core import clock

    soon = _signed(dict(tokens.HEADER), body | {"exp": int(clock.now().timestamp()) + 2}, key)
    async with opened(site.client("acme", token=soon)) as socket:
        assert (await close_of(socket))[0] == 4401


async def test_an_open_stream_ends_with_it(site: Any, pair: Any, monkeypatch: Any) -> None:
    """P36: the stream is cut off; the run itself goes on."""
    monkeypatch.setattr(http, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(tokens._known, "seconds", 0.01)
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    client = site.client("acme", token=pair().access)
    body = {"agent": "assistant", "message": "hi"}
    async with client.post("/api/v1/runs", json=body, headers={"Accept": "text/event-stream"}) as stream:
        while b"text.delta" not in (seen := await stream.content.readline()) and seen:
            continue
        assert (await post(client, "/api/auth/logout", {}))[0] == 200
        try:
            rest = await asyncio.wait_for(stream.content.read(), 10)
        except aiohttp.ClientPayloadError:
            rest = b""
        assert b"run.completed" not in rest
    gate.set()


# --- refresh -----------------------------------------------------------------------------------------


def rotate(db: Platform, refresh: str) -> str:
    """The next refresh token, or the error's code."""

    def work() -> str:
        with scope.bind(db.acme):
            try:
                return tokens.family_rotate(refresh=refresh).refresh
            except PaasError as error:
                return error.code

    return str(in_thread(work))


def test_a_lost_answer_may_be_asked_for_again(db: Platform, pair: Any, monkeypatch: Any) -> None:
    first = pair().refresh
    second = rotate(db, first)
    assert rotate(db, first) == second, "the same successor, to the letter"
    third = rotate(db, second)
    assert len({first, second, third}) == 3
    assert claims(third)["sid"] == claims(first)["sid"]


def test_a_used_token_ends_the_family(db: Platform, pair: Any) -> None:
    """P34: the grandparent at once, the parent after the grace."""
    first = pair().refresh
    second = rotate(db, first)
    third = rotate(db, second)
    assert rotate(db, first) == "token_invalid"
    assert rotate(db, third) == "token_invalid", "the thief's branch and the owner's alike"
    assert [row.target for row in rows("token.reused", db.acme)] == [claims(first)["sid"]]


def test_the_grace_is_ten_seconds(db: Platform, pair: Any, ledger: Any) -> None:
    assert tokens.GRACE.total_seconds() == 10
    first = pair().refresh
    second = rotate(db, first)
    ledger.rows("UPDATE accounts_refreshfamily SET issued_at = issued_at - interval '11 seconds'")
    assert rotate(db, first) == "token_invalid"
    assert rotate(db, second) == "token_invalid"


def test_a_family_ends_after_thirty_days(db: Platform, pair: Any, ledger: Any) -> None:
    first = pair().refresh
    ledger.rows("UPDATE accounts_refreshfamily SET expires_at = now() + interval '1 day'")
    second = rotate(db, first)
    assert 0 < claims(second)["exp"] - claims(second)["iat"] <= 24 * 3600, "no longer than its family"
    ledger.rows("UPDATE accounts_refreshfamily SET expires_at = now()")
    assert rotate(db, second) == "token_invalid"


@pytest.mark.parametrize("rounds", [6, pytest.param(30, marks=pytest.mark.exhaustive)])
def test_racing_for_one_token(db: Platform, pair: Any, rounds: int) -> None:
    """T6: of 8 that refresh with one token at once, none gets another successor than the rest."""
    current = pair().refresh
    with ThreadPoolExecutor(8) as racers:
        for _ in range(rounds):
            found = set(racers.map(lambda token: rotate(db, token), [current] * 8))
            assert len(found) == 1, found
            current = found.pop()
            assert current.count(".") == 2, current
    with scope.platform():
        assert RefreshFamily.objects.filter(revoked_at=None).count() == 1


def test_a_token_is_kept_out_of_logs(pair: Any) -> None:
    """A24."""
    from core.redaction import redact

    token = pair().access
    assert redact(f"refused {token} of somebody") == "refused [secret] of somebody"
