"""The file of a backup: a ZIP of tables and files, each with its SHA-256 in a manifest that is written last.

With a key every part is sealed (core/sealed_streams.py) and `backup.json` says so; without one the parts can be read
with any unzip. The file has its final name only when it is whole and on the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from core import sealed_streams
from core.sealed_streams import StreamDamaged

FORMAT = 1
HEADER, MANIFEST = "backup.json", "manifest.json"


class BackupError(Exception):
    """A backup cannot be made, read or restored; the sentence says why and what to do."""


class Entry:
    """What is written into one part: counted and digested on its way."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target, self._digest = target, hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._target.write(data)
        self._digest.update(data)
        self.size += len(data)

    def facts(self) -> dict[str, Any]:
        """As the manifest has them."""
        return {"bytes": self.size, "sha256": self._digest.hexdigest()}


class Writer:
    """A backup that is being made; `finish` gives it its name. What is left unfinished is removed."""

    def __init__(self, path: Path, key: bytes | None) -> None:
        self.path, self._key = path, key
        if path.exists():
            raise BackupError(f"{path} exists already. Choose another name.")
        self._unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            descriptor = os.open(self._unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
        self._file = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED if key else zipfile.ZIP_DEFLATED)
        self._zip.writestr(HEADER, orjson.dumps({"format": FORMAT, "encrypted": key is not None}))

    @property
    def encrypted(self) -> bool:
        """Whether its parts are sealed."""
        return self._key is not None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError, ValueError):  # a full disk says it again
            self._zip.close()
        with suppress(OSError):
            self._file.close()
        self._unfinished.unlink(missing_ok=True)

    @contextmanager
    def entry(self, name: str) -> Iterator[Entry]:
        """A part to write into; one at a time."""
        with self._zip.open(name, "w", force_zip64=True) as raw:
            if self._key is None:
                yield Entry(raw)
                return
            with sealed_streams.Sealer(raw, self._key, name) as sealer, gzip.open(sealer, "wb", 6) as packed:
                yield Entry(packed)

    def finish(self, manifest: dict[str, Any]) -> str:
        """Write the manifest and give the file its name; returns the manifest's SHA-256."""
        with self.entry(MANIFEST) as part:
            part.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.rename(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return str(part.facts()["sha256"])


class Reader:
    """A backup that is read. A context manager. Raises BackupError for what is none, or does not open."""

    def __init__(self, path: Path, key: bytes | None) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            header = orjson.loads(self._zip.read(HEADER))
        except (OSError, zipfile.BadZipFile, KeyError, orjson.JSONDecodeError) as error:
            raise BackupError(f"{path} is no backup that can be read: {error}") from None
        if header.get("format") != FORMAT:
            raise BackupError(f"{path} has format {header.get('format')}; this release reads {FORMAT}.")
        if header["encrypted"] and key is None:
            raise BackupError(f"{path} is encrypted. Set BACKUP_KEY (or BACKUP_KEY_FILE) to the key it was made with.")
        self._key = key if header["encrypted"] else None
        with self.entry(MANIFEST) as part:
            self.manifest: dict[str, Any] = orjson.loads(part.read())

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @contextmanager
    def entry(self, name: str) -> Iterator[IO[bytes]]:
        """A part to read from. Raises BackupError when it is missing or damaged."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise BackupError(f"{name} is missing from the backup.") from None
        try:
            with self._zip.open(info) as raw:
                if self._key is None:
                    yield raw
                    return
                opener = io.BufferedReader(sealed_streams.Opener(raw, self._key, name), sealed_streams.PIECE)
                with gzip.open(opener, "rb") as unpacked:
                    yield unpacked  # type: ignore[misc]  # reads bytes
        except StreamDamaged as error:
            raise BackupError(f"{name} does not open. {error}") from None
        except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise BackupError(f"{name} is damaged: {error}") from None

    def blocks(self, name: str, facts: dict[str, Any]) -> Iterator[bytes]:
        """A part piece by piece; at its end it is compared with the manifest. Raises BackupError."""
        digest = hashlib.sha256()
        with self.entry(name) as part:
            while block := part.read(1 << 18):
                digest.update(block)
                yield block
        if digest.hexdigest() != facts["sha256"]:
            raise BackupError(f"{name} is not what was backed up: its SHA-256 differs.")

    def check(self) -> int:
        """Read every part and compare; returns how many there are. Raises BackupError for the first bad one."""
        parts = [(one["part"], one) for one in self.manifest["tables"] if one["rows"]]
        parts += [(one["part"], one) for one in self.manifest["files"]]
        for name, facts in parts:
            for _ in self.blocks(name, facts):
                pass
        return len(parts)
