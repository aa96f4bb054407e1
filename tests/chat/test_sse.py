"""What is special about native runs over HTTP: start without following, resume, stop, CSRF, heartbeats, rights."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from chat import http
from llm.providers.scripted import ScriptedModel
from tenants import resolve
from tests.chat.doors import SseDoor, SseStream
from tests.chat.ledger import eventually
from tests.chat.talk import ask
from tests.conftest import forget_caches


@pytest.fixture
async def door(site: Any, api_key: Any) -> SseDoor:
    return SseDoor(site, api_key())


async def test_start_now_and_follow_later(door: SseDoor) -> None:
    async with door.client.post("/api/v1/runs", json={"message": "First line\nmore"}) as response:
        body = await response.json()
        assert response.status == 202
        assert len(response.headers["X-Request-Id"]) == 32
    assert body["run"] | {"id": ""} == {"id": "", "status": "running", "last_seq": 0}
    conversation = body["conversation"]
    assert conversation["title"] == "First line"
    assert conversation["agent"] == {"slug": "assistant", "name": "Assistant"}
    assert conversation["active_run_id"] == body["run"]["id"]
    answer = await (await door.resume(uuid.UUID(body["run"]["id"]), 0)).rest()
    assert (answer.end, answer.ends) == ("completed", 1)
    async with door.client.get(f"/api/v1/runs/{body['run']['id']}") as response:
        run = await response.json()
    assert (run["status"], run["last_seq"], run["error"]) == ("completed", len(answer.raw), None)
    async with door.client.post(
        "/api/v1/runs", json={"message": "2", "conversation_id": conversation["id"]}
    ) as response:
        assert (await response.json())["conversation"] == {"id": conversation["id"]}


async def test_resume_numbers(door: SseDoor) -> None:
    """A29: whatever is no number of an event is named so, and nothing else happens."""
    stream = await door.ask("assistant")
    last = len((await stream.rest()).raw)
    path = f"/api/v1/runs/{stream.run_id}/events"
    for text in ("-1", "1.5", "x", "1e3", "0x1", "9" * 10, "²", "１", " ", "+1"):
        async with door.client.get(path, params={"after_seq": text}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (400, "validation_failed"), text
    for raw in ("\xb2", "1, 2"):
        async with door.client.get(path, headers={"Last-Event-ID": raw}) as response:
            assert response.status == 400, raw
    async with door.client.get(path, params={"after_seq": "2"}, headers={"Last-Event-ID": "3"}) as response:
        assert (await response.content.readline()) == b"id: 4\n", "the header is the newer one"
    async with door.client.get(path, params={"after_seq": ""}) as response:
        assert (await response.content.readline()) == b"id: 1\n"
    async with door.client.get(path, params={"after_seq": str(last)}) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with door.client.get(path, params={"after_seq": str(last + 1)}) as response:
        body = await response.json()
        assert (response.status, body["error"]["code"]) == (410, "stream_gone")


async def test_paths_and_methods(site: Any, api_key: Any) -> None:
    some, token = uuid.uuid4(), api_key()
    door = SseDoor(site, token)
    for method, path, status, code in (
        ("GET", "/api/v1/runs", 405, "method_not_allowed"),
        ("DELETE", f"/api/v1/runs/{some}", 405, "method_not_allowed"),
        ("GET", f"/api/v1/runs/{some}/cancel", 405, "method_not_allowed"),
        ("POST", f"/api/v1/runs/{some}/events", 405, "method_not_allowed"),
        ("GET", f"/api/v1/runs/{some}", 404, "not_found"),
        ("POST", f"/api/v1/runs/{some}/cancel", 404, "not_found"),
        ("GET", "/api/v1/runs/" + "-" * 36, 404, "not_found"),
        ("GET", "/api/v1/runs/1", 404, "not_found"),
        ("GET", "/api/v1/runs/", 404, "not_found"),
        ("GET", f"/api/v1/runs/{some}/events/", 404, "not_found"),
    ):
        async with door.client.request(method, path) as response:
            body = await response.json()
            assert (response.status, body["error"]["code"]) == (status, code), path
            assert body["error"]["request_id"] == response.headers["X-Request-Id"]
    async with site.client("", token=token).get(f"/api/v1/runs/{some}") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")


async def test_a_session_needs_the_tenants_own_page(site: Any) -> None:
    client = await site.signed_in("member")
    async with client.post("/api/v1/runs", json={"message": "hi"}) as response:
        assert response.status == 202
        run_id = (await response.json())["run"]["id"]
    for origin in (site.url("globex"), "null", "https://evil.test", ""):
        for path in ("/api/v1/runs", f"/api/v1/runs/{run_id}/cancel"):
            async with client.post(path, json={"message": "hi"}, headers={"Origin": origin}) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (403, "origin_forbidden")
    async with client.get(f"/api/v1/runs/{run_id}/events", headers={"Origin": "https://evil.test"}) as response:
        assert response.status == 200, "reading is what CORS is for: without its headers no script sees this"
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_cookie_among_odd_ones(site: Any) -> None:
    """Other software on the host sets cookies that are no tokens; the session is found all the same."""
    client = await site.signed_in("member")
    session = client.cookie_jar.filter_cookies(client._base_url)["sessionid"].value
    other = site.client("acme")
    for odd in ('prefs={"a": "b"}', "x=[1,2]; ;;", "naked", '"q"=1', "a=b=c"):
        headers = {"Cookie": f"{odd}; sessionid={session}", "Origin": site.url("acme")}
        async with other.post("/api/v1/runs", json={"message": "hi"}, headers=headers) as response:
            assert response.status == 202, odd


async def test_heartbeats_in_a_long_pause(door: SseDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A32; and a stream opens before anything is said in it."""
    assert http.HEARTBEAT_SECONDS <= 15
    monkeypatch.setattr(http, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(http, "OPENING_SECONDS", 0.05)
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    stream = await door.ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    waiting = await asyncio.wait_for(door.resume(stream.run_id, 2), 5)
    assert isinstance(waiting, SseStream)
    data = b""
    while data.count(b": hb\n\n") < 3:
        data += await asyncio.wait_for(waiting.response.content.readany(), 5)
    assert data.replace(b": hb\n\n", b"") == b""
    gate.set()
    assert (await waiting.rest()).text == "b"
    assert (await stream.rest()).text == "ab"


async def test_who_loses_the_right_is_cut_off(
    site: Any, api_key: Any, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5, P36: a revoked key, an ended session and a suspended tenant end open streams; the run goes on."""
    assert http.RECHECK_SECONDS <= 5
    monkeypatch.setattr(http, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(resolve._hosts, "seconds", 0.01)
    gate = asyncio.Event()
    suspend = "UPDATE tenants_tenant SET status = %s WHERE slug = 'acme'"
    for change, restore in (
        ("UPDATE accounts_apikey SET revoked_at = now()", "UPDATE accounts_apikey SET revoked_at = NULL"),
        ("DELETE FROM accounts_session", "SELECT 1"),
        (suspend.replace("%s", "'suspended'"), suspend.replace("%s", "'active'")),
    ):
        ledger.rows("DELETE FROM accounts_apikey")
        program, person = SseDoor(site, api_key()), await site.signed_in("member")
        ScriptedModel.enqueue(["a", gate])
        ScriptedModel.enqueue(["a", gate])
        first = await program.ask("assistant")
        second = SseStream(
            await person.post("/api/v1/runs", json={"message": "hi"}, headers={"Accept": "text/event-stream"})
        )
        streams = {"key": first, "session": second}
        for stream in streams.values():
            await stream.until(lambda answer: answer.pieces)
        ledger.rows(change)
        forget_caches()
        try:
            cut = {"UPDATE accounts_apikey": ["key"], "DELETE FROM accounts_s": ["session"]}.get(
                change[:22], ["key", "session"]
            )
            for name in cut:
                with pytest.raises(Exception, match=r"."):
                    await streams[name].rest()
                assert not streams[name].answer.ends
        finally:
            ledger.rows(restore)
            forget_caches()
        for stream in streams.values():
            await stream.leave()
    assert ledger.value("SELECT count(*) FROM chat_run WHERE status = 'running'") == 6
    gate.set()
    await eventually(lambda: not ledger.left_behind())


async def test_long_answers_to_the_byte(door: SseDoor, agent: Any) -> None:
    """More than fits into one entry, one read of Redis, or one socket buffer."""
    slug = agent("bench-0-0-3000")
    stream = await door.ask(slug)
    whole = (await stream.rest()).raw
    assert len(whole) == 3003
    again = (await (await door.resume(stream.run_id, 1234)).rest()).raw
    assert again == whole[1234:]


async def test_the_runs_of_others(door: SseDoor, actor: Any) -> None:
    """A28."""
    for name in ("owner", "rival"):
        run_id = (await ask(actor(name))).run_id
        for path in (f"/api/v1/runs/{run_id}", f"/api/v1/runs/{run_id}/events"):
            async with door.client.get(path) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")
