"""The project's own sources, read and parsed once a run for all who look at them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def sources(*folders: str) -> list[tuple[str, str]]:
    """(path, text) of each Python file below these folders, without caches."""
    return [
        (str(path.relative_to(ROOT)), path.read_text())
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)
