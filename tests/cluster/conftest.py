"""Slow tests of whole installations: no part of `make test`; `.ci/run` runs them. They need caddy, nginx, pgbouncer, prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.installation import Installation, neighbouring_ports


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all tests; each leaves it whole."""
    folder = tmp_path_factory.mktemp("cluster")
    Path(folder).chmod(0o755)
    installation = Installation(folder, METRICS_PORT=str(neighbouring_ports(4)))
    try:
        yield installation.ready()
    finally:
        installation.stop()
