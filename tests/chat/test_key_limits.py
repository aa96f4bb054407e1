"""What a limited key may use at each door, and how soon a revoked one is out (A22, A23, P36)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from accounts import keys
from accounts.models import ApiKey, Session
from chat import http
from chat.transports import websocket
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.doors import SseDoor
from tests.chat.ledger import eventually
from tests.chat.sockets import answer_to, close_of, every_socket_is_let_go, opened, refused  # noqa: F401 - fixture
from tests.conftest import Platform, in_thread


@pytest.fixture
def writer(agents: Callable[..., str]) -> str:
    """The slug of an agent with the model `big`, beside `assistant`, whose model is `demo`."""
    return agents("big")


async def ask(session: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with session.request(method, path, json=body) as answer:
        return answer.status, await answer.json()


def question(agent: str) -> dict[str, Any]:
    return {"model": agent, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("limits", "slugs", "code"),
    [
        ({}, ["assistant", "writer"], None),
        ({"agents": ["writer"]}, ["writer"], "agent_not_found"),
        ({"agents": ["writer", "gone"]}, ["writer"], "agent_not_found"),
        ({"models": ["big"]}, ["writer"], "model_not_found"),
        ({"agents": ["assistant", "writer"], "models": ["big"]}, ["writer"], "model_not_found"),
        ({"agents": ["assistant"], "models": ["big"]}, [], "model_not_found"),
        ({"agents": ["gone"]}, [], "agent_not_found"),
    ],
)
async def test_agents_and_models_that_a_key_may_use(
    site: Any, api_key: Callable[..., str], writer: str, limits: Any, slugs: list[str], code: str | None
) -> None:
    """In lists, and where a turn starts: at each door. What it may not use is not there."""
    named = {"writer": writer}
    limits = {field: [named.get(one, one) for one in values] for field, values in limits.items()}
    slugs = [named.get(one, one) for one in slugs]
    program = site.client("acme", token=api_key("acme", **limits))
    _, models = await ask(program, "GET", "/v1/models")
    _, agents = await ask(program, "GET", "/api/v1/agents")
    own = [one["slug"] for one in agents["agents"] if one["kind"] == "model"]
    assert [one["id"] for one in models["data"]] == own == slugs
    assert (len(own) < len(agents["agents"])) is (not limits), "the built-in ones are limited by the same words"

    for agent in ("assistant", writer):
        expected = (
            None if agent in slugs else ("agent_not_found" if agent not in limits.get("agents", [agent]) else code)
        )
        status, said = await ask(program, "GET", f"/v1/models/{agent}")
        assert status == (404 if expected else 200)
        status, said = await ask(program, "POST", "/v1/chat/completions", question(agent))
        assert (status, said.get("error", {}).get("code")) == ((404, expected) if expected else (200, None))
        status, said = await ask(program, "POST", "/api/v1/runs", {"agent": agent, "message": "hi"})
        assert (status, said.get("error", {}).get("code")) == ((404, expected) if expected else (202, None))
        async with opened(program) as socket:
            said = await answer_to(socket, {"type": "turn.start", "agent": agent, "message": "hi"})
            assert (said["type"], said.get("code")) == (("error", expected) if expected else ("turn.accepted", None))

    status, said = await ask(program, "POST", "/api/v1/runs", {"message": "the first that it may use"})
    if slugs:
        assert (status, said["conversation"]["agent"]["slug"]) == (202, slugs[0])
    else:
        assert (status, said["error"]["code"]) == (404, "agent_not_found")


async def test_a_conversation_goes_on_only_with_an_agent_that_is_still_allowed(
    site: Any, api_key: Callable[..., str], writer: str, db: Platform
) -> None:
    program = site.client("acme", token=api_key("acme", agents=[writer]))
    _, said = await ask(program, "POST", "/api/v1/runs", {"message": "hi"})
    conversation = said["conversation"]["id"]
    async with program.get(f"/api/v1/runs/{said['run']['id']}/events") as answer:
        await answer.read()

    def narrow() -> None:
        with scope.bind(db.acme):
            keys.key_update(key=ApiKey.objects.get(), actor="test", agents=["assistant"])

    in_thread(narrow)
    keys.forget_all()
    status, said = await ask(program, "POST", "/api/v1/runs", {"message": "more", "conversation_id": conversation})
    assert (status, said["error"]["code"]) == (404, "agent_not_found")
    assert (await ask(program, "GET", f"/api/v1/conversations/{conversation}/messages"))[0] == 200


async def test_addresses_hold_at_every_door(site: Any, api_key: Callable[..., str]) -> None:
    """A23: the sites' clients come from loopback."""
    for networks, status in ((["127.0.0.0/8"], 200), (["203.0.113.0/24"], 403)):
        await_key = api_key("acme" if status == 200 else "globex", networks=networks)
        slug = "acme" if status == 200 else "globex"
        for where in (slug, ""):
            program = site.client(where, token=await_key)
            assert (await ask(program, "GET", "/v1/models"))[0] == status
        program = site.client(slug, token=await_key)
        assert (await ask(program, "GET", "/api/v1/me"))[0] == status
        if status == 403:
            assert await refused(program) == (4403, "address_not_allowed")
        else:
            async with opened(program):
                pass


def revoke(db: Platform) -> None:
    with scope.bind(db.acme):
        keys.key_revoke(key=ApiKey.objects.get(parent=None), actor="test")


async def test_a_revoked_key_is_out_within_two_seconds(site: Any, api_key: Callable[..., str], db: Platform) -> None:
    """P36: with the times of a real process, on a socket, on a socket of a ticket, and on a stream; a session stays.

    The longest way is what is remembered plus one look; nothing has to be told for it, so nothing can get lost.
    """
    assert keys.TTL_SECONDS + keys.RECHECK_SECONDS < 2
    assert http.RECHECK_SECONDS > keys.RECHECK_SECONDS
    assert websocket.RECHECK_SECONDS > keys.RECHECK_SECONDS
    token = api_key()
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    door = SseDoor(site, token)
    stream = await door.ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    program, person = site.client("acme", token=token), await site.signed_in("member")
    _, ticket = await ask(program, "POST", "/api/v1/ws-ticket")
    anonymous = site.client("acme")
    path = f"/ws/chat/?ticket={ticket['ticket']}"
    async with opened(program) as socket, opened(anonymous, path) as by_ticket, opened(person) as persons:
        in_thread(lambda: revoke(db))
        async with asyncio.timeout(15):
            assert await close_of(socket) == (4401, "invalid_api_key")
            assert await close_of(by_ticket) == (4401, "not_authenticated")
            with pytest.raises(Exception, match=r"."):
                await stream.rest()
        assert not stream.answer.ends
        assert (await ask(program, "GET", "/v1/models"))[0] == 401
        assert await answer_to(persons, {"type": "ping"}) == {"type": "pong"}
    await stream.leave()
    gate.set()


@pytest.mark.exhaustive
async def test_who_is_out_is_out_whatever_their_address_asks(
    site: Any, api_key: Callable[..., str], db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P36, P40: an address that has used up what unknown callers may ask keeps no socket and no stream open by it."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    token = api_key()
    stream = await SseDoor(site, token).ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    program, person = site.client("acme", token=token), await site.signed_in("member")

    def end() -> None:
        revoke(db)
        with scope.bind(db.acme):
            Session.objects.all().delete()

    async with opened(program) as socket, opened(person) as persons:
        monkeypatch.setitem(settings.RATE_LIMITS, "anonymous", 1)
        statuses = [(await ask(site.client("acme"), "GET", "/v1/models"))[0] for _ in range(2)]
        assert statuses == [401, 429]
        in_thread(end)
        async with asyncio.timeout(15):
            assert await close_of(socket) == (4401, "not_authenticated")
            assert await close_of(persons) == (4401, "not_authenticated")
            with pytest.raises(Exception, match=r"."):
                await stream.rest()
        assert not stream.answer.ends
    await stream.leave()
    gate.set()


async def test_a_new_token_ends_what_the_old_one_opened(site: Any, api_key: Callable[..., str], db: Platform) -> None:
    program = site.client("acme", token=api_key())
    tickets = [(await ask(program, "POST", "/api/v1/ws-ticket"))[1]["ticket"] for _ in range(2)]
    anonymous = site.client("acme")

    def rotate() -> None:
        with scope.bind(db.acme):
            keys.key_rotate(key=ApiKey.objects.get(), actor="test")

    async with opened(program) as socket, opened(anonymous, f"/ws/chat/?ticket={tickets[0]}") as by_ticket:
        in_thread(rotate)
        async with asyncio.timeout(15):
            assert (await close_of(socket))[0] == 4401
            assert (await close_of(by_ticket))[0] == 4401
    assert await refused(anonymous, f"/ws/chat/?ticket={tickets[1]}") == (4401, "ticket_invalid")


async def test_the_last_use_is_written_when_the_process_ends(db: Platform, api_key: Callable[..., str]) -> None:
    from tests.site import Site

    async with Site() as running:
        await ask(running.client("acme", token=api_key()), "GET", "/v1/models")

    def used() -> Any:
        with scope.bind(db.acme):
            return ApiKey.objects.get().last_used_at

    await eventually(lambda: in_thread(used) is not None)
