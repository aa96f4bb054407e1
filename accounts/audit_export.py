"""The audit log as a file, written a batch at a time: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from django.http import StreamingHttpResponse

from accounts import audit_selectors
from accounts.audit_selectors import Row, Search
from accounts.models import AuditEvent
from core import clock
from tenants import scope
from tenants.scope import Binding

BATCH = 500
COLUMNS = (
    "seq", "at", "action", "actor", "actor_name", "target", "target_name", "address", "data", "id", "digest",
)  # fmt: skip
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def cell(text: str) -> str:
    """`text` for a cell of a spreadsheet, which takes what begins so for a formula, or for the next cell (A70)."""
    first = text.lstrip(" \u00a0\u3000")[:1]
    return f"'{text}" if first and first in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" else text


def csv_lines(rows: list[dict[str, Any]]) -> bytes:
    """Lines of a CSV file; every cell that came from people is neutralised."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        shown = {**row, "data": orjson.dumps(row["data"]).decode() if row["data"] else ""}
        writer.writerow([cell(str(shown[name])) for name in COLUMNS])
    return out.getvalue().encode()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """One JSON object a line."""
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def batch(search: Search, before: tuple[Any, ...] | None, tenant: bool) -> tuple[list[Row], tuple[Any, ...] | None]:
    """The next rows and where to go on. Of a tenant by number; of all logs (operators) by id, which is by time."""
    if tenant:
        rows, following = audit_selectors.page(search, before=before[0] if before else None, limit=BATCH)
        return rows, None if following is None else (following,)
    found = audit_selectors.events_of(search, AuditEvent.objects.select_related("tenant")).order_by("-id")
    if before:
        found = found.filter(id__lt=before[0])
    events = list(found[:BATCH])
    return audit_selectors.named(events), (events[-1].id,) if len(events) == BATCH else None


async def parts(search: Search, format_: str, where: Binding) -> AsyncIterator[bytes]:
    """The file, bound to `where`: a tenant's log, or with the platform every log, each row with its tenant."""
    tenant = where.tenant is not None
    encode: Callable[[list[dict[str, Any]]], bytes] = csv_lines if format_ == "csv" else json_lines
    if format_ == "csv":
        # The mark tells spreadsheets that it is UTF-8.
        yield ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()
    before: tuple[Any, ...] | None = None
    while True:
        with scope.use(where):
            rows, before = await scope.run_bound(batch, search, before, tenant)
        views = [row.view() for row in rows]
        if not tenant:
            for view, row in zip(views, rows, strict=True):
                view["data"] = {"tenant": row.event.tenant.slug if row.event.tenant else "platform", **view["data"]}
        yield encode(views)
        if before is None:
            return


def answer(search: Search, format_: str) -> StreamingHttpResponse:
    """The file as a download, of the present binding's log."""
    where = scope.current_binding()
    name = f"audit-{where.tenant.slug if where.tenant else 'platform'}-{clock.now():%Y-%m-%d}.{format_}"
    return StreamingHttpResponse(
        parts(search, format_, where),
        headers={"Content-Type": FORMATS[format_], "Content-Disposition": f'attachment; filename="{name}"'},
    )
