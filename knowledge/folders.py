"""Folders into a base and out of it: for `manage.py knowledge`. Bound to the tenant.

A document that came from a folder has its place there as `path` in its metadata, and is known by that: another import
takes what is new, replaces what has other bytes and leaves the rest alone, so one that broke off is begun again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from accounts.actors import Actor
from core.documents.kinds import inert_name
from core.errors import PaasError
from knowledge import files
from knowledge.access import base_for
from knowledge.bases import CHANGEABLE, FIXED, base_view
from knowledge.documents import Labels, Source, document_replace, documents_add, kind_of
from knowledge.models import Document, KnowledgeBase

MANIFEST = "manifest.json"
FILES = "files"
PATH = "path"  # in a document's metadata
Say = Callable[[str], None]


@dataclass
class Outcome:
    """How many files were new, had changed, were as they were, and could not be taken."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return f"{self.added} new, {self.replaced} changed, {self.unchanged} unchanged, {self.refused} refused"


def folder_import(actor: Actor, slug: str, folder: Path, say: Say, *, dry_run: bool = False) -> Outcome:
    """Every file of a folder, and of those in it, into a base. Hidden files, links and the manifest are passed over;
    from a manifest, as `folder_export` writes it, come titles, tags and metadata. say: is told of each file.

    Raises permission_denied, not_found, plan_limit_reached, storage_full (what was taken by then stays), OSError.
    """
    base = base_for(actor, slug, write=True)
    known = {one.metadata.get(PATH): one for one in base.documents.exclude(source=Document.Source.URL)}
    told = _told(folder)
    outcome = Outcome()
    for place, file in _files(folder):
        try:
            what = _taken(actor, slug, file, told.get(place, {}) | {PATH: place}, known.get(place), dry_run)
        except PaasError as error:
            if error.code in ("plan_limit_reached", "storage_full"):
                raise
            outcome.refused += 1
            say(f"refused    {place}: {error.message}")
            continue
        setattr(outcome, what, getattr(outcome, what) + 1)
        if what != "unchanged":
            say(f"{what:<10} {place}")
    return outcome


def folder_export(actor: Actor, slug: str, folder: Path, say: Say) -> int:
    """The files of a base into a folder, as they came, and a manifest with the base's settings and the documents'
    titles, tags and metadata. Files that are there already are left alone. Returns how many documents.

    Raises permission_denied, not_found, OSError.
    """
    base = base_for(actor, slug)
    used: set[str] = set()
    entries = []
    for one in base.documents.order_by("id").iterator():
        place = _place(one, used)
        if one.key and _written(one, folder / FILES / place):
            say(place)
        about = {name: getattr(one, name) for name in ("title", "source", "url", "kind", "size", "checksum")}
        file = f"{FILES}/{place}" if one.key else None
        entries.append({PATH: place, "file": file} | about | {"tags": one.tags, "metadata": one.metadata})
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"knowledge": _settings(base), "documents": entries}
    _replace(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1).encode())
    return len(entries)


# --- in -----------------------------------------------------------------------------------------------------------
def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    root = folder / FILES if (folder / MANIFEST).is_file() and (folder / FILES).is_dir() else folder
    if not root.is_dir():
        raise NotADirectoryError(20, "There is no such folder", str(folder))
    for place, folders, names in os.walk(root):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and not file.is_symlink() and file.is_file():
                yield file.relative_to(root).as_posix(), file


def _told(folder: Path) -> dict[str, dict[str, Any]]:
    """Path -> what a manifest says of it: title, tags and metadata. Raises validation_failed for one that is none."""
    if not (folder / MANIFEST).is_file():
        return {}
    try:
        entries = json.loads((folder / MANIFEST).read_bytes())["documents"]
        return {str(one[PATH]): {name: one[name] for name in ("title", "tags", "metadata")} for one in entries}
    except (ValueError, KeyError, TypeError):
        raise PaasError("validation_failed", f"{folder / MANIFEST} is not what an export writes.") from None


def _taken(actor: Actor, slug: str, file: Path, about: dict[str, Any], before: Document | None, dry_run: bool) -> str:
    with file.open("rb") as content:
        if before is not None and before.checksum == files.checksum(content):
            return "unchanged"
        what = "added" if before is None else "replaced"
        source = Source(about.get("title") or file.name, file.stat().st_size, content)
        if dry_run:
            kind_of(source)
        elif before is not None:
            document_replace(actor=actor, slug=slug, document_id=before.id, source=source)
        else:
            metadata = {**about.get("metadata", {}), PATH: about[PATH]}
            labels = Labels(about.get("tags", []), metadata)
            documents_add(actor=actor, slug=slug, sources=[source], labels=labels)
    return what


# --- out ----------------------------------------------------------------------------------------------------------
def _place(one: Document, used: set[str]) -> str:
    """Where a document's file goes: its path if it has one, of names that lead nowhere else."""
    asked = one.metadata.get(PATH)
    names = [inert_name(part) for part in PurePosixPath(str(asked or one.title)).parts if part not in ("/", "..", ".")]
    place = "/".join(names[-20:]) if asked and names else inert_name(one.title)
    if place in used:
        path = PurePosixPath(place)
        place = str(path.with_name(f"{path.stem[:60]}-{one.id}{path.suffix}"))
    used.add(place)
    return place


def _written(one: Document, target: Path) -> bool:
    """Write a document's file; False where it is there already."""
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == one.checksum:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.opened(one.key) as content:
        _replace(target, content.read())
    return True


def _replace(target: Path, data: bytes) -> None:
    """All of it or nothing, whatever happens meanwhile."""
    fresh = target.with_name(f".{target.name[:100]}.new")
    fresh.write_bytes(data)
    fresh.replace(target)


def _settings(base: KnowledgeBase) -> dict[str, Any]:
    shown = base_view(base)
    return {name: shown[name] for name in ("slug", *CHANGEABLE, *FIXED)}
