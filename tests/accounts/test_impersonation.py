"""An operator acts as somebody: with a reason, for half an hour, reading only, and written down (P61, A67, A68)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from yarl import URL

from accounts import impersonation
from accounts.models import AuditEvent, Impersonation, Session, User
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from tests.conftest import PASSWORD, Platform, in_thread
from tests.site import Site

REASON = "Ticket 4711: the conversation list stays empty"
OPERATOR = "operator@platform.test"


@pytest.fixture
def operator(db: Platform) -> Iterator[User]:
    def make() -> User:
        with scope.platform():
            User.objects.filter(email=OPERATOR).delete()  # other tests leave theirs
            return User.objects.create_superuser(OPERATOR, PASSWORD)

    def remove() -> None:
        with scope.platform():
            Impersonation.objects.all().delete()
            User.objects.filter(email=OPERATOR).delete()

    yield in_thread(make)
    in_thread(remove)


def ask(operator: User, who: str = "owner@acme.test", slug: str = "acme", reason: str = REASON) -> str:
    """The link."""

    def create() -> str:
        with scope.platform():
            return impersonation.impersonation_create(
                operator=User.objects.get(pk=operator.pk),
                user=User.objects.get(email=who),
                tenant=Tenant.objects.get(slug=slug),
                reason=reason,
            )

    return str(in_thread(create))


def code_of(link: str) -> str:
    return URL(link).query["code"]


async def acting(site: Site, operator: User, who: str = "owner@acme.test") -> aiohttp.ClientSession:
    """A browser that acts as a person of acme."""
    client = site.client("acme")
    async with client.get(f"/impersonate/?code={code_of(ask(operator, who))}", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/chat/"), await answer.text()
    client.headers["Origin"] = site.url("acme")
    client.headers["X-CSRFToken"] = client.cookie_jar.filter_cookies(URL(site.url("acme")))["csrftoken"].value
    return client


def events(action: str, tenant: Any) -> list[AuditEvent]:
    def read() -> list[AuditEvent]:
        with scope.bind(tenant) if tenant else scope.platform():
            rows = AuditEvent.objects.filter(action=action, tenant_id=tenant.id if tenant else None)
            return list(rows.order_by("seq"))

    return list(in_thread(read))


async def status_of(client: aiohttp.ClientSession, path: str, method: str = "GET", **options: Any) -> int:
    async with client.request(method, path, allow_redirects=False, **options) as answer:
        return answer.status


@contextmanager
def later(minutes: float) -> Iterator[None]:
    """The row as it is after that time."""

    def move(by: timedelta) -> None:
        with scope.platform():
            for row in Impersonation.objects.all():
                Impersonation.objects.filter(pk=row.pk).update(expires_at=row.expires_at - by)

    in_thread(lambda: move(timedelta(minutes=minutes)))
    yield


async def test_it_looks_and_changes_nothing(db: Platform, site: Site, operator: User) -> None:
    """A67: reads as the person; no write, no profile, no key, no settings, whatever the person's role."""
    client = await acting(site, operator)
    async with client.get("/api/v1/me") as answer:
        me = await answer.json()
        assert me["user"]["email"] == "owner@acme.test"
        assert me["scopes"] == ["admin:audit", "chat:read", "knowledge:read", "usage:read"]
    assert await status_of(client, "/api/v1/conversations") == 200
    assert await status_of(client, "/settings/audit/") == 200
    for method, path in (
        ("POST", "/api/v1/ws-ticket"),
        ("PATCH", f"/api/v1/conversations/{uuid.uuid4()}"),
        ("DELETE", f"/api/v1/conversations/{uuid.uuid4()}"),
        ("GET", "/profile/"),
        ("GET", "/profile/identities/"),
        ("GET", "/api/v1/me/sessions"),
        ("POST", "/profile/"),
        ("POST", "/settings/keys/"),
        ("POST", "/login/"),
        ("POST", "/api/v1/keys"),
    ):
        async with client.request(method, path, json={}, allow_redirects=False) as answer:
            assert answer.status == 403, (method, path)
            assert "impersonation_forbids" in await answer.text()
    for path, body in (
        ("/api/v1/runs", {"agent": "assistant", "message": "x"}),
        ("/v1/chat/completions", {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}),
        (f"/api/v1/runs/{uuid.uuid4()}/cancel", {}),
    ):
        assert await status_of(client, path, "POST", json=body) == 403, path


async def test_its_sockets_may_not_write_and_end_with_it(db: Platform, site: Site, operator: User) -> None:
    """A67, P36: the socket has the same few rights, and is closed when the impersonation is."""
    client = await acting(site, operator)
    async with client.ws_connect("/ws/chat/") as socket:
        assert (await socket.receive_json())["type"] == "ready"
        await socket.send_json({"type": "turn.start", "ref": "1", "agent": "assistant", "message": "x"})
        assert (await socket.receive_json(timeout=5))["code"] == "permission_denied"
        with later(31):
            message = await socket.receive(timeout=8)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == 4401


async def test_every_page_says_so_and_it_can_be_ended(db: Platform, site: Site, operator: User) -> None:
    client = await acting(site, operator)
    for path in ("/chat/", "/settings/audit/", "/no-such-page"):
        async with client.get(path) as answer:
            page = await answer.text()
            assert 'data-testid="acting"' in page
            assert "owner@acme.test" in page
    assert await status_of(client, "/impersonate/end/", "POST") == 302
    assert await status_of(client, "/api/v1/me") == 401
    async with client.get("/login/") as answer:
        assert 'data-testid="acting"' not in await answer.text()
    (ended,) = events("impersonation.ended", db.acme)
    assert ended.data["operator"] == OPERATOR


async def test_after_half_an_hour_it_is_over(db: Platform, site: Site, operator: User) -> None:
    """A67: the time is absolute; whatever is asked on the way does not lengthen it."""
    client = await acting(site, operator)

    def rows() -> list[Any]:
        with scope.bind(db.acme):
            return list(Session.objects.values_list("expire_date", flat=True))

    (expires,) = in_thread(rows)
    assert expires <= clock.now() + timedelta(minutes=impersonation.MINUTES)
    with later(29.9):
        assert await status_of(client, "/api/v1/me") == 200
    with later(0.2):
        assert await status_of(client, "/api/v1/me") == 401
        assert await status_of(client, "/chat/") == 302

    def sweep() -> int:
        with scope.platform():
            return impersonation.end_overdue()

    assert in_thread(sweep) == 1
    assert in_thread(sweep) == 0
    (ended,) = events("impersonation.ended", db.acme)
    assert ended.data["how"] == "time"


async def test_an_operator_who_is_none_any_more_is_out(db: Platform, site: Site, operator: User) -> None:
    client = await acting(site, operator)
    assert await status_of(client, "/api/v1/me") == 200

    def deactivate() -> None:
        with scope.platform():
            User.objects.filter(pk=operator.pk).update(is_staff=False)

    in_thread(deactivate)
    assert await status_of(client, "/api/v1/me") == 401


async def test_it_is_all_written_down(db: Platform, site: Site, operator: User) -> None:
    """A67: who, as whom, why; in the tenant's own log too, and in every row that is written meanwhile."""
    client = await acting(site, operator)
    assert await status_of(client, "/api/v1/audit/export?format=csv") == 200
    assert await status_of(client, "/logout/", "POST") == 302
    (created,) = events("impersonation.created", None)
    assert (created.actor, created.data["reason"], created.data["tenant"]) == (
        f"operator:{operator.pk}", REASON, "acme",
    )  # fmt: skip
    (started,) = events("impersonation.started", db.acme)
    assert started.actor == f"operator:{operator.pk}"
    assert (started.data["reason"], started.data["operator"]) == (REASON, OPERATOR)
    (exported,) = events("audit.exported", db.acme)
    assert exported.actor.startswith("user:")
    assert exported.data["impersonator"] == str(operator.pk)
    (ended,) = events("impersonation.ended", db.acme)
    assert ended.data["impersonator"] == str(operator.pk)
    assert not events("session.created", db.acme), "the person was not here"

    def last_login() -> Any:
        with scope.bind(db.acme):
            return User.objects.get(email="owner@acme.test").last_login

    before = in_thread(last_login)
    await acting(site, operator)
    assert in_thread(last_login) == before


async def test_the_link_works_once_and_there_only(db: Platform, site: Site, operator: User) -> None:
    """A15: replayed, at another tenant's host, made up, empty: the same answer."""
    link = f"/impersonate/?code={code_of(ask(operator))}"
    assert await status_of(site.client("globex"), link) == 404
    assert await status_of(site.client("acme"), link) == 302
    assert await status_of(site.client("acme"), link) == 404
    assert await status_of(site.client("acme"), f"/impersonate/?code={uuid.uuid4().hex}") == 404
    assert await status_of(site.client("acme"), "/impersonate/?code=%00") == 404
    assert await status_of(site.client("acme"), "/impersonate/") == 404


def test_who_may_ask(db: Platform, operator: User) -> None:
    with pytest.raises(PaasError) as none:
        ask(operator, reason="  because   ")
    assert none.value.code == "validation_failed"
    with pytest.raises(PaasError) as stranger:
        ask(operator, "rival@globex.test", "acme")
    assert stranger.value.code == "permission_denied"

    def owner() -> User:
        with scope.platform():
            return User.objects.get(email="owner@acme.test")

    with pytest.raises(PaasError) as nobody:
        ask(in_thread(owner), "member@acme.test")
    assert nobody.value.code == "permission_denied"
    assert not events("impersonation.created", None)


async def console(site: Site, who: str = OPERATOR) -> aiohttp.ClientSession:
    """A browser with an operator's session."""
    return await site.signed_in_on_platform(who)


async def test_the_console_asks_for_a_reason(db: Platform, site: Site, operator: User) -> None:
    client = await console(site)

    def person() -> uuid.UUID:
        with scope.platform():
            return User.objects.get(email="member@acme.test").pk

    page = f"/admin/accounts/user/{in_thread(person)}/act-as/"
    async with client.get(page, allow_redirects=False) as answer:
        assert answer.status == 200, answer.headers.get("Location")
        assert "member@acme.test" in await answer.text()
    token = client.cookie_jar.filter_cookies(URL(site.url()))["csrftoken"].value
    form = {"csrfmiddlewaretoken": token, "tenant": str(db.acme.id), "reason": "short"}
    assert await status_of(client, page, "POST", data=form) == 200
    async with client.post(page, data={**form, "reason": REASON}, allow_redirects=False) as answer:
        assert answer.status == 302
        assert answer.headers["Location"].startswith("http://acme.")
    assert await status_of(client, "/admin/accounts/user/nonsense/act-as/") == 404
    for address in ("impersonation/", "auditevent/", "auditevent/?q=acme", "auditevent/export/?format=jsonl"):
        assert await status_of(client, f"/admin/accounts/{address}") == 200, address
    for address in ("auditevent/export/?format=exe", "auditevent/export/?format=csv&q=%00"):
        assert await status_of(client, f"/admin/accounts/{address}") in (200, 404), address


async def test_a_tenants_owner_has_no_console(db: Platform, site: Site, operator: User) -> None:
    """A66"""
    own = await site.signed_in("owner")
    client = await console(site, "owner@acme.test")
    for path in ("/admin/", f"/admin/accounts/user/{operator.pk}/act-as/", "/admin/accounts/auditevent/export/"):
        assert await status_of(own, path) == 404
        assert await status_of(client, path) in (302, 403, 404)
