"""Identities that knock at doors, and what is wrong with the answers they get."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import aiohttp
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from yarl import URL

from accounts import proof
from accounts.models import User
from core import clock
from tenants import scope
from tenants.models import Tenant
from tests.conftest import forget_caches, in_thread
from tests.contracts.access import DOORS, TENANT
from tests.contracts.declaring import Access, Identity
from tests.contracts.sampling import some
from tests.site import Site
from tests.tenants.losing import MARK

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EVERYTHING = TENANT | DOORS
AT_ONCE = 16


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

    def make() -> str:
        with scope.platform():
            user = User.objects.get(email=email)
        with scope.bind(tenant) if tenant else scope.platform():
            store = import_module(settings.SESSION_ENGINE).SessionStore()
            store[SESSION_KEY] = str(user.pk)
            store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            store[HASH_SESSION_KEY] = user.get_session_auth_hash()
            store[proof.PROVEN_AT] = clock.now().timestamp()
            store.create()
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


def tokens_of(tenant: Any, email: str, *, end: bool = False) -> tuple[str, str]:
    """The access and the refresh token of a person who signed in as a program. end: and out again."""
    from accounts import selectors, tokens

    def make() -> tuple[str, str]:
        with scope.bind(tenant):
            actor = selectors.actor_of_user(User.objects.get(email=email).pk)
            assert actor is not None
            pair = tokens.family_begin(actor=actor, method="password")
        if end:
            with scope.bind(tenant):
                tokens.family_end(token=pair.refresh)
        return pair.access, pair.refresh

    found: tuple[str, str] = in_thread(make)
    return found


def deactivate(*emails: str) -> None:
    def write() -> None:
        with scope.platform():
            assert User.objects.filter(email__in=emails).update(is_active=False) == len(emails)

    in_thread(write)


@dataclass
class Door:
    """A host, knocked at a few times at once, and what was wrong with its answers."""

    site: Site
    slug: str

    def __post_init__(self) -> None:
        self.direct = self.site.direct(self.slug)
        self.places = asyncio.Semaphore(AT_ONCE)

    async def ask(
        self, who: Identity, method: str, path: str, body: Any = None, *, form: bool = False
    ) -> tuple[int, str]:
        """(status, where it leads): where is the path on this host, or the whole address elsewhere."""
        headers = who.headers | {"Origin": self.site.url(self.slug)}
        sent: dict[str, Any] = {} if method in ("GET", "OPTIONS") else {"form" if form else "json": body or {}}
        async with self.places:
            answer = await self.direct.request(method, path, headers=headers, whole=False, **sent)
        assert MARK.encode() not in answer.body or answer.status == 200
        return answer.status, answer.headers.get("location", "")

    def leads_away(self, to: str, allowed: Iterable[str]) -> bool:
        """Whether a redirect leaves this host without being allowed to."""
        if not to:
            return False
        found = URL(self.site.url(self.slug)).join(URL(to))
        own = URL(self.site.url(self.slug)).host
        places = {"platform": found.host in ("localhost", *settings.PLATFORM_HOSTS)}
        places |= {"tenant": str(found.host).endswith(".localhost"), "elsewhere": True}
        return found.host != own and not any(places[name] for name in allowed)


def sample(route: str, people: list[Identity]) -> list[Identity]:
    """Of those who might knock at a route: the viewer, and, others at each route, one of the other roles or the key of
    all scopes, or one key of a single scope (or a person's token), or one who is nobody."""
    strong = [one for one in people if one.name == "key *" or (one.browser and one.name != "viewer")]
    weak = [one for one in people if one.actions is not None and not one.browser and one.name != "key *"]
    nobody = [one for one in people if one.actions is None]
    found = [one for one in people if one.name == "viewer"]
    kinds = some(f"which at {route}", [kind for kind in (strong, weak, weak, nobody) if kind], rest=False)
    return found + [one for kind in kinds for one in some(route, kind, rest=False)]


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
        if status == 401 and declared.proof and method != "GET":
            return ""
        return "refused, but it may" if status in (401, 403) or (to and to_sign_in(to)) else ""
    if who.actions is None or (declared.kind == "page" and not who.browser):
        if declared.kind in ("page", "signed", "console"):
            return "" if status in (403, 404) or (status == 302 and to_sign_in(to)) else "let in, but is nobody"
        return "" if status == 401 else "let in, but is nobody"
    return "" if status == 403 or (status == 404 and by_id) else "let in without the right"


async def socket_says(site: Site, slug: str, who: Identity) -> tuple[int, str]:
    """(close code, reason), or (0, "") for a socket that is open."""
    headers = who.headers | {"Origin": site.url(slug)}
    client = site.client(slug, cookie_jar=aiohttp.DummyCookieJar())
    async with client.ws_connect("/ws/chat/", headers=headers) as socket:
        message = await socket.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.TEXT:
            return 0, ""
        return int(message.data or 0), str(message.extra or "")
