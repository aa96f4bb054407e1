"""The stand-in vendor, and nothing left open behind a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from django.test import override_settings

from bench.vendor import Vendor
from llm import quirks, wire
from tests.contracts.provider import KEY


@pytest.fixture
async def closing_wire() -> AsyncIterator[None]:
    """Close this test's connections to vendors, and forget what was found out about them."""
    quirks.forget()
    yield
    await wire.close()


@pytest.fixture
async def vendor(closing_wire: None) -> AsyncIterator[Vendor]:
    """A vendor that demands KEY."""
    async with Vendor(key=KEY) as running:
        yield running
        await wire.close()


@pytest.fixture
def set_setting() -> Iterator[Callable[..., None]]:
    """`set_setting(NAME=value)`, until the end of the test."""
    with ExitStack() as stack:

        def change(**values: object) -> None:
            stack.enter_context(override_settings(**values))

        yield change
