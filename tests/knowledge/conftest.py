from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from tenants import scope
from tests.chat.conftest import agents, ledger, vendor  # noqa: F401
from tests.conftest import in_thread
from tests.files import no_files  # noqa: F401

Bound = Callable[[Any, Callable[[], Any]], Any]


def bound(who: Any, work: Callable[[], Any]) -> Any:
    """What `work` gives, bound to the actor's tenant, in a thread."""

    def run() -> Any:
        with scope.bind(who.tenant):
            return work()

    return in_thread(run)


def put(who: Any, slug: str, *texts: tuple[str, bytes], **labels: Any) -> list[Any]:
    from knowledge.documents import Labels, Source, documents_add

    sources = [Source(name, len(data), io.BytesIO(data)) for name, data in texts]
    return list(bound(who, lambda: documents_add(actor=who, slug=slug, sources=sources, labels=Labels(**labels))))


def make(who: Any, slug: str = "docs", **fields: Any) -> Any:
    from knowledge.bases import base_create

    return bound(who, lambda: base_create(actor=who, slug=slug, fields=fields))


async def ingested(who: Any) -> None:
    from knowledge import ingest

    while await ingest.turn(who.tenant):
        pass


@pytest.fixture(autouse=True)
def _without_files(no_files: None) -> None:
    """Each of these tests begins with nothing stored."""
