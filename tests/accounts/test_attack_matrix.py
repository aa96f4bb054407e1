"""Every address x every identity (T4): what `tests/contracts/access.py` declares, and nothing else.

Who may not, asks with ids that are there and bodies that are valid, so that nothing but the missing right stands in
the way; who may, asks to read what is there, and to write to what is not.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from django.conf import settings
from django.core.cache import cache
from yarl import URL

from accounts.models import User
from core import clock
from tenants import ratelimit, resolve, scope
from tenants.models import Tenant
from tests.conftest import PASSWORD, Platform, forget_caches, in_thread
from tests.contracts import access, tenancy
from tests.contracts.access import ANY, DOORS, FRAMES, JOBS, KINDS, PLATFORM, TENANT, Access, Identity
from tests.site import Site
from tests.tenants.test_tenancy_contract import MARK, Acme, acme  # noqa: F401  # the fixture, with things to lose

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EVERYTHING = TENANT | DOORS
AT_ONCE = 8


# --- everything is declared --------------------------------------------------------------------------


def test_every_route_of_a_tenants_host_says_who_it_is_for() -> None:
    found = set(access.routes_of(settings.TENANT_URLCONF))
    assert found - TENANT.keys() == set(), "say in tests/contracts/access.py who may do what there"
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
        assert declared.kind in KINDS
        assert {word for needs in declared.needs.values() for word in needs.split()} <= ACTIONS, route
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
        if "builtin_tasks" not in name and not name.startswith("test")
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


# --- the identities ----------------------------------------------------------------------------------


@contextmanager
def suspended(tenant: Any) -> Iterator[None]:
    def set_status(status: str) -> None:
        with scope.platform():
            Tenant.objects.filter(pk=tenant.id).update(status=status)

    in_thread(lambda: set_status("suspended"))
    forget_caches()
    try:
        yield
    finally:
        in_thread(lambda: set_status("active"))
        forget_caches()


def session_of(tenant: Any, email: str) -> str:
    """The cookie of a session of this person on the tenant's host (None: the platform's), as sign-in makes one."""
    from importlib import import_module

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    def make() -> str:
        with scope.platform():
            user = User.objects.get(email=email)
        with scope.bind(tenant) if tenant else scope.platform():
            store = import_module(settings.SESSION_ENGINE).SessionStore()
            store[SESSION_KEY] = str(user.pk)
            store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            store[HASH_SESSION_KEY] = user.get_session_auth_hash()
            store.create()
        for pool in cache._cache._pools.values():  # type: ignore[attr-defined]  # this thread's own, which ends here
            pool.disconnect()
        return str(store.session_key)

    return str(in_thread(make))


def key_of(tenant: Any, scopes: str, **fields: Any) -> str:
    """A new key's token. fields: what is then changed in its row behind the services' back."""
    from accounts.keys import key_create
    from accounts.models import ApiKey

    def make() -> str:
        with scope.bind(tenant):
            key, token = key_create(name=uuid.uuid4().hex, scopes=scopes.split(), actor="test")
            if fields:
                ApiKey.objects.filter(pk=key.pk).update(**fields)
            return token

    return str(in_thread(make))


GONE, OPERATOR, STAFF, PAST = "gone@acme.test", "root@platform.test", "staff@platform.test", "past@platform.test"


@pytest.fixture
def extras(db: Platform) -> Iterator[None]:
    """Beside the cast: a deactivated admin of acme, an operator, a former operator, and staff without any right."""
    from accounts.services import member_set

    def make() -> None:
        with scope.platform():
            acme = Tenant.objects.get(pk=db.acme.id)
            member_set(tenant=acme, email=GONE, role="admin", password=PASSWORD, actor="test")
            User.objects.create_superuser(OPERATOR, PASSWORD)
            User.objects.create_superuser(PAST, PASSWORD)
            User.objects.create_user(STAFF, PASSWORD)
            User.objects.filter(email=STAFF).update(is_staff=True)

    def remove() -> None:
        with scope.platform():
            User.objects.filter(email__in=(GONE, OPERATOR, STAFF, PAST)).delete()

    in_thread(make)
    yield
    in_thread(remove)


def deactivate(*emails: str) -> None:
    def write() -> None:
        with scope.platform():
            assert User.objects.filter(email__in=emails).update(is_active=False) == len(emails)

    in_thread(write)


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix asks more often than anybody may."""

    async def admitted(*limits: Any, **options: Any) -> None: ...

    monkeypatch.setattr(ratelimit, "check", lambda *limits, **options: None)
    monkeypatch.setattr(ratelimit, "acheck", admitted)


@pytest.fixture
def people(db: Platform, extras: None) -> list[Identity]:
    """Everybody who knocks at acme's host."""
    nothing = frozenset[str]()
    found = [
        Identity(role, access.of_role(role), True, session_of(db.acme, f"{role}@acme.test"))
        for role in ("viewer", "member", "admin", "owner")
    ]
    found += [
        Identity(f"key {name}", access.of_scope(name), token=key_of(db.acme, name))
        for name in (*access.SINGLE_SCOPES, "*")
    ]
    past = clock.now() - timedelta(seconds=1)
    gone, stranger = session_of(db.acme, GONE), session_of(db.acme, "stranger@nowhere.test")
    deactivate(GONE)
    found += [
        Identity("anonymous"),
        Identity("deactivated", session=gone),
        Identity("stranger", session=stranger),
        Identity("rival's session", session=session_of(db.globex, "rival@globex.test")),
        Identity("rival here", session=session_of(db.acme, "rival@globex.test")),
        Identity("operator's session", session=session_of(None, OPERATOR)),
        Identity("owner's platform session", session=session_of(None, "owner@acme.test")),
        Identity("rival's key", token=key_of(db.globex, "*")),
        Identity("expired key", token=key_of(db.acme, "*", expires_at=past)),
        Identity("revoked key", token=key_of(db.acme, "*", revoked_at=past)),
        Identity("made-up key", token=f"ak_{uuid.uuid4().hex}"),
    ]
    assert nothing not in [one.actions for one in found], "an identity without any right tells nothing"
    return found


@dataclass
class Door:
    """A host, knocked at a few times at once, and what was wrong with its answers."""

    site: Site
    slug: str

    def __post_init__(self) -> None:
        self.client = self.site.client(self.slug, cookie_jar=aiohttp.DummyCookieJar())
        self.places = asyncio.Semaphore(AT_ONCE)

    async def ask(
        self, who: Identity, method: str, path: str, body: Any = None, *, form: bool = False
    ) -> tuple[int, str]:
        """(status, where it leads): where is the path on this host, or the whole address elsewhere."""
        headers = who.headers | {"Origin": self.site.url(self.slug)}
        sent: dict[str, Any] = {} if method in ("GET", "OPTIONS") else {"data" if form else "json": body or {}}
        async with (
            self.places,
            self.client.request(method, path, headers=headers, allow_redirects=False, **sent) as answer,
        ):
            if answer.content_type != "text/event-stream":
                assert MARK not in await answer.text() or answer.status == 200
            return answer.status, answer.headers.get("Location", "")

    def leads_away(self, to: str, allowed: Iterable[str]) -> bool:
        """Whether a redirect leaves this host without being allowed to."""
        if not to:
            return False
        found = URL(self.site.url(self.slug)).join(URL(to))
        own = URL(self.site.url(self.slug)).host
        places = {"platform": found.host in ("localhost", *settings.PLATFORM_HOSTS)}
        places |= {"tenant": str(found.host).endswith(".localhost"), "elsewhere": True}
        return found.host != own and not any(places[name] for name in allowed)


def lines(wrong: Iterable[Any]) -> str:
    return "\n".join(map(str, wrong))


def to_sign_in(to: str) -> bool:
    return URL(to).path in ("/login/", "/accounts/login/", "/admin/login/")


def complaint(declared: Access, method: str, who: Identity, status: int, to: str, *, by_id: bool) -> str:
    """What is wrong with this answer; "" when nothing is."""
    if status >= 500:
        return "failed"
    if method not in declared.needs:
        # A redirect on this host does nothing; one that leaves it is found elsewhere.
        return "" if status in (301, 302, 401, 403, 404, 405) else "a method that is not declared"
    if declared.kind == "public":
        return ""
    if declared.allows(method, who):
        return "refused, but it may" if status in (401, 403) or (to and to_sign_in(to)) else ""
    if who.actions is None or (declared.kind == "page" and not who.person):
        if declared.kind in ("page", "signed", "console"):
            return "" if status in (403, 404) or (status == 302 and to_sign_in(to)) else "let in, but is nobody"
        return "" if status == 401 else "let in, but is nobody"
    return "" if status == 403 or (status == 404 and by_id) else "let in without the right"


# --- acme's host -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    who: Identity
    method: str
    route: str

    @property
    def declared(self) -> Access:
        return EVERYTHING[self.route]

    @property
    def allowed(self) -> bool:
        return self.method in self.declared.needs and self.declared.allows(self.method, self.who)

    async def run(self, door: Door, ids: dict[str, str], unknown: dict[str, str]) -> str:
        contract = (tenancy.ROUTES | tenancy.DOORS)[self.route]
        writes = self.allowed and self.method != "GET"
        path = tenancy.filled(self.route, contract, unknown if writes else ids)
        body = {} if writes else (contract.body or access.BODIES.get(self.route, {}))
        status, to = await door.ask(self.who, self.method, path, body, form=contract.page)
        wrong = complaint(self.declared, self.method, self.who, status, to, by_id=bool(contract.ids))
        if not wrong and door.leads_away(to, self.declared.leads):
            wrong = "led away"
        return f"{self.method} {self.route} as {self.who.name}: {wrong} ({status} {to})" if wrong else ""


def attempts(people: list[Identity]) -> list[Attempt]:
    """Every declared method as everybody, and the others as those who may most, and as nobody."""
    found = []
    for route, declared in EVERYTHING.items():
        for who in people:
            strong = who.name in ("anonymous", "owner", "key *")
            alike = declared.kind in ("page", "public") and who.token and who.name != "key *"
            methods = (*METHODS, "OPTIONS") if who.name == "anonymous" else METHODS
            for method in () if alike else methods:
                if method == "OPTIONS" and declared.kind == "public":
                    continue
                if method in declared.skip or (method not in declared.needs and not strong):
                    continue
                found.append(Attempt(who, method, route))
    return found


async def test_every_address_as_everybody(
    acme: Acme,  # noqa: F811
    people: list[Identity],
    site: Site,
    no_limits: None,
) -> None:
    """T4, A22: first all who may not, which changes nothing; then all who may."""
    door, unknown, before = Door(site, "acme"), tenancy.unknown_ids(acme.ids), acme.state()
    everything = attempts(people)
    for allowed in (False, True):
        asked = [one for one in everything if one.allowed is allowed]
        assert len(asked) > 50
        wrong = [said for said in await asyncio.gather(*(one.run(door, acme.ids, unknown) for one in asked)) if said]
        assert not wrong, lines(wrong)
        if not allowed:
            assert acme.state() == before, "somebody changed what they had no right to"


async def test_every_address_of_a_suspended_tenant(
    db: Platform, people: list[Identity], site: Site, no_limits: None
) -> None:
    """A21: nothing of it answers, whoever asks; its neighbour's door is open."""
    ids = tenancy.unknown_ids(dict.fromkeys(thing_names(), str(uuid.uuid4())))
    asking = [one for one in people if one.name in ("anonymous", "owner", "key *", "rival's key")]
    door = Door(site, "acme")
    with suspended(db.acme):

        async def one(who: Identity, method: str, route: str) -> str:
            contract = (tenancy.ROUTES | tenancy.DOORS)[route]
            status, to = await door.ask(who, method, tenancy.filled(route, contract, ids), form=contract.page)
            return "" if status == 403 and not to else f"{method} {route} as {who.name}: {status} {to}"

        tried = [one(who, method, route) for route in EVERYTHING for who in asking for method in ("GET", "POST")]
        wrong = [said for said in await asyncio.gather(*tried) if said]
        assert not wrong, lines(wrong)
        assert await socket_says(site, "acme", asking[0]) == (4403, "tenant_suspended")
        assert (await Door(site, "globex").ask(Identity("anonymous"), "GET", "/login/"))[0] == 200


def thing_names() -> set[str]:
    return {thing for declared in (tenancy.ROUTES | tenancy.DOORS).values() for thing in declared.ids.values()}


# --- sockets -----------------------------------------------------------------------------------------


async def socket_says(site: Site, slug: str, who: Identity) -> tuple[int, str]:
    """(close code, reason), or (0, "") for a socket that is open."""
    headers = who.headers | {"Origin": site.url(slug)}
    client = site.client(slug, cookie_jar=aiohttp.DummyCookieJar())
    async with client.ws_connect("/ws/chat/", headers=headers) as socket:
        message = await socket.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.TEXT:
            return 0, ""
        return int(message.data or 0), str(message.extra or "")


async def frames_refused(site: Site, who: Identity, ids: dict[str, str]) -> set[str]:
    """The frames that are answered with permission_denied."""
    headers = who.headers | {"Origin": site.url("acme")}
    client = site.client("acme", cookie_jar=aiohttp.DummyCookieJar())
    refused = set()
    async with client.ws_connect("/ws/chat/", headers=headers) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "ready"
        for kind in FRAMES:
            named = tenancy.FRAMES[kind]
            frame: dict[str, Any] = {"type": kind, "ref": kind, "message": "x", "agent": "assistant"}
            if named and kind != "turn.start":
                may = set(FRAMES[kind].split()) <= (who.actions or set())
                frame[named[0]] = str(uuid.uuid4()) if may else ids[named[1]]
            await socket.send_json(frame)
            await socket.send_json({"type": "ping"})
            while (said := await socket.receive_json(timeout=5))["type"] != "pong" or said.get("ref"):
                if said["type"] == "error" and said["ref"] == kind and said["code"] == "permission_denied":
                    refused.add(kind)
            if kind == "ping":
                await socket.receive_json(timeout=5)
    return refused


async def test_the_socket_as_everybody(
    acme: Acme,  # noqa: F811
    people: list[Identity],
    site: Site,
    no_limits: None,
) -> None:
    """T4 for the socket: who gets in, and which frames each may send."""
    wrong = []
    for who in people:
        code, reason = await socket_says(site, "acme", who)
        if (code == 0) != (who.actions is not None) or code not in (0, 4401):
            wrong.append(f"{who.name}: {code} {reason}")
        if code == 0 and who.actions is not None:
            refused = await frames_refused(site, who, acme.ids)
            expected = {kind for kind, needs in FRAMES.items() if not set(needs.split()) <= who.actions}
            if refused != expected:
                wrong.append(f"{who.name}: {refused} were refused, and not {expected}")
    assert not wrong, lines(wrong)


# --- the platform's host -----------------------------------------------------------------------------


@pytest.fixture
def callers(db: Platform, extras: None) -> list[Identity]:
    """Everybody who knocks at the platform's host; only who is signed in there has `person`."""
    past = session_of(None, PAST)
    found = [
        Identity("anonymous"),
        Identity("owner", frozenset(), True, session_of(None, "owner@acme.test")),
        Identity("staff", frozenset(), True, session_of(None, STAFF)),
        Identity("operator", frozenset(), True, session_of(None, OPERATOR)),
        Identity("owner's tenant session", session=session_of(db.acme, "owner@acme.test")),
        Identity("former operator", session=past),
        Identity("key *", token=key_of(db.acme, "*")),
    ]
    deactivate(PAST)
    return found


def platform_path(route: str) -> str:
    """A route of the platform's host with something for each of its parameters."""
    path = re.sub(r"\(\?P<app_label>(\w+)[^)]*\)", r"\1", route)
    path = re.sub(r"\(\?P<url>[^)]*\)", "nothing-here", path)
    path = re.sub(r"<path:content_type_id>", "1", path)
    path = re.sub(r"<(?:uuid|path|slug):\w+>", str(uuid.uuid4()), path)
    return re.sub(r"<int:\w+>", "1", re.sub(r"<str:\w+>", "x" * 43, path))


def console_complaint(route: str, who: Identity, status: int, to: str) -> str:
    """A66, A68: the console is an operator's; staff without rights see its empty front and no model."""
    if status >= 500:
        return "failed"
    if who.name == "operator":
        listed = re.fullmatch(r"/admin/(\w+/\w+/)?", route) and "password" not in route
        return "refused" if (listed and status != 200) or (to and to_sign_in(to)) else ""
    # Whoever belongs to the staff meets Django's redirect from former addresses of its pages, before any right is asked.
    former = route.endswith("<path:object_id>/") or route.startswith(("/admin/(?P<url>", "/admin/r/"))
    if who.name == "staff" and (route in access.STAFF or (former and status != 200)):
        return ""
    out = status in (403, 404, 405) or (status in (301, 302) and URL(to).path in ("/admin/login/", "/admin/"))
    return "" if out else "let in"


def console_methods(route: str, who: Identity) -> tuple[str, ...]:
    """What to try there: to write as those who are signed in without the right; the rest looks, not at every row."""
    if who.name in ("owner", "staff"):
        return ("GET",) if "logout" in route else ("GET", "POST")
    return ("GET",) if who.name in ("anonymous", "operator") or "object_id" not in route else ()


async def test_every_address_of_the_platforms_host_as_everybody(
    callers: list[Identity], site: Site, no_limits: None
) -> None:
    """T4, A66: including every page of the console, as a customer's owner among others."""
    door = Door(site, "")

    async def one(route: str, declared: Access, who: Identity, method: str) -> str:
        status, to = await door.ask(who, method, platform_path(route), {}, form=True)
        if declared.kind == "console":
            wrong = console_complaint(route, who, status, to)
        else:
            wrong = complaint(declared, method, who, status, to, by_id="<" in route)
        if not wrong and door.leads_away(to, declared.leads):
            wrong = "led away"
        return f"{method} {route} as {who.name}: {wrong} ({status} {to})" if wrong else ""

    tried = []
    for route in access.routes_of(settings.ROOT_URLCONF):
        declared = access.platform_access(route)
        assert declared is not None
        for who in callers:
            if declared.kind == "console":
                methods = console_methods(route, who)
            else:
                strong = who.name in ("anonymous", "owner")
                methods = tuple(method for method in METHODS if strong or method in declared.needs)
            tried += [one(route, declared, who, method) for method in methods if method not in declared.skip]
    assert len(tried) > 300
    wrong = [said for said in await asyncio.gather(*tried) if said]
    assert not wrong, lines(wrong)


async def test_a_tenants_host_has_none_of_the_platforms_pages(
    db: Platform, callers: list[Identity], people: list[Identity], site: Site
) -> None:
    """A66: the console's addresses and the rest of the platform's do not exist there, for the owner and an operator."""
    door = Door(site, "acme")
    asking = [one for one in people if one.name in ("owner", "operator's session", "key *")]
    own = set(TENANT)
    routes = [route for route in access.routes_of(settings.ROOT_URLCONF) if route not in own]
    tried = [(who, platform_path(route)) for route in routes for who in asking]
    answers = await asyncio.gather(*(door.ask(who, "GET", path) for who, path in tried))
    wrong = [(who.name, path, *answer) for (who, path), answer in zip(tried, answers, strict=True) if answer[0] != 404]
    assert not wrong, lines(wrong)


async def test_the_doors_on_the_platforms_host(
    people: list[Identity],
    acme: Acme,  # noqa: F811
    site: Site,
    no_limits: None,
) -> None:
    """A11: there a key stands for its tenant on /v1, within its scopes; sessions stand for nothing, and the rest is
    not there."""
    door, unknown = Door(site, ""), tenancy.unknown_ids(acme.ids)
    wrong = []
    for route, declared in DOORS.items():
        for who in people:
            if who.name == "rival's key":  # it stands for globex, whose agents are others
                continue
            seen = Identity(who.name, who.actions if who.token else None, False, who.session, who.token)
            for method in declared.needs:
                writes = method != "GET" and declared.allows(method, seen)
                path = tenancy.filled(route, tenancy.DOORS[route], unknown if writes else acme.ids)
                status, to = await door.ask(who, method, path, {} if writes else access.BODIES.get(route, {}))
                if not route.startswith("/v1/"):
                    said = "" if status in (401, 404) else "there"
                else:
                    said = complaint(declared, method, seen, status, to, by_id=bool(tenancy.DOORS[route].ids))
                wrong += [f"{method} {route} as {who.name}: {said} ({status})"] if said else []
    assert not wrong, lines(wrong)
    assert await socket_says(site, "", people[0]) == (4404, "not_found")


# --- the matrix can fail -----------------------------------------------------------------------------


def test_what_is_unexpected_is_found() -> None:
    """A check that cannot fail is none: each kind of wrong answer is told apart."""
    page, api = access.page(GET="admin:audit"), access.api(GET="chat:read")
    viewer, nobody = Identity("viewer", access.of_role("viewer"), True), Identity("anonymous")
    key = Identity("key", access.of_scope("usage:read"), token="x")

    def of(declared: Access, who: Identity, status: int, to: str = "", method: str = "GET") -> str:
        return complaint(declared, method, who, status, to, by_id=False)

    assert of(page, viewer, 200) == of(api, key, 200) == of(api, key, 404) == "let in without the right"
    assert of(page, nobody, 200) == of(api, nobody, 200) == of(api, nobody, 404) == "let in, but is nobody"
    assert of(api, viewer, 403) == of(api, viewer, 401) == "refused, but it may"
    assert of(access.page(GET=ANY), viewer, 302, "/login/?next=/") == "refused, but it may"
    assert of(api, viewer, 200, method="PUT") == "a method that is not declared"
    assert of(access.public(), nobody, 500) == "failed"
    for fine in (of(page, viewer, 403), of(api, nobody, 401), of(page, nobody, 302, "/login/"), of(api, viewer, 200)):
        assert fine == ""


@pytest.fixture
async def everywhere(site: Site) -> AsyncIterator[Door]:
    yield Door(site, "acme")


async def test_redirects_that_leave_the_host_are_found(everywhere: Door) -> None:
    here = everywhere.site.url("acme")
    assert not everywhere.leads_away("/login/", ())
    assert not everywhere.leads_away(f"{here}/chat/", ())
    assert everywhere.leads_away("//evil.example/", ())
    assert everywhere.leads_away("https://evil.example/", ("platform", "tenant"))
    assert everywhere.leads_away(everywhere.site.url(), ())
    assert not everywhere.leads_away(everywhere.site.url(), ("platform",))
    resolve.forget_all()
