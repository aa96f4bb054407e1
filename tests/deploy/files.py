"""What the files of a deployment say, and what the platform reads."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
READERS = (
    "paas/settings/base.py",
    "paas/settings/prod.py",
    "paas/sign_in_providers.py",
    "paas/env.py",
    "paas/backup.py",
    "launch/web.py",
)
COMMANDS = ("paas/management/commands/prepare.py", "paas/management/commands/init_database.py")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


@cache
def variables() -> frozenset[str]:
    """The names of the environment that web processes, workers and commands read: constants of their sources."""
    found = {"DJANGO_SETTINGS_MODULE"}
    for path in (*READERS, *COMMANDS):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                found.add(node.value)
    return frozenset(found)


def unknown(names: set[str]) -> set[str]:
    """Those of `names` that nothing reads. Any may come from a file, as NAME_FILE."""
    return {name for name in names if name.removesuffix("_FILE") not in variables()}


def compose() -> Any:
    """compose.yaml."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    """Every document of deploy/kubernetes that kustomize lists."""
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return tuple(document for name in listed for document in yaml.safe_load_all((folder / name).read_text()))


def seconds(text: str) -> float:
    """`90s` or `2m` as a number of seconds."""
    unit = {"s": 1, "m": 60}[text[-1]]
    return float(text[:-1]) * unit
