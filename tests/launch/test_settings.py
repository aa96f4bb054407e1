"""The environment, the places and the keys of an installation."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from launch import layout as layout_module
from launch.errors import LaunchError
from launch.keys import Keys
from launch.layout import Layout
from launch.parts import with_login
from launch.settings import ROOT, Settings


def test_defaults() -> None:
    settings = Settings.read({})
    assert (settings.port, settings.web_processes, settings.demo) == (8000, 1, True)
    assert settings.var == ROOT / "var"
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "65536"), ("PORT", "eighty"), ("WEB_WORKERS", "-1"), ("DEMO", "maybe")],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(LaunchError, match=f"{name} must be .*, not '{value}'"):
        Settings.read({name: value})


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://elsewhere/0\n")
    settings = Settings.read({"REDIS_URL_FILE": str(tmp_path / "url")})
    assert settings.redis_url == "redis://elsewhere/0"
    assert "elsewhere" not in repr(settings)
    with pytest.raises(LaunchError, match="REDIS_URL_FILE: cannot read"):
        Settings.read({"REDIS_URL_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://root:pw@db:5433/postgres", "postgresql://paas_app:a%2Fb@db:5433/paas"),
        ("postgres://root:pw@db/mine?sslmode=require", "postgresql://paas_app:a%2Fb@db/mine?sslmode=require"),
        ("postgresql://root:pw@/postgres?host=%2Frun", "postgresql://paas_app:a%2Fb@/paas?host=%2Frun"),
    ],
)
def test_logins_are_derived_from_the_admins_url(given: str, expected: str) -> None:
    assert with_login(given, "paas_app", "a/b") == expected


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(LaunchError, match="must begin with postgresql://"):
        with_login("mysql://root@db/paas", "paas_app", "secret")


def test_directories_are_closed_to_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "var")
    layout.make()
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.log.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.var.stat().st_mode) in (0o700, 0o711)


def test_a_place_that_is_a_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    with pytest.raises(LaunchError, match="choose another place with VAR_DIR"):
        Layout(tmp_path / "var").make()


def test_a_disk_without_room_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = layout_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(layout_module.shutil, "disk_usage", lambda _: usage._replace(free=12_000_000))
    with pytest.raises(LaunchError, match="has 12 MB free, and about 300 MB are needed"):
        Layout(tmp_path / "var").make()


def test_sweep_removes_noted_directories_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "var")
    layout.make()
    made = layout.fresh_directory()
    kept = tmp_path / "not-ours"
    kept.mkdir()
    with (layout.run / "elsewhere").open("a") as notes:
        notes.write(f"{kept}\n")
    layout.sweep()
    assert not made.exists()
    assert kept.exists()


def test_keys_are_made_once_and_closed(tmp_path: Path) -> None:
    first = Keys(tmp_path, {}).platform()
    assert Keys(tmp_path, {}).platform() == first
    assert len(set(first.values())) == 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())
    assert Keys(tmp_path, {"SECRET_KEY": "given"}).platform() == first | {"SECRET_KEY": "given"}


def test_an_empty_key_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()
    assert len(Keys(tmp_path, {}).platform()["SECRET_KEY"]) > 40


def test_data_without_their_keys_are_not_opened_with_new_ones(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    data = tmp_path / "data"
    data.mkdir()
    keys = Keys(secrets, {})
    keys.check(data)  # no database yet: nothing to lose
    (data / "PG_VERSION").write_text("18\n")
    with pytest.raises(LaunchError, match=r"keys are missing .* postgres_superuser_password, secret_key"):
        keys.check(data)
    assert os.listdir(secrets) == []


def test_each_process_serves_its_metrics_at_a_port_of_its_own() -> None:
    assert Settings.read({}).metrics_ports == {}
    assert Settings.read({"METRICS_PORT": "9464"}).metrics_ports == {"web": 9464, "worker": 9465}
    several = Settings.read({"METRICS_PORT": "9464", "WEB_WORKERS": "2"})
    assert several.metrics_ports == {"web1": 9464, "web2": 9465, "worker": 9466}
    with pytest.raises(LaunchError, match="METRICS_PORT"):
        Settings.read({"METRICS_PORT": "65535"})
