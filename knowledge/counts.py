"""How many documents and pages the bound tenant has, and whether it may have more (tenants/limits.py)."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime

from django.db.models import Count, Min, Sum

from knowledge.models import Document, KnowledgeBase
from tenants import limits


def totals() -> dict[str, int]:
    """{bases, documents, passages, bytes} of all bases together."""
    found = Document.objects.aggregate(documents=Count("id"), passages=Sum("chunk_count"), bytes=Sum("size"))
    return {"bases": KnowledgeBase.objects.count()} | {name: int(value or 0) for name, value in found.items()}


def check_documents(more: int) -> None:
    """Raises plan_limit_reached unless there may be `more` documents than there are. In a transaction."""
    if limits.max_documents() is not None:
        limits.one_at_a_time("documents")
        limits.check_documents(Document.objects.count() + more)


def check_pages(document_id: uuid.UUID, pages: int) -> None:
    """Raises plan_limit_reached unless a document may have so many pages. In a transaction."""
    if limits.max_pages() is not None:
        limits.one_at_a_time("pages")
        others = Document.objects.exclude(id=document_id).aggregate(all=Sum("pages"))["all"] or 0
        limits.check_pages(int(others) + pages)


def states() -> Counter[str]:
    """State -> how many documents."""
    rows = Document.objects.order_by().values_list("state")
    return Counter(dict(rows.annotate(count=Count("id"))))


def waiting_since() -> datetime | None:
    """Since when the oldest document that nobody works on has waited."""
    queued = Document.objects.filter(state=Document.State.QUEUED, leased_until=None)
    found: datetime | None = queued.aggregate(first=Min("updated_at"))["first"]
    return found
