"""compose.yaml: secrets as files, few rights, separate networks, and time enough to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import secret_files
from launch.settings import CLOSE_SECONDS, DRAIN_SECONDS
from paas.management.commands.work import JOB_SECONDS
from tests.deploy.files import compose, seconds, unknown

OURS = ("web1", "web2", "worker", "migrate")
NETWORKS = {
    "web1": {"edge", "data", "watch", "outside"},
    "web2": {"edge", "data", "watch", "outside"},
    "worker": {"data", "watch", "outside"},
    "migrate": {"data"},
    "postgres": {"data"},
    "redis": {"data"},
    "proxy": {"edge"},
    "collector": {"watch", "outside"},
    "prometheus": {"watch"},
    "alertmanager": {"watch", "outside"},
    "grafana": {"watch", "operators"},
}
SECRETS = {
    "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "FIELD_KEYS", "API_KEY_PEPPER", "BACKUP_KEY",
}  # fmt: skip
NOTICE_SECONDS = 5  # STOP_NOTICE_SECONDS of the image


def test_the_platform_reads_what_it_is_given() -> None:
    found = compose()
    for name in OURS:
        given = set(found["services"][name]["environment"])
        assert unknown(given) == set(), name
        # No secret is in a variable, where `docker inspect` and every child process show it.
        assert {key for key in given if key.removesuffix("_FILE") != key} >= {"DATABASE_URL_FILE", "SECRET_KEY_FILE"}
        assert given.isdisjoint(SECRETS)


def test_each_has_the_secrets_that_it_reads_and_no_others() -> None:
    for name in OURS:
        service = compose()["services"][name]
        named = {path.rpartition("/")[2] for key, path in service["environment"].items() if key.endswith("_FILE")}
        assert set(service["secrets"]) == named, name
    for name in ("web1", "web2"):
        assert not {"database_owner_url", "database_admin_url", "backup_key"} & set(
            compose()["services"][name]["secrets"]
        )


def test_keys_can_be_changed_and_backups_are_encrypted() -> None:
    found = {name: set(compose()["services"][name]["environment"]) for name in OURS}
    assert all("SECRET_KEY_FALLBACKS_FILE" in given for given in found.values())
    assert "BACKUP_KEY_FILE" in found["worker"]


def test_every_secret_is_made(tmp_path: Path) -> None:
    made = set(secret_files.make(tmp_path / "secrets", postgres="postgres:5432", redis="redis:6379"))
    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} == made
    assert all(secret["file"].startswith("deploy/secrets/") for secret in compose()["secrets"].values())


def test_rights_and_limits() -> None:
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service.get("read_only") or name == "postgres", name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        assert not service.get("privileged"), name
        assert _named(service["image"]), name
        assert "user" not in service or service["user"] != "root"


def _named(image: str) -> bool:
    """With a version, and without the host of a registry."""
    repository, _, version = image.partition(":")
    return bool(version) and "." not in repository.split("/")[0]


def test_networks_are_apart() -> None:
    found = compose()
    assert {name: set(service["networks"]) for name, service in found["services"].items()} == NETWORKS
    assert found["networks"]["data"]["internal"]
    assert found["networks"]["watch"]["internal"]
    published = {name: service["ports"] for name, service in found["services"].items() if "ports" in service}
    assert set(published) == {"proxy", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])


def test_who_stops_has_the_time_for_it() -> None:
    services: dict[str, Any] = compose()["services"]
    web = NOTICE_SECONDS + DRAIN_SECONDS + CLOSE_SECONDS
    assert all(seconds(services[name]["stop_grace_period"]) > web for name in ("web1", "web2"))
    assert seconds(services["worker"]["stop_grace_period"]) > JOB_SECONDS + DRAIN_SECONDS + CLOSE_SECONDS
    assert seconds(services["proxy"]["stop_grace_period"]) > web
    assert f"STOP_NOTICE_SECONDS={NOTICE_SECONDS}" in (Path(__file__).parents[2] / "Dockerfile").read_text()
