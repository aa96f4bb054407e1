"""Log lines as JSON: one object each, joined by ids, and without secrets at any depth (P41, A24)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from core.logs import JsonLines, to_record
from core.redaction import RedactSecrets

KEY = "ak_Zm9vYmFyYmF6cXV4"


@pytest.fixture
def lines() -> Iterator[Any]:
    """`lines()`: what was written, as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(RedactSecrets())
    logger = logging.getLogger("tests.json")
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def own() -> Any:
    processors: list[Any] = [structlog.processors.format_exc_info, to_record]
    return structlog.wrap_logger(
        logging.getLogger("tests.json"), processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )


def test_lines_are_joined_by_ids(lines: Any) -> None:
    with bound_contextvars(request_id="r1", tenant="t1"):
        own().warning("100% of it", run="x1", name="a word that records have too", count=3)
        logging.getLogger("tests.json").warning("%d of others", 7)
    first, second = lines()
    for name, value in {"event": "100% of it", "request_id": "r1", "tenant": "t1", "run": "x1", "count": 3}.items():
        assert first[name] == value
    assert (first["level"], first["logger"], first["name"]) == ("warning", "tests.json", "a word that records have too")
    assert (second["event"], second["request_id"]) == ("7 of others", "r1")
    assert first["time"].endswith("+00:00")


def test_no_secret_in_any_of_it(lines: Any) -> None:
    log = own()
    log.warning(f"with {KEY}", header=f"Bearer {KEY}", deep={"list": [{"key": KEY}], KEY: 1}, other=ValueError(KEY))
    try:
        raise RuntimeError(f"refused: {KEY}\nsecond line")
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("tests.json").exception("failed too")
    found = lines()
    assert len(found) == 3
    assert KEY not in json.dumps(found)
    for one in found[1:]:
        assert "RuntimeError: refused: [secret]" in one["exception"]
