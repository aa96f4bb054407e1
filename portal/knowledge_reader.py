"""A document as its readers see it: passage by passage, the cited one marked; and its file."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from accounts.policies import CHAT_READ, KNOWLEDGE_WRITE
from core.documents.kinds import inert_name
from core.errors import PaasError
from knowledge import access, files
from knowledge.selectors import has_pictures, passage_count, passages_page
from portal.access import actor_of, page
from portal.knowledge_documents import line_of

PAGE = 40


@require_GET
@page(CHAT_READ)
def read(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`/knowledge/<slug>/documents/<id>/?passage=<ordinal>`, or `?page=<number>`"""
    actor = actor_of(request)
    found = access.document_for(actor, slug, document_id)
    count = passage_count(found)
    cited = _number(request.GET.get("passage", ""))
    last = max((count + PAGE - 1) // PAGE, 1)
    number = (cited - 1) // PAGE + 1 if cited else _number(request.GET.get("page", "")) or 1
    number = min(number, last)
    context = {
        "document": found,
        "line": line_of(found),
        "passages": passages_page(found, (number - 1) * PAGE + 1, PAGE),
        "cited": cited,
        "gone": cited > count,
        "count": count,
        "number": number,
        "last": last,
        "may_change": KNOWLEDGE_WRITE in actor.actions,
        "pictures": has_pictures(found),
    }
    return render(request, "portal/knowledge_reader.html", context)


@require_GET
@page(CHAT_READ)
def download(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`/knowledge/<slug>/documents/<id>/file/`: never shown by a browser, whatever is in it (A48)"""
    found = access.document_for(actor_of(request), slug, document_id)
    if not found.key:
        raise PaasError("not_found", "This document has no file yet.")
    with files.opened(found.key) as content:
        answer = HttpResponse(content.read(), content_type="application/octet-stream")
    suffix = f".{found.kind}" if found.source == found.Source.URL else ""
    name = inert_name(found.title) + suffix
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "private, no-store"
    return answer


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
