"""Every address and frame of a tenant's host x every identity (T4): what `tests/contracts/access.py` declares.

Who may not, asks with ids that are there and bodies that are valid, so that nothing but the missing right stands in
the way; who may, asks to read what is there, and to write to what is not.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.attack.knocking import EVERYTHING, METHODS, Door, complaint, lines, sample, socket_says, suspended
from tests.conftest import Platform
from tests.contracts import access, declaring, tenancy
from tests.contracts.access import FRAMES
from tests.contracts.declaring import ANY, Access, Identity
from tests.site import Site
from tests.tenants.losing import Acme, acme  # noqa: F401  # the fixture


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


def attempts_at(route: str, people: list[Identity]) -> list[Attempt]:
    """Every declared method as everybody, and the others as those who may most."""
    declared, found = EVERYTHING[route], []
    for who in people:
        strong = who.name in ("owner", "key *")
        alike = declared.kind in ("page", "public") and who.token and who.name != "key *"
        for method in () if alike else METHODS:
            one = Attempt(who, method, route)
            if (one.allowed and method in declared.skip) or (method not in declared.needs and not strong):
                continue
            found.append(one)
    return found


def attempts(people: list[Identity]) -> list[Attempt]:
    return [one for route in EVERYTHING for one in attempts_at(route, people)]


def some_attempts(people: list[Identity]) -> list[Attempt]:
    """Of them, at every route those of a few of each kind; of the methods that are not declared one, as the owner."""
    found, owner = [], [one for one in people if one.name == "owner"]
    for route, declared in EVERYTHING.items():
        tried = attempts_at(route, sample(route, [one for one in people if attempts_at(route, [one])]))
        found += [one for one in tried if one.method in declared.needs]
        found += [one for one in attempts_at(route, owner) if one.method not in declared.needs][:1]
    return found


async def knock(everything: list[Attempt], acme: Acme, site: Site) -> None:
    """T4, A22: first all who may not, which changes nothing; then all who may."""
    door, unknown, before = Door(site, "acme"), tenancy.unknown_ids(acme.ids), acme.state()
    for allowed in (False, True):
        asked = [one for one in everything if one.allowed is allowed]
        assert len(asked) > 50
        wrong = [said for said in await asyncio.gather(*(one.run(door, acme.ids, unknown) for one in asked)) if said]
        assert not wrong, lines(wrong)
        if not allowed:
            assert acme.state() == before, "somebody changed what they had no right to"


PARTS = 3  # so that the workers of a test run share it


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
async def test_every_address_as_everybody(
    part: int, acme: Acme, people: list[Identity], site: Site, no_limits: None
) -> None:
    await knock(attempts(people[part::PARTS]), acme, site)


async def test_every_address_as_some_of_each_kind(
    acme: Acme, people: list[Identity], site: Site, no_limits: None
) -> None:
    """What `make test` asks of the above: at every address a few of each kind, and everybody somewhere."""
    some = some_attempts(people)
    assert {one.route for one in some} == set(EVERYTHING)
    assert {one.who.name for one in some} == {one.name for one in people}
    await knock(some, acme, site)


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


@pytest.mark.exhaustive
async def test_the_socket_as_everybody(
    acme: Acme,
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


# --- the matrix can fail -----------------------------------------------------------------------------


def test_what_is_unexpected_is_found() -> None:
    """A check that cannot fail is none: each kind of wrong answer is told apart."""
    page, api = declaring.page(GET="admin:audit"), declaring.api(GET="chat:read")
    viewer, nobody = Identity("viewer", access.of_role("viewer"), True), Identity("anonymous")
    key = Identity("key", access.of_scope("usage:read"), token="x")

    def of(declared: Access, who: Identity, status: int, to: str = "", method: str = "GET") -> str:
        return complaint(declared, method, who, status, to, by_id=False)

    assert of(page, viewer, 200) == of(api, key, 200) == of(api, key, 404) == "let in without the right"
    assert of(page, nobody, 200) == of(api, nobody, 200) == of(api, nobody, 404) == "let in, but is nobody"
    assert of(api, viewer, 403) == of(api, viewer, 401) == "refused, but it may"
    assert of(declaring.page(GET=ANY), viewer, 302, "/login/?next=/") == "refused, but it may"
    assert of(api, viewer, 200, method="PUT") == "a method that is not declared"
    assert of(declaring.public(), nobody, 500) == "failed"
    for fine in (of(page, viewer, 403), of(api, nobody, 401), of(page, nobody, 302, "/login/"), of(api, viewer, 200)):
        assert fine == ""


async def test_redirects_that_leave_the_host_are_found(site: Site) -> None:
    here, door = site.url("acme"), Door(site, "acme")
    assert not door.leads_away("/login/", ())
    assert not door.leads_away(f"{here}/chat/", ())
    assert door.leads_away("//evil.example/", ())
    assert door.leads_away("https://evil.example/", ("platform", "tenant"))
    assert door.leads_away(site.url(), ())
    assert not door.leads_away(site.url(), ("platform",))
