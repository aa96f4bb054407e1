"""Clients of others, unmodified, against the real server; the model is the stand-in vendor or a script.

What a client can do here is in docs/openai.md: each cell of that table is one of these tests (tests/sdk_node has the
clients that run in Node).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.chat.conftest import agent, agents, embedder, ledger, vendor  # noqa: F401  # the fixtures
from tests.lazy import Lazy
from tests.sdk.asking import ALL_FEATURES

mcp = Lazy("mcp")
transports = Lazy("mcp.client.streamable_http")
http = Lazy("httpx2")


@pytest.fixture
def base(site: Any) -> str:
    """The base URL that a client is given: the platform's host, where the key says which tenant."""
    return f"http://127.0.0.1:{site.port}/v1"


@pytest.fixture
def able(agent: Callable[..., str]) -> Callable[[str], str]:
    """`able("echo")`: an agent whose model is declared to do everything."""
    return lambda model: agent(model, models={model: {"features": ALL_FEATURES}})


@pytest.fixture
def busy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent `assistant` is limited by its vendor once, and then answers "ok"."""
    from chat.transports import openai as door
    from core.errors import PaasError
    from llm.providers.scripted import ScriptedModel

    monkeypatch.setattr(door, "RETRY_AFTER_SECONDS", 1)
    ScriptedModel.enqueue([PaasError("provider_rate_limited")])
    ScriptedModel.enqueue(["ok"])


@pytest.fixture
def connect(site: Any, api_key: Any) -> Callable[..., Any]:
    """`connect("legacy", ["chat:read"])`: the official MCP client at acme's `/mcp`, with a key."""
    address = f"http://127.0.0.1:{site.port}/mcp"

    @asynccontextmanager
    async def connected(mode: str = "auto", scopes: list[str] | None = None, **options: Any) -> AsyncIterator[Any]:
        token = api_key(scopes=scopes, name=uuid.uuid4().hex)
        async with http.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
            transport = transports.streamable_http_client(address, http_client=client)
            async with mcp.Client(transport, mode=mode, **options) as found:
                yield found

    return connected
