"""Every URL, door and frame of a tenant's host, called from outside (tests/contracts/tenancy.py)."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiohttp
import pytest

from tests.conftest import in_thread
from tests.contracts import tenancy
from tests.contracts.declaring import METHODS, TENANCY_KINDS, Declared
from tests.contracts.sampling import SAMPLED, some
from tests.contracts.tenancy import DOOR_SOURCES, DOORS, FRAMES, ROUTES
from tests.direct import Direct
from tests.site import Site, session_cookies
from tests.tenants.losing import MARK, Acme, acme  # noqa: F401  # the fixture

EVERYTHING = ROUTES | DOORS


def test_every_route_is_declared() -> None:
    found = set(tenancy.routes())
    assert found - ROUTES.keys() == set(), "say in tests/contracts/routes/ or tenancy.py what these do with foreign ids"
    assert ROUTES.keys() - found == set(), "these are declared but gone"


@pytest.mark.parametrize("source", DOOR_SOURCES)
def test_every_door_is_declared(source: str) -> None:
    assert tenancy.paths_in(source) == DOOR_SOURCES[source]


def test_every_frame_is_declared() -> None:
    assert tenancy.frames_in("chat/transports/websocket.py") == set(FRAMES)


def test_declarations_make_sense() -> None:
    for route, declared in EVERYTHING.items():
        assert declared.kind in TENANCY_KINDS
        assert ("<" in route) == bool(declared.ids), route
        assert declared.kind != "by_id" or declared.ids
        assert set(declared.methods) <= set(METHODS)


def _page(site: Site, slug: str, email: str) -> tuple[Direct, dict[str, str]]:
    """Somebody who has signed in on a tenant's host, and the header with which its pages write."""
    cookies = in_thread(lambda: session_cookies(slug, email))
    return site.direct(slug, cookies=cookies, Origin=site.url(slug)), {"X-CSRFToken": cookies["csrftoken"]}


async def call(client: Direct, method: str, path: str, body: Any, **headers: str) -> tuple[int, str]:
    ends = not path.startswith("/api/v1/knowledge/")  # its streams go on for as long as somebody listens
    sent = None if method == "GET" else body or {}
    answer = await client.request(method, path, headers=headers, json=sent, whole=ends)
    return answer.status, answer.text


@pytest.fixture
def outsiders(site: Site, api_key: Any) -> dict[str, tuple[Direct, dict[str, str]]]:
    """People and programs that are not acme's owner, on the host where they belong, with their CSRF header."""
    return {
        "rival": _page(site, "globex", "rival@globex.test"),
        "rival's key": (site.direct("globex", Authorization=f"Bearer {api_key('globex')}"), {}),
        "colleague": _page(site, "acme", "admin@acme.test"),
        "acme's key": (site.direct("acme", Authorization=f"Bearer {api_key('acme')}"), {}),
    }


@pytest.fixture
def intruders(site: Site, api_key: Any) -> dict[str, tuple[Direct, dict[str, str]]]:
    """Nobody, and rival's credentials, on acme's host."""
    key = in_thread(lambda: session_cookies("globex", "rival@globex.test"))["sessionid"]
    return {
        "nobody": (site.direct("acme"), {}),
        "rival's session": (site.direct("acme", cookies={"sessionid": key}, Origin=site.url("acme")), {}),
        "rival's key": (site.direct("acme", Authorization=f"Bearer {api_key('globex')}"), {}),
        "a made-up key": (site.direct("acme", Authorization=f"Bearer ak_{uuid.uuid4().hex}"), {}),
    }


# --- foreign ids -------------------------------------------------------------------------------------


def foreigners(route: str, declared: Declared) -> list[str]:
    """The outsiders to whom what is at this route is foreign."""
    # An agent is its tenant's, not a person's; so are people, invitations and API keys.
    if route.startswith("/v1/models") or declared.of_tenant:
        found = ["rival", "rival's key"]
    else:
        found = ["rival", "rival's key", "colleague", "acme's key"]
    # Keys open no page and have no profile, whatever is asked for there.
    return [who for who in found if not ((declared.page or declared.people) and who.endswith("key"))]


@SAMPLED
async def test_foreign_ids_are_not_found_in_the_words_of_ids_that_never_were(
    rest: bool, acme: Acme, outsiders: Any
) -> None:
    before, unknown = acme.state(), tenancy.unknown_ids(acme.ids)

    async def attempt(method: str, route: str, declared: Declared, who: str) -> str:
        client, headers = outsiders[who]
        paths = [tenancy.filled(route, declared, ids) for ids in (acme.ids, unknown)]
        status, said = await call(client, method, paths[0], declared.body, **headers)
        _, of_unknown = await call(client, method, paths[1], declared.body, **headers)
        if status not in (404 if method in declared.methods else 405, 404) or MARK in said:
            return f"{method} {route} as {who}: {status} {said[:80]}"
        if tenancy.words(said, acme.ids) != tenancy.words(of_unknown, unknown):
            return f"{method} {route} as {who}: {said[:120]} but for no id {of_unknown[:120]}"
        return ""

    wrong = await at_once(
        attempt(method, route, declared, who)
        for route, declared in EVERYTHING.items()
        if declared.kind == "by_id"
        for who in some(route, foreigners(route, declared), rest)
        for method in declared.methods  # that others answer nobody is said by tests/attack
    )
    assert wrong == []
    assert acme.state() == before


async def at_once(attempts: Any) -> list[str]:
    """What the attempts complain of, a few of them at a time."""
    places = asyncio.Semaphore(6)

    async def one(attempt: Any) -> str:
        async with places:
            return str(await attempt)

    return [said for said in await asyncio.gather(*map(one, attempts)) if said]


async def test_the_owner_finds_what_others_do_not(acme: Acme) -> None:
    """The success beside the failure: the same calls with the right credentials."""
    for route, declared in EVERYTHING.items():
        if declared.kind == "by_id" and "GET" in declared.methods:
            status, said = await call(acme.owner, "GET", tenancy.filled(route, declared, acme.ids), None)
            assert status == (404 if declared.lacks else 200), f"{route}: {said}"
            assert declared.lacks in str(said), route


@SAMPLED
async def test_lists_hold_nothing_of_others(rest: bool, acme: Acme, outsiders: Any) -> None:
    secrets = [MARK, *acme.ids.values()]
    for route, declared in EVERYTHING.items():
        if declared.kind != "own" or "GET" not in declared.methods:
            continue
        for who in some(route, ["rival", "rival's key"], rest):
            client, _ = outsiders[who]
            status, said = await call(client, "GET", route, None)
            # Pages are for people: a key is sent to sign-in.
            by_key = 302 if declared.page else 403 if declared.people else 200
            assert status == (by_key if who == "rival's key" else 200), f"{route} as {who}: {said}"
            assert not any(secret in said for secret in secrets), f"{route} as {who}"
    _, own = await call(acme.owner, "GET", "/api/v1/conversations", None)
    assert MARK in own


async def test_pages_without_rows_are_the_same_whatever_id_they_name(acme: Acme, outsiders: Any) -> None:
    unknown = tenancy.unknown_ids(acme.ids)
    for route, declared in ROUTES.items():
        if declared.kind == "shell":
            client, _ = outsiders["rival"]
            status, said = await call(client, "GET", tenancy.filled(route, declared, acme.ids), None)
            _, of_unknown = await call(client, "GET", tenancy.filled(route, declared, unknown), None)
            assert status in (200, 302)
            assert MARK not in said
            assert tenancy.words(said, acme.ids) == tenancy.words(of_unknown, unknown)


# --- credentials from elsewhere ----------------------------------------------------------------------


@SAMPLED
async def test_nobody_from_elsewhere_gets_in(rest: bool, acme: Acme, intruders: Any) -> None:
    before = acme.state()

    async def attempt(method: str, route: str, declared: Declared, who: str) -> str:
        client, headers = intruders[who]
        path = tenancy.filled(route, declared, acme.ids)
        status, said = await call(client, method, path, declared.body or {"message": "x"}, **headers)
        if declared.page:
            # Pages send strangers to sign-in; writes without the page's CSRF token are refused.
            fine = status in (302, 403, 405) or (declared.kind == "public" and status in (200, 401, 404))
        elif declared.kind == "public":
            fine = status == 404
        else:
            fine = status in ((401,) if method in declared.methods else (401, 404, 405))
        return "" if fine and MARK not in said else f"{method} {route} as {who}: {status} {said[:100]}"

    wrong = await at_once(
        attempt(method, route, declared, who)
        for route, declared in EVERYTHING.items()
        for who in some(route, list(intruders), rest)
        for method in declared.methods
    )
    assert wrong == []
    assert acme.state() == before


@SAMPLED
async def test_the_platforms_host_has_none_of_it(rest: bool, acme: Acme, site: Site, api_key: Any) -> None:
    """There, a key stands for its own tenant on /v1, and nothing else of a tenant's is there."""
    for route, declared in EVERYTHING.items():
        for headers in some(route, [{"Cookie": f"sessionid={acme.cookies['sessionid']}"}, {}], rest):
            path = tenancy.filled(route, declared, acme.ids)
            status, said = await call(site.direct(), "GET", path, None, **headers)
            assert status in (302, 401, 404, 405) or route == "/", f"{route}: {status}"
            assert MARK not in said
    rival = site.direct(Authorization=f"Bearer {api_key('globex')}")
    status, said = await call(rival, "GET", f"/v1/models/{acme.ids['agent_slug']}", None)
    assert status == 404
    status, said = await call(rival, "GET", "/v1/models", None)
    assert (status, acme.ids["agent_slug"] in said) == (200, False)


# --- ids inside bodies and frames --------------------------------------------------------------------


async def test_foreign_ids_in_bodies(acme: Acme, outsiders: Any) -> None:
    before, unknown = acme.state(), tenancy.unknown_ids(acme.ids)

    def requests(ids: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
        messages = [{"role": "user", "content": "x"}]
        return [
            ("/api/v1/runs", {"agent": "assistant", "conversation_id": ids["conversation"], "message": "x"}),
            ("/api/v1/runs", {"conversation_id": ids["conversation"], "message": "x"}),
            ("/api/v1/runs", {"conversation_id": ids["conversation"], "retry": True}),
            ("/api/v1/runs", {"conversation_id": ids["deleted_conversation"], "message": "x"}),
            ("/api/v1/runs", {"agent": ids["agent_slug"], "message": "x"}),
            ("/v1/chat/completions", {"model": ids["agent_slug"], "messages": messages}),
            ("/v1/chat/completions", {"model": ids["agent_slug"], "messages": messages, "stream": True}),
            (
                "/api/v1/chat/completions",
                {"agent_type": "echo_agent", "message": "x", "session_id": ids["conversation"]},
            ),
        ]

    for who in ("rival", "rival's key"):
        client, headers = outsiders[who]
        for (path, body), (_, other) in zip(requests(acme.ids), requests(unknown), strict=True):
            status, said = await call(client, "POST", path, body, **headers)
            _, of_unknown = await call(client, "POST", path, other, **headers)
            assert status == 404, f"{path} {body} as {who}: {status} {said}"
            assert tenancy.words(said, acme.ids) == tenancy.words(of_unknown, unknown)
    assert acme.state() == before


async def test_foreign_ids_in_frames(acme: Acme, site: Site) -> None:
    before, unknown = acme.state(), tenancy.unknown_ids(acme.ids)
    rival = await site.signed_in("rival", "globex")

    async def answer_to(socket: Any, frame: dict[str, Any]) -> dict[str, Any]:
        await socket.send_json(frame)
        await socket.send_json({"type": "ping"})
        answers = []
        while not answers or answers[-1]["type"] != "pong":
            answers.append(await socket.receive_json(timeout=5))
        assert MARK not in json.dumps(answers)
        return {"answers": answers}

    async with rival.ws_connect("/ws/chat/", headers={"Origin": site.url("globex")}) as socket:
        assert (await socket.receive_json())["type"] == "ready"
        for kind, named in FRAMES.items():
            if named is None:
                continue
            name, thing = named
            frame = {"type": kind, "ref": "1", "agent": "assistant", "message": "x", "after_seq": 0}
            said = await answer_to(socket, frame | {name: acme.ids[thing]})
            of_unknown = await answer_to(socket, frame | {name: unknown[thing]})
            assert tenancy.words(json.dumps(said), acme.ids) == tenancy.words(json.dumps(of_unknown), unknown)
            if kind != "run.unfollow":
                assert said["answers"][0]["code"] == "not_found", kind
    assert acme.state() == before


async def test_a_ticket_opens_its_own_tenants_socket_once(acme: Acme, site: Site) -> None:
    async def ticket() -> str:
        status, said = await call(acme.owner, "POST", "/api/v1/ws-ticket", {}, **acme.csrf)
        assert status == 201
        return str(json.loads(said)["ticket"])

    async def opens(slug: str, ticket: str) -> bool:
        async with site.client(slug).ws_connect(f"/ws/chat/?ticket={ticket}") as socket:
            message = await socket.receive()
            return message.type is aiohttp.WSMsgType.TEXT

    stolen = await ticket()
    assert not await opens("globex", stolen), "on another tenant's host it is nothing"
    assert await opens("acme", stolen), "and that has not used it up"
    assert not await opens("acme", stolen), "but once it is used it is gone"
