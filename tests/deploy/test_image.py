"""The image: what gets in, as whom it runs, and what it is made of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from launch import probe, secret_files
from tests.deploy.files import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
ROOMS = {"accounts", "agents", "chat", "core", "knowledge", "launch", "llm", "paas", "portal", "tenants", "usage"}


def instructions() -> list[str]:
    """The Dockerfile's, one a line."""
    joined = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def pins(name: str) -> set[tuple[str, str]]:
    return set(PIN.findall((ROOT / name).read_text()))


def test_nothing_gets_in_but_what_runs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in >= ROOMS | {"static", "templates", "locale", "manage.py", "pyproject.toml"}
    assert let_in.isdisjoint({".git", "var", "deploy", "tests", "bench", ".venv", ".env"})
    assert all((ROOT / name).exists() for name in let_in)


def test_it_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    lines = instructions()
    assert [line.split()[1] for line in lines if line.startswith("USER")] == ["10001:10001"]
    assert lines.index("USER 10001:10001") > max(n for n, line in enumerate(lines) if line.startswith(("RUN", "COPY")))
    declared = " ".join(line for line in lines if line.startswith(("ENV", "ARG", "COPY")))
    assert not re.search(r"SECRET|PASSWORD|TOKEN|FIELD_KEYS|PEPPER|DATABASE_URL|REDIS_URL", declared)
    assert any(line.startswith("HEALTHCHECK") and "launch.probe" in line for line in lines)
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert all("/" not in image and "latest" not in image for image in images), "no host, and a version"


def test_its_packages_are_locked_and_those_of_make_run_without_the_embedded_services() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    embedded = {requirement.split("==")[0] for requirement in project["dependency-groups"]["embedded"]}
    server = pins("requirements-server.txt")
    assert server <= pins("requirements.txt")
    assert not {name for name, _ in server} & embedded
    assert {name for name, _ in pins("requirements.txt")} >= embedded
    assert any("--require-hashes" in line and "requirements.txt" in line for line in instructions())


def test_secrets_are_made_once(tmp_path: Path) -> None:
    where = tmp_path / "secrets"
    made = secret_files.make(where, postgres="postgres:5432", redis="redis:6379")
    before = {name: (where / name).read_text() for name in made}
    assert where.stat().st_mode & 0o777 == 0o700, "the folder keeps others out"
    assert {(where / name).stat().st_mode & 0o777 for name in made} == {0o444}, "a container's uid reads them"
    (where / "redis_conf").unlink()
    assert secret_files.make(where, postgres="other:1", redis="other:2") == ["redis_conf"]
    assert {name: (where / name).read_text() for name in made} == before
    assert before["redis_url"].split("://:")[1].split("@")[0] in before["redis_conf"]
    given = [value for value in before.values() if value]  # the others are for whoever runs it to fill
    assert len(set(given)) == len(given) == len(before) - 2


def test_the_probe(tmp_path: Path) -> None:
    """That a process is healthy is seen in tests/cluster; here, that one is not."""
    assert probe.main("http://127.0.0.1:1/healthz") == 1
