"""The alerts of deploy/prometheus/rules."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tests.deploy.files import DEPLOY

RULES = DEPLOY / "prometheus" / "rules"


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Every rule of every file."""
    groups = (group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"])
    return tuple(rule for group in groups for rule in group["rules"])


def alerts() -> dict[str, dict[str, Any]]:
    """Alerts by their names."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}
