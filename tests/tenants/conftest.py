"""What tests of tenancy need besides the common cast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import Platform
from tests.services import Services


@pytest.fixture
def superuser(platform: Platform, services: Services) -> Iterator[psycopg.Connection[Any]]:
    """A superuser inside the platform's database, in a transaction that is rolled back."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as connection:
        yield connection
        connection.rollback()
