"""What the parts print for a person, and what stays in their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.layout import Layout
from launch.parts import Parts
from launch.settings import Settings


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "var")
    layout.make()
    yield layout
    layout.sweep()


@pytest.fixture
def parts(layout: Layout) -> Parts:
    return Parts(Settings(var=layout.var), layout, {})


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        ("[1] LOG:  database system is ready to accept connections", False, False),
        ("[1] ERROR:  duplicate key value violates unique constraint", False, False),
        ("[1] FATAL:  terminating connection due to administrator command", False, False),
        ('[1] FATAL:  password authentication failed for user "paas_app"', False, True),
        ('[1] PANIC:  could not write to file "pg_wal/1": No space left on device', True, True),
    ],
)
def test_only_grave_lines_of_postgresql_are_shown(parts: Parts, line: str, before: bool, after: bool) -> None:
    part = parts.postgres()
    assert part is not None
    assert part.shows(line) is before
    parts.prepared = True
    assert part.shows(line) is after


def test_redis_is_quiet_until_it_cannot_go_on(parts: Parts) -> None:
    part = parts.redis()
    assert part is not None
    assert not part.shows("1:M 23 Nov * Ready to accept connections")
    assert not part.shows("1:M 23 Nov # WARNING overcommit_memory is set to 0!")
    assert part.shows("1:M 23 Nov # Bad file format reading the append only file")


def test_given_services_have_no_part(layout: Layout) -> None:
    given = Settings(
        var=layout.var,
        database_url="postgresql://admin:pw@db/postgres",
        redis_url="redis://cache/0",
        local_model_url="http://models/v1",
    )
    parts = Parts(given, layout, {})
    assert (parts.postgres(), parts.redis(), parts.model()) == (None, None, None)
    services = parts.services()
    assert services["REDIS_URL"] == "redis://cache/0"
    assert services["LOCAL_MODEL_URL"] == "http://models/v1"
    assert services["LOCAL_MODEL_NAME"] == "", "nobody knows which models a given server has"
    assert services["DATABASE_URL"].startswith("postgresql://paas_app:")
    assert services["DATABASE_URL"].endswith("@db/paas")
    assert parts.addresses.admin_url == "postgresql://admin:pw@db/postgres"


def test_two_given_logins_are_used_as_they_are(layout: Layout) -> None:
    given = Settings(
        var=layout.var,
        database_url="postgresql://app:a@db/mine",
        database_owner_url="postgresql://owner:o@db/mine",
    )
    parts = Parts(given, layout, {})
    assert parts.addresses.admin_url is None
    assert parts.services()["DATABASE_OWNER_URL"] == "postgresql://owner:o@db/mine"
    environment = parts.prepare().command().environment
    assert "DATABASE_ADMIN_URL" not in environment
