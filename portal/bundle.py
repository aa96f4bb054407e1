"""The files of the built chat page, from Vite's manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from django.conf import settings

FOLDER = "chat"


@dataclass(frozen=True, slots=True)
class Entry:
    """Paths below static/."""

    script: str
    styles: tuple[str, ...]
    preloads: tuple[str, ...]


@cache
def entry() -> Entry:
    """The page's entry. Raises FileNotFoundError when the bundle is missing from the checkout."""
    manifest = json.loads((settings.ROOT / "static" / FOLDER / "manifest.json").read_text())
    found = next(item for item in manifest.values() if item.get("isEntry"))
    return Entry(
        script=f"{FOLDER}/{found['file']}",
        styles=tuple(f"{FOLDER}/{style}" for style in found.get("css", ())),
        preloads=tuple(f"{FOLDER}/{manifest[name]['file']}" for name in found.get("imports", ())),
    )
