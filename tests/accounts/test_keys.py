"""API keys: made once, shown once, worth exactly what their scopes say, and gone when they are (P41, A22-A25)."""

from __future__ import annotations

import asyncio
import io
import logging
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError

from accounts import keys, policies
from accounts.actors import Actor
from accounts.keys import actor_of_token
from accounts.models import ApiKey, AuditEvent
from core import clock, remembered
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tenants import resolve, scope
from tests.chat.talk import start
from tests.conftest import Platform, in_thread

ROUTES = [
    # method, path, body, what a key needs, status with it
    ("GET", "/api/v1/me", None, frozenset(), 200),
    ("GET", "/api/v1/agents", None, {"chat:read"}, 200),
    ("GET", "/api/v1/conversations", None, {"chat:read"}, 200),
    ("GET", "/api/v1/conversations/{conversation}", None, {"chat:read"}, 200),
    ("GET", "/api/v1/conversations/{conversation}/messages", None, {"chat:read"}, 200),
    ("PATCH", "/api/v1/conversations/{conversation}", {"title": "t"}, {"chat:read", "chat:write"}, 200),
    ("GET", "/api/v1/runs/{run}", None, {"chat:read"}, 200),
    ("GET", "/api/v1/runs/{run}/events", None, {"chat:read"}, 200),
    ("POST", "/api/v1/runs/{run}/cancel", None, {"chat:read", "chat:write"}, 202),
    ("POST", "/api/v1/runs", {"message": "hi"}, {"chat:write", "agents:execute"}, 202),
    ("GET", "/v1/models", None, {"chat:read"}, 200),
    ("GET", "/v1/models/assistant", None, {"chat:read"}, 200),
    (
        "POST",
        "/v1/chat/completions",
        {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]},
        {"chat:write", "agents:execute"},
        200,
    ),
    ("DELETE", "/api/v1/conversations/{conversation}", None, {"chat:read", "chat:write"}, 204),
    ("POST", "/api/v1/conversations/{conversation}/restore", None, {"chat:read", "chat:write"}, 200),
]


@pytest.mark.exhaustive
async def test_every_scope_opens_exactly_what_it_says(site: Any, db: Platform, api_key: Callable[..., str]) -> None:
    """A22: the route table times the sets of scopes; anything that is not said is refused."""
    token = api_key()
    me = await actor_of_token(token, db.acme)
    started = await start(me)
    place = {"conversation": str(started.conversation_id), "run": str(started.run_id)}
    sets = [{one} for one in sorted(policies.KEY_ACTIONS)] + [
        {"chat:read", "chat:write"},
        {"chat:write", "agents:execute"},
    ]
    for scopes in [*sets, {"*"}]:
        in_thread(lambda scopes=scopes: _set_scopes(db, sorted(scopes)))
        keys.forget_all()
        client = site.client("acme", token=token)
        granted = policies.KEY_ACTIONS if scopes == {"*"} else scopes
        for method, path, body, needed, status in ROUTES:
            async with client.request(method, path.format(**place), json=body) as response:
                found = (response.status, (await response.json())["error"]["code"] if response.status >= 400 else "")
            expected = (status, "") if needed <= granted else (403, "permission_denied")
            if path.endswith("/restore") and expected[0] == 403 and found[0] == 404:
                pytest.fail(f"{sorted(scopes)} learns from {path} what it may not know")
            assert found == expected, (sorted(scopes), method, path)
        await client.close()


def _set_scopes(db: Platform, scopes: list[str]) -> None:
    with scope.bind(db.acme):
        keys.key_update(key=ApiKey.objects.get(), scopes=scopes, actor="test")


def test_policies_are_one_table() -> None:
    assert set(policies.ROLE_ACTIONS) == {"owner", "admin", "member", "viewer"}
    assert policies.actions_of_role("nobody") == frozenset()
    order = [policies.actions_of_role(role) for role in ("viewer", "member", "admin", "owner")]
    assert order[0] < order[1] < order[2] < order[3] == policies.ACTIONS
    assert policies.actions_of_role("viewer") == {"chat:read", "knowledge:read"}
    assert policies.actions_of_role("member") == {"chat:read", "knowledge:read", "chat:write", "agents:execute"}
    assert policies.actions_of_role("owner") - policies.actions_of_role("admin") == {"admin:owner"}


def test_scopes_name_actions_or_all_of_a_subject() -> None:
    assert policies.actions_of_scopes(["*"]) == policies.ACTIONS - {"admin:owner", "approvals:decide"}
    assert policies.actions_of_scopes([]) == frozenset()
    assert policies.actions_of_scopes(["chat:read", "chat:everything"]) == {"chat:read"}
    assert policies.actions_of_scopes(["knowledge:*"]) == {"knowledge:read", "knowledge:write"}
    assert policies.actions_of_scopes(["admin:*"]) == {
        "admin:members", "admin:keys", "admin:audit", "admin:settings",
    }  # fmt: skip
    assert policies.actions_of_scopes(["admin:owner"]) == frozenset()
    assert policies.unknown_scopes(["*", "chat:read", "x", "chat:*", "admin:owner"]) == ["admin:owner", "x"]
    assert policies.unknown_scopes(["approvals:decide", "approvals:*"]) == ["approvals:*", "approvals:decide"]


def test_an_actor_may_only_what_it_may() -> None:
    tenant = scope.TenantRef(uuid.uuid4(), "acme")
    user, key = uuid.uuid4(), uuid.uuid4()
    actor = Actor(tenant, user, None, "viewer", frozenset({"chat:read"}))
    actor.require("chat:read")
    with pytest.raises(PaasError) as error:
        actor.require("chat:write")
    assert (error.value.code, error.value.details) == ("permission_denied", {"action": "chat:write"})
    assert (actor.label, Actor(tenant, None, key, "key", frozenset()).label) == (f"user:{user}", f"key:{key}")
    with pytest.raises(AttributeError):
        actor.role = "owner"  # type: ignore[misc]


async def code_of(token: str, tenant: Any) -> str:
    try:
        return (await actor_of_token(token, tenant)).tenant.slug
    except PaasError as error:
        return error.code


async def test_a_key_holds_in_its_own_tenant(db: Platform, api_key: Callable[..., str]) -> None:
    for slug, other in (("acme", db.globex), ("globex", db.acme)):
        token = api_key(slug)
        assert await code_of(token, getattr(db, slug)) == slug
        assert await code_of(token, None) == slug
        assert await code_of(token, other) == "invalid_api_key"


@pytest.mark.parametrize(
    "token", ["", "ak_", "ak_short", "sk-x", "ak_" + "x" * 200, "ak_" + "é" * 20, "ak_a b" * 5, "\x00"]
)
async def test_what_is_no_key(db: Platform, token: str) -> None:
    assert await code_of(token, db.acme) == "invalid_api_key"
    assert len(keys._known) == 0, "what cannot be a key takes no place in the memory"


async def test_one_own_token_in_two_tenants(db: Platform, api_key: Callable[..., str]) -> None:
    """On a tenant's host it is that tenant's; on the platform host it names neither, rather than the wrong one."""
    token = "ak_the_same_own_value"
    for slug in ("acme", "globex"):
        api_key(slug, token=token)
    assert await code_of(token, db.acme) == "acme"
    assert await code_of(token, db.globex) == "globex"
    assert await code_of(token, None) == "invalid_api_key"


async def test_revoked_within_two_seconds(db: Platform, api_key: Callable[..., str], monkeypatch: Any) -> None:
    """A23, T5: what is remembered of a key is forgotten in time."""
    assert keys.TTL_SECONDS <= 2
    token, now = api_key(), 1000.0
    monkeypatch.setattr(remembered, "clock", lambda: now)
    assert await code_of(token, db.acme) == "acme"

    def revoke() -> None:
        with scope.bind(db.acme):
            keys.key_revoke(key=ApiKey.objects.get(), actor="test")

    in_thread(revoke)
    now += 2.001
    assert await code_of(token, db.acme) == "invalid_api_key"


async def test_expired(db: Platform, api_key: Callable[..., str]) -> None:
    token = api_key("acme", expires_at=clock.now() + timedelta(hours=1))
    assert await code_of(token, db.acme) == "acme"

    def expire() -> None:
        with scope.bind(db.acme):
            ApiKey.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    in_thread(expire)
    keys.forget_all()
    assert await code_of(token, db.acme) == "api_key_expired"
    assert await code_of(token, None) == "api_key_expired"
    assert await code_of(token, db.globex) == "invalid_api_key"


async def test_a_suspended_tenants_key(db: Platform, api_key: Callable[..., str]) -> None:
    from tenants.models import Tenant

    token = api_key()

    def change(status: str) -> None:
        with scope.platform():
            Tenant.objects.filter(slug="acme").update(status=status)

    in_thread(lambda: change("suspended"))
    try:
        assert await code_of(token, None) == "tenant_suspended"
    finally:
        in_thread(lambda: change("active"))
        resolve.forget_all()
    assert await code_of(token, None) == "acme"


async def test_a_known_key_costs_no_query(db: Platform, api_key: Callable[..., str], monkeypatch: Any) -> None:
    token, calls = api_key(), 0
    real = keys._lookup

    def counted(wanted: bytes) -> Any:
        nonlocal calls
        calls += 1
        return real(wanted)

    monkeypatch.setattr(keys, "_lookup", counted)
    await asyncio.gather(*(code_of(token, db.acme) for _ in range(50)))
    for _ in range(50):
        await code_of(token, db.acme)
    assert calls == 1
    await asyncio.gather(*(code_of("ak_" + "y" * 30, db.acme) for _ in range(50)))
    assert calls == 2, "a wrong key is remembered too"


def test_only_a_digest_is_stored(db: Platform, services: Any) -> None:
    with scope.bind(db.acme):
        key, token = keys.key_create(name="ci", scopes=["chat:read"], actor="test")
        assert (len(bytes(key.digest)), key.hint) == (32, token[:8])
        assert token not in repr(key) + str(key)
        audited = AuditEvent.objects.get(action="api_key.created")
        assert audited.data == {"name": "ci", "scopes": ["chat:read"]}
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as connection:
        for table in ("accounts_apikey", "accounts_auditevent"):
            rows = connection.execute(f"SELECT {table}::text FROM public.{table}".encode()).fetchall()
            assert token not in str(rows)
            assert token[9:20] not in str(rows)


def test_tokens_are_long_and_different() -> None:
    tokens = {keys.new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(keys.TOKEN.match(token) and len(token) >= 46 for token in tokens)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"scopes": ["chat:everything"]}, "Unknown scopes: chat:everything"),
        ({"token": "sk-123456789012345"}, "ak_"),
        ({"token": "ak_short"}, "ak_"),
        ({"token": "ak_with space in it"}, "ak_"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
    ],
)
def test_what_makes_no_key(db: Platform, fields: dict[str, Any], problem: str) -> None:
    with scope.bind(db.acme):
        with pytest.raises(ValidationError) as error:
            keys.key_create(**({"name": "a", "scopes": ["*"], "actor": "test"} | fields))
        assert problem in str(error.value)
        assert ApiKey.objects.count() == 0


def test_a_name_is_free_again_after_its_key_was_revoked(db: Platform) -> None:
    with scope.bind(db.acme):
        key, _ = keys.key_create(name="ci", scopes=["*"], actor="test")
        with pytest.raises(ValidationError):
            keys.key_create(name="ci", scopes=["*"], actor="test")
        keys.key_revoke(key=key, actor="test")
        key, _ = keys.key_create(name="ci", scopes=["*"], actor="test")
        with pytest.raises(ValidationError):
            keys.key_update(key=key, scopes=["nonsense"], actor="test")


async def call_with_canaries(site: Any, *tokens: str) -> str:
    """Keys in headers, query strings, bodies and failures; all that came back as errors."""
    seen = ""
    for value in tokens:
        client = site.client("acme", token=value)
        ScriptedModel.enqueue(["a", RuntimeError("broken")])
        for method, path, body in (
            ("GET", f"/api/v1/me?key={value}", None),
            ("GET", f"/v1/models/{value}", None),
            ("POST", "/v1/chat/completions", {"model": value, "messages": [{"role": "user", "content": "x"}]}),
            ("POST", "/v1/chat/completions", {"model": "assistant", "messages": [{"role": "user", "content": value}]}),
            ("GET", f"/ws/chat/?ticket={value}", None),
        ):
            async with client.request(method, path, json=body) as response:
                text = await response.text()
                if response.status >= 400:
                    seen += text
        ScriptedModel.reset()
    return seen


CANARY = "ak_canary_0123456789abcdef"


async def test_keys_are_in_no_answer_and_no_record(
    site: Any, api_key: Callable[..., str], caplog: pytest.LogCaptureFixture, ledger_text: Callable[[], str]
) -> None:
    """A24."""
    caplog.set_level(logging.DEBUG)
    token = api_key()
    seen = await call_with_canaries(site, token, CANARY) + caplog.text + ledger_text()
    for canary in (token, CANARY):
        where = seen.find(canary)
        assert where < 0, seen[max(0, where - 300) : where]


@pytest.fixture
def ledger_text(services: Any) -> Callable[[], str]:
    """Everything that accounts and usage wrote down."""

    def read() -> str:
        with psycopg.connect(services.postgres.admin_url, dbname="paas") as connection:
            tables = ("accounts_auditevent", "accounts_apikey", "accounts_session", "usage_usagerecord")
            return str([connection.execute(f"SELECT x::text FROM public.{t} x".encode()).fetchall() for t in tables])

    return read


async def test_keys_are_in_no_line_of_the_log(site: Any, api_key: Callable[..., str]) -> None:
    """A24: whatever writes it, and wherever a traceback passes."""
    token = api_key()
    console = next(one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler)
    written = io.StringIO()
    before = console.setStream(written)
    try:
        await call_with_canaries(site, token, CANARY)
    finally:
        console.setStream(before)
    lines = written.getvalue()
    assert "request failed" in lines or "engine failed" in lines, "the failure itself belongs into the log"
    for canary in (token, CANARY):
        assert canary not in lines
