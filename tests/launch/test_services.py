"""The API by which tests and benches get their own PostgreSQL and Redis."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
import redis

from launch.errors import LaunchError
from launch.services import start_postgres, start_redis


def test_postgres_serves_pgvector_and_keeps_its_data(tmp_path: Path) -> None:
    with start_postgres(tmp_path / "pg") as service:
        with psycopg.connect(service.admin_url) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute("CREATE TABLE kept (embedding vector(3))")
            connection.execute("INSERT INTO kept VALUES ('[1,2,3]')")
            version = connection.execute("SHOW server_version_num").fetchone()
        pid = service.pid
        assert version is not None
        assert int(version[0]) >= 180000
    assert not Path(f"/proc/{pid}").exists()
    with start_postgres(tmp_path / "pg") as again, psycopg.connect(again.admin_url) as connection:
        assert connection.execute("SELECT embedding <-> '[1,2,4]' FROM kept").fetchone() == (1.0,)


def test_postgres_wants_the_password(tmp_path: Path) -> None:
    with start_postgres(tmp_path / "pg") as service:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(service.url_for("postgres", "postgres", "wrong"))
        with psycopg.connect(service.admin_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.exhaustive
def test_paths_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with start_postgres(deep / "pg") as postgres, start_redis(deep / "redis") as server:
        sockets = [postgres.cluster.socket, server.server.socket]
        assert all(len(os.fsencode(path)) <= 100 and path.exists() for path in sockets)
        with psycopg.connect(postgres.admin_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
    assert not any(path.parent.exists() for path in sockets)


def test_redis_has_numbered_databases_and_no_network(tmp_path: Path) -> None:
    with start_redis(tmp_path / "redis") as service:
        with redis.Redis.from_url(service.url) as first, redis.Redis.from_url(service.url_for(3)) as third:
            first.set("key", "value")
            assert third.get("key") is None
            assert first.config_get("port") == {"port": "0"}
            assert first.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert (service.server.socket.stat().st_mode & 0o777) == 0o600


def test_durable_redis_keeps_its_data(tmp_path: Path) -> None:
    with start_redis(tmp_path, durable=True) as service, redis.Redis.from_url(service.url) as client:
        client.set("key", "value")
    with start_redis(tmp_path, durable=True) as service, redis.Redis.from_url(service.url) as client:
        assert client.get("key") == b"value"


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    data = tmp_path / "redis" / "data"
    (data / "appendonly.aof").mkdir(parents=True)
    with pytest.raises(LaunchError, match="did not start") as caught:
        start_redis(tmp_path / "redis", durable=True)
    assert any("append" in line.lower() for line in caught.value.details)
