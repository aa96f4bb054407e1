"""Somebody who accepts and never answers is given up on, and nobody else notices (A45)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from django.conf import settings

from accounts import mail
from bench.answers import token_text
from core import crypto
from tests.chat.doors import OpenAIDoor, SseDoor
from tests.chat.ledger import eventually


async def test_a_mail_server_that_hangs(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job fails in its time, and is tried again by its own rules; pages only ever write the job."""
    came = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()

    assert settings.EMAIL_TIMEOUT == 10
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
    monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
    monkeypatch.setattr(settings, "EMAIL_PORT", server.sockets[0].getsockname()[1])
    monkeypatch.setattr(settings, "EMAIL_TIMEOUT", 0.1)
    letter = {"to": "member@acme.test", "subject": "Hello", "body": "Hello.\n"}
    sealed = crypto.wrap(settings.FIELD_KEYS, json.dumps(letter))
    async with server:
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            await mail.deliver(sealed=sealed)
        assert time.monotonic() - began < 5
        assert came.is_set()


async def test_a_vendor_that_hangs(site: Any, api_key: Any, agent: Any, ledger: Any, vendor: Any) -> None:
    """Forty runs wait for it without a thread or a connection; other agents, pages and reads go on."""
    token = api_key()
    silent, quick = agent("fault-hang"), agent("bench-0-0-10")
    door, client = SseDoor(site, token), site.client("acme", token=token)
    waiting = await asyncio.gather(*(door.ask(silent) for _ in range(40)))
    await eventually(lambda: vendor.stats.requests == 40)
    assert ledger.value("SELECT count(*)::int FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == 0
    began = time.monotonic()
    assert (await OpenAIDoor(site, token).whole(quick)).text == "".join(token_text(10))
    for path in ("/api/v1/conversations", "/login/"):
        async with client.get(path) as answer:
            assert answer.status == 200
    assert time.monotonic() - began < 10
    for stream in waiting:
        await stream.step()
        await door.stop(stream.run_id)
    for stream in waiting:
        assert (await stream.rest()).end == "cancelled"
    assert not ledger.left_behind()
