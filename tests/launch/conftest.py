"""Projects and platforms for the tests of launch/."""

from __future__ import annotations

import compileall
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch import stand_in
from tests.launch.running import Platform, Start


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the stand-in, compiled once for all its copies."""
    project = stand_in.make(tmp_path_factory.mktemp("template") / "project")
    compileall.compile_dir(project, quiet=1)
    return project


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project of the test's own."""
    return Path(shutil.copytree(template, tmp_path / "project"))


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Starts the supervisor in `project`; without the local model unless the test asks for it."""
    started: list[Platform] = []

    def start_one(**environment: str) -> Platform:
        platform = Platform(project, **({"LOCAL_MODEL_URL": "http://127.0.0.1:9/v1"} | environment))
        started.append(platform)
        return platform

    yield start_one
    for platform in started:
        platform.close()


@pytest.fixture(scope="module")
def whole(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform with every part, shared by the tests of a module; each leaves it healthy."""
    platform = Platform(Path(shutil.copytree(template, tmp_path_factory.mktemp("whole") / "project")))
    try:
        yield platform.ready()
    finally:
        platform.close()
