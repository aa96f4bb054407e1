"""What the stand-in vendor answers to `POST .../embeddings`.

embed-<n>           vectors of n numbers, which follow from the input; one prompt token for each byte of text
embed-silent-<n>    the same without a word about usage
fault-...           as for chat (answers.py)
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from typing import Any

import orjson

_NAME = re.compile(r"embed-(silent-)?(\d{1,4})")


def vector_of(one: Any, size: int) -> list[float]:
    """The vector of an input: numbers that 32-bit floats hold exactly, so that both encodings say the same."""
    digest = hashlib.shake_256(orjson.dumps(one)).digest(size)
    return [(byte - 128) / 128 for byte in digest]


def tokens_of(inputs: list[Any]) -> int:
    """The prompt tokens of these inputs: bytes of a text, or the tokens themselves."""
    return sum(len(one.encode()) if isinstance(one, str) else len(one) for one in inputs)


def document_of(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The answer's document; None when no such model exists."""
    match = _NAME.fullmatch(str(asked.get("model")))
    if match is None:
        return None
    given = asked.get("input")
    whole = isinstance(given, str) or (isinstance(given, list) and all(isinstance(one, int) for one in given))
    inputs = [given] if whole else list(given or [])
    size = int(asked.get("dimensions") or match[2])
    rows: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": vector_of(one, size)} for index, one in enumerate(inputs)
    ]
    if asked.get("encoding_format") == "base64":
        for row in rows:
            row["embedding"] = base64.b64encode(struct.pack(f"<{size}f", *row["embedding"])).decode()
    document: dict[str, Any] = {"object": "list", "data": rows, "model": asked["model"]}
    if not match[1]:
        tokens = tokens_of(inputs)
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return document
