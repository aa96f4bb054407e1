"""Vectors of a real model, from a GGUF file, by the embedded model server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60
AT_ONCE = 16  # texts of one request


@contextmanager
def served(weights: Path, threads: int = 2) -> Iterator[Callable[[Sequence[str]], list[list[float]]]]:
    """A function that gives the vectors of texts, while the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = [sys.executable, "-m", "launch.model_server", "--embeddings"]
    server = subprocess.Popen([*module, "--weights", str(weights), "--port", str(port), "--threads", str(threads)])
    try:
        _wait(server, port)
        yield lambda texts: [
            vector for at in range(0, len(texts), AT_ONCE) for vector in _vectors(port, texts[at : at + AT_ONCE])
        ]
    finally:
        server.terminate()
        server.wait(10)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(START_SECONDS * 5):
        try:
            _vectors(port, ["ready?"])
            return
        except OSError:
            if server.poll() is not None:
                raise SystemExit("the model server has ended: is this a GGUF file of an embeddings model?") from None
            time.sleep(0.2)
    raise SystemExit("the model server does not answer")


def _vectors(port: int, texts: Sequence[str]) -> list[list[float]]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/embeddings",
        json.dumps({"input": list(texts)}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return [one["embedding"] for one in json.load(answer)["data"]]
