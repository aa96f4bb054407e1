"""Every door passes the one contract; what is special about each has a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chat.doors import OpenAIDoor, ResponsesDoor, SocketDoor, SseDoor
from tests.contracts.transport import Door, ResumableContract, TransportContract


class TestWebsocket(ResumableContract):
    @pytest.fixture
    async def door(self, site: Any, api_key: Callable[..., str]) -> Door:
        return SocketDoor(site, api_key())


class TestSse(ResumableContract):
    @pytest.fixture
    async def door(self, site: Any, api_key: Callable[..., str]) -> Door:
        return SseDoor(site, api_key())


class TestOpenAI(TransportContract):
    @pytest.fixture
    async def door(self, site: Any, api_key: Callable[..., str]) -> Door:
        return OpenAIDoor(site, api_key())


class TestOpenAIOnThePlatformHost(TransportContract):
    @pytest.fixture
    async def door(self, site: Any, api_key: Callable[..., str]) -> Door:
        return OpenAIDoor(site, api_key(), slug="")


class TestResponses(ResumableContract):
    @pytest.fixture
    async def door(self, site: Any, api_key: Callable[..., str]) -> Door:
        return ResponsesDoor(site, api_key())
