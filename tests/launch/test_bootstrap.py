"""Installing: whose package sources, which tool, and when not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from launch import bootstrap
from launch.bootstrap import Environment, keep_bytecode
from launch.errors import LaunchError
from launch.packages import Progress, pip_configuration, uv_environment

LISTING = """\
:env:.find-links='/opt/wheels'
:env:.no-index='1'
global.cert='/etc/ca.pem'
global.extra-index-url='file:///one/simple\\nfile:///two/simple'
global.index-url='http://global/simple'
install.index-url='http://install/simple'
install.trusted-host='one two'
not a setting
"""


def test_pips_configuration_becomes_uvs() -> None:
    configuration = pip_configuration(LISTING)
    assert configuration["index-url"] == "http://install/simple"  # `install` beats `global`
    environment = uv_environment(configuration, {"UV_HTTP_TIMEOUT": "7", "PATH": "/bin"})
    assert environment == {
        "PATH": "/bin",
        "UV_HTTP_TIMEOUT": "7",
        "UV_DEFAULT_INDEX": "http://install/simple",
        "UV_INDEX": "file:///one/simple file:///two/simple",
        "UV_FIND_LINKS": "/opt/wheels",
        "UV_INSECURE_HOST": "one two",
        "UV_NO_INDEX": "1",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_uvs_own_settings_win() -> None:
    environment = uv_environment({"index-url": "http://pip/simple"}, {"UV_DEFAULT_INDEX": "http://uv/simple"})
    assert environment["UV_DEFAULT_INDEX"] == "http://uv/simple"


def test_no_package_host_is_named_here() -> None:
    for path in Path(bootstrap.__file__).parent.iterdir():
        if path.suffix in (".py", ".txt", ".sh", ".yaml"):
            assert "://pypi" not in path.read_text()
            assert "pythonhosted" not in path.read_text()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a directory that has one small package and no uv; pip is pointed at it alone."""
    wheel = tmp_path / "index" / "tiny" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "size = 1\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("tiny-1.0.dist-info/WHEEL", tags)
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\n")
    (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    return wheel


@pytest.mark.exhaustive
def test_install_checks_hashes_falls_back_to_pip_and_is_done_once(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "requirements.txt"
    environment = Environment(tmp_path / ".venv", Progress(time.monotonic()))
    requirements.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LaunchError, match="differs from the one that was locked"):
        environment.ensure(requirements)
    assert (environment.home / "unfinished").exists()  # so the next start begins afresh

    requirements.write_text(f"tiny==1.0 --hash=sha256:{hashlib.sha256(index.read_bytes()).hexdigest()}\n")
    environment.ensure(requirements)
    assert "1 packages installed with pip." in capsys.readouterr().out
    assert subprocess.run([environment.python, "-c", "import tiny"], check=False).returncode == 0

    monkeypatch.setattr(bootstrap, "Installer", None)  # a second start must not even think of installing
    environment.ensure(requirements)
    assert capsys.readouterr().out == ""


def test_an_unfinished_environment_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Path] = []

    class Recorder:
        def __init__(self, python: Path, scratch: Path, progress: Progress) -> None:
            assert python.exists()

        def install(self, requirements: Path) -> str:
            installed.append(requirements)
            return "nothing"

    monkeypatch.setattr(bootstrap, "Installer", Recorder)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tiny==1.0\n")
    developers = tmp_path / "requirements-dev.txt"
    developers.write_text("tiny==1.0\ntool==2.0\n")
    environment = Environment(tmp_path / ".venv", Progress(time.monotonic()))
    environment.ensure(developers)
    environment.ensure(requirements)  # the developers' list has all of it
    assert installed == [developers]

    rubbish = environment.home / "lib" / "half-a-package"
    rubbish.touch()
    (environment.home / "unfinished").touch()
    requirements.write_text("tiny==1.1\n")
    environment.ensure(requirements)
    assert installed == [developers, requirements]
    assert not rubbish.exists()

    linked = tmp_path / "another checkout"
    linked.mkdir()
    (linked / ".venv").symlink_to(environment.home)
    Environment(linked / ".venv", Progress(time.monotonic())).ensure(requirements)
    assert installed == [developers, requirements], "what several share is left alone"

    moved = tmp_path / "moved"
    moved.mkdir()
    environment.home.rename(moved / ".venv")
    elsewhere = Environment(moved / ".venv", Progress(time.monotonic()))
    elsewhere.ensure(requirements)  # scripts in bin/ name the old place
    assert len(installed) == 3


def test_a_disk_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = bootstrap.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: usage._replace(free=400_000_000))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tiny==1.0\n")
    with pytest.raises(LaunchError, match=r"needs about 1000 MB .* and 400 MB are free"):
        Environment(tmp_path / ".venv", Progress(time.monotonic())).ensure(requirements)


def test_an_old_python_is_told_so() -> None:
    script = (
        "import sys; sys.version_info = (3, 9, 0)\n"
        "import runpy; runpy.run_module('launch.bootstrap', run_name='__main__')"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=bootstrap.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr


def test_bytecode_is_kept_even_where_it_may_not_lie_among_the_sources() -> None:
    variables = {"PYTHONDONTWRITEBYTECODE": "1"}
    keep_bytecode(variables, Path("/project/.venv"))
    assert variables == {"PYTHONPYCACHEPREFIX": "/project/.venv/bytecode"}
    untouched: dict[str, str] = {}
    keep_bytecode(untouched, Path("/project/.venv"))
    assert untouched == {}
