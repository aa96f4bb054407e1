"""Every address of the platform's host x every identity (T4), the console's pages among them (A66, A68)."""

from __future__ import annotations

import asyncio
import re
import uuid
from itertools import groupby
from operator import itemgetter

import pytest
from django.conf import settings
from yarl import URL

from tests.attack.knocking import METHODS, Door, complaint, lines, socket_says, to_sign_in
from tests.conftest import Platform
from tests.contracts import access, tenancy
from tests.contracts.access import DOORS, TENANT
from tests.contracts.declaring import Access, Identity
from tests.contracts.sampling import SAMPLED, some
from tests.site import Site
from tests.tenants.losing import Acme, acme  # noqa: F401  # the fixture


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


def skipped(declared: Access, who: Identity, method: str) -> bool:
    return method in declared.skip and declared.allows(method, who)


def console_methods(route: str, who: Identity) -> tuple[str, ...]:
    """What to try there: to write as those who are signed in without the right; the rest looks, not at every row."""
    if who.name in ("owner", "staff"):
        return ("GET",) if "logout" in route else ("GET", "POST")
    return ("GET",) if who.name in ("anonymous", "operator") or "object_id" not in route else ()


Knock = tuple[str, Access, Identity, str]  # a route, what is declared for it, who, by which method


def knocks(callers: list[Identity]) -> list[Knock]:
    """Every declared method as everybody, and the others as an owner."""
    tried = []
    for route in access.routes_of(settings.ROOT_URLCONF):
        declared = access.platform_access(route)
        assert declared is not None
        for who in callers:
            if declared.kind == "console":
                methods = console_methods(route, who)
            else:
                methods = tuple(method for method in METHODS if who.name == "owner" or method in declared.needs)
            tried += [(route, declared, who, method) for method in methods if not skipped(declared, who, method)]
    return tried


async def knock(tried: list[Knock], site: Site) -> None:
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

    wrong = [said for said in await asyncio.gather(*(one(*each) for each in tried)) if said]
    assert not wrong, lines(wrong)


@pytest.mark.exhaustive
async def test_every_address_of_the_platforms_host_as_everybody(
    callers: list[Identity], site: Site, no_limits: None
) -> None:
    """T4, A66: including every page of the console, as a customer's owner among others."""
    tried = knocks(callers)
    assert len(tried) > 300
    await knock(tried, site)


async def test_every_address_of_the_platforms_host_as_some(
    callers: list[Identity], site: Site, no_limits: None
) -> None:
    """What `make test` asks of the above: every address as a customer's owner, and as one of the others each."""
    tried = []
    for route, found in groupby(knocks(callers), key=itemgetter(0)):
        of_route = list(found)
        others = [each for each in of_route if each[2].name != "owner"]
        owners = [each for each in of_route if each[2].name == "owner"]
        tried += [each for each in owners if each[3] in each[1].needs] or owners[:1]
        tried += some(route, others, rest=False)
    assert {each[0] for each in tried} == {each[0] for each in knocks(callers)}
    assert {each[2].name for each in tried} == {one.name for one in callers}
    await knock(tried, site)


@SAMPLED
async def test_a_tenants_host_has_none_of_the_platforms_pages(
    rest: bool, db: Platform, callers: list[Identity], people: list[Identity], site: Site
) -> None:
    """A66: the console's addresses and the rest of the platform's do not exist there, for the owner and an operator."""
    door = Door(site, "acme")
    asking = [one for one in people if one.name in ("owner", "operator's session", "key *")]
    own = set(TENANT)
    routes = [route for route in access.routes_of(settings.ROOT_URLCONF) if route not in own]
    tried = [(who, platform_path(route)) for route in routes for who in some(route, asking, rest)]
    answers = await asyncio.gather(*(door.ask(who, "GET", path) for who, path in tried))
    wrong = [(who.name, path, *answer) for (who, path), answer in zip(tried, answers, strict=True) if answer[0] != 404]
    assert not wrong, lines(wrong)


@pytest.mark.exhaustive
async def test_the_doors_on_the_platforms_host(
    people: list[Identity],
    acme: Acme,
    site: Site,
    no_limits: None,
) -> None:
    """A11: there a key stands for its tenant on /v1 and for Phase 1's clients, within its scopes; sessions stand for nothing, and the rest is
    not there."""
    door, unknown = Door(site, ""), tenancy.unknown_ids(acme.ids)
    wrong = []
    for route, declared in DOORS.items():
        for who in people:
            if who.name == "rival's key":  # it stands for globex, whose agents are others
                continue
            is_key = who.token.startswith("ak_")  # an access token is good on its own tenant's host only
            seen = Identity(who.name, who.actions if is_key else None, False, who.session, who.token)
            for method in declared.needs:
                writes = method != "GET" and declared.allows(method, seen)
                path = tenancy.filled(route, tenancy.DOORS[route], unknown if writes else acme.ids)
                status, to = await door.ask(who, method, path, {} if writes else access.BODIES.get(route, {}))
                if (method, route) in access.TENANTS_OWN:
                    said = "" if status in (401, 405) else "there"
                elif not route.startswith(access.BY_KEY_ANYWHERE):
                    said = "" if status in (401, 404) else "there"
                else:
                    said = complaint(declared, method, seen, status, to, by_id=bool(tenancy.DOORS[route].ids))
                wrong += [f"{method} {route} as {who.name}: {said} ({status})"] if said else []
    assert not wrong, lines(wrong)
    assert await socket_says(site, "", people[0]) == (4404, "not_found")
