"""The files that tests keep in the storage of the two tenants."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from tests.conftest import Platform


def _folder(tenant_id: object) -> Path:
    return Path(default_storage.location) / str(tenant_id)


def _cleared(db: Platform) -> None:
    for tenant in (db.acme, db.globex):
        shutil.rmtree(_folder(tenant.id), ignore_errors=True)


@pytest.fixture
def no_files(db: Platform) -> Iterator[None]:
    """Nothing is stored before the test, whatever ran before it, nor after it. Import it and name it."""
    _cleared(db)
    yield
    _cleared(db)


def stored(db: Platform) -> list[Path]:
    """The files that acme has."""
    return sorted(path for path in _folder(db.acme.id).rglob("*") if path.is_file())
