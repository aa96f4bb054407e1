from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from tenants import scope
from tests.chat.conftest import agents, ledger, vendor  # noqa: F401
from tests.conftest import Platform, in_thread

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
def no_files_stay(db: Platform) -> Iterator[None]:
    yield
    for tenant in (db.acme, db.globex):
        shutil.rmtree(Path(default_storage.location) / str(tenant.id), ignore_errors=True)


def stored(db: Platform) -> list[Path]:
    folder = Path(default_storage.location) / str(db.acme.id)
    return sorted(path for path in folder.rglob("*") if path.is_file())
