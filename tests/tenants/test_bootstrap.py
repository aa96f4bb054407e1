"""Roles, database and extension: made once, mended when somebody changed them, refused on an old server (P12)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tenants import catalog, isolation
from tenants.db import bootstrap
from tests.conftest import Platform
from tests.services import Services


def again(services: Services) -> list[str]:
    names = ("DATABASE_ADMIN_URL", "DATABASE_URL", "DATABASE_OWNER_URL")
    return bootstrap.initialise(*(services.environment[name] for name in names))


@pytest.fixture
def admin(services: Services, platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connected:
        yield connected


def test_a_second_time_makes_nothing(services: Services, platform: Platform) -> None:
    assert again(services) == []
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        assert isolation.gaps(login) == []


def test_several_at_once(services: Services, platform: Platform) -> None:
    with ThreadPoolExecutor(3) as threads:
        assert [one.result() for one in [threads.submit(again, services) for _ in range(3)]] == [[], [], []]


CHANGES = [
    "ALTER ROLE paas_app SUPERUSER",
    "ALTER ROLE paas_app BYPASSRLS INHERIT CREATEROLE CREATEDB",
    "ALTER ROLE paas_owner BYPASSRLS CREATEDB",
    "ALTER ROLE paas_platform LOGIN SUPERUSER",
    "ALTER ROLE paas_tenant LOGIN BYPASSRLS",
    "GRANT paas_platform TO paas_app WITH INHERIT TRUE",
    "GRANT TEMPORARY ON DATABASE paas TO PUBLIC",
    "GRANT CREATE ON SCHEMA public TO PUBLIC",
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_changed_is_mended(change: str, services: Services, admin: psycopg.Connection[Any]) -> None:
    admin.execute(change.encode())
    assert isolation.gaps(admin) != []
    again(services)
    assert isolation.gaps(admin) == []


@pytest.mark.parametrize("version", [180000, 180004, 190000, 170006, 170010, 160010])
def test_servers_that_are_fit(version: int) -> None:
    bootstrap.check_version(version)


@pytest.mark.parametrize("version", [170005, 170000, 160009, 150014, 150099, 140020, 90600])
def test_servers_with_known_holes_are_refused(version: int) -> None:
    with pytest.raises(bootstrap.DatabaseNotSuitable, match="too old"):
        bootstrap.check_version(version)


def test_the_running_server_is_fit(admin: psycopg.Connection[Any]) -> None:
    assert list(isolation.server(catalog.read(admin))) == []


def test_other_logins_are_refused_before_anything_is_made(services: Services, platform: Platform) -> None:
    wrong = services.postgres.url_for("paas", "postgres", "x")
    environment = services.environment
    for app, owner in ((wrong, environment["DATABASE_OWNER_URL"]), (environment["DATABASE_URL"], wrong)):
        with pytest.raises(bootstrap.DatabaseNotSuitable, match="must sign in as"):
            bootstrap.initialise(environment["DATABASE_ADMIN_URL"], app, owner)


def test_the_command_says_it_in_a_sentence(
    services: Services, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.management import CommandError, call_command

    monkeypatch.setenv("DATABASE_URL", services.postgres.url_for("paas", "postgres", "x"))
    with pytest.raises(CommandError, match="paas_app"):
        call_command("init_database")
