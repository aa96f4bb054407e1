"""The alerts of deploy/prometheus/rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.files import DEPLOY

RULES = DEPLOY / "prometheus" / "rules"


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of every file."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """Alerts by their names."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}
