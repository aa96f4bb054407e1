"""The audit log as a file, written a batch at a time: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from django.http import StreamingHttpResponse

from accounts import audit_selectors
from accounts.audit_selectors import Row, Search
from accounts.models import AuditEvent
from core import clock, spreadsheets
from tenants import scope
from tenants.scope import Binding

BATCH = 500
COLUMNS = (
    "seq", "at", "action", "actor", "actor_name", "target", "target_name", "address", "data", "id", "digest",
)  # fmt: skip
FORMATS = {"csv": spreadsheets.CONTENT_TYPE, "jsonl": "application/x-ndjson"}


def csv_lines(rows: list[dict[str, Any]]) -> bytes:
    """Lines of a CSV file; every cell that came from people is neutralised."""
    texts = [{**row, "data": orjson.dumps(row["data"]).decode() if row["data"] else ""} for row in rows]
    return spreadsheets.lines([str(row[name]) for name in COLUMNS] for row in texts)


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
        yield spreadsheets.heading(COLUMNS)
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
