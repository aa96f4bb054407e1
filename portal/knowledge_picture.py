"""A page of a document as a picture, with a passage of it marked.

It is made anew for whoever has not got it yet, and not kept here: a second copy of what is in a document would have to
be found and deleted with it. A browser asks each time whether what it has still holds, so who has lost the base loses
the picture too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from accounts.actors import Actor
from accounts.policies import CHAT_READ
from core.documents import confined, pages
from core.documents.asked import Asked, Unreadable
from core.errors import PaasError
from knowledge import access, files
from knowledge.models import Document
from knowledge.selectors import has_pictures, passages_page
from portal.access import actor_of, beside, page, refused

PIXELS = {"": 1400, "small": 640}  # of the longer side, by `size`
MOST_BYTES = 4 * 1024 * 1024  # of a picture, in base64
SECONDS = 20.0
MOST_AT_ONCE = 4  # of one person in this process
_making: Counter[tuple[str, str]] = Counter()


@dataclass(frozen=True, slots=True)
class _Wanted:
    actor: Actor
    key: str
    asked: Asked
    etag: str


@require_GET
async def picture(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`/knowledge/<slug>/documents/<id>/picture/?passage=<ordinal>`, with `&size=small` a small one"""
    found: list[_Wanted] = []

    @page(CHAT_READ)
    def look(request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        document = access.document_for(actor, slug, document_id)
        found.append(_wanted(actor, document, request.GET.get("passage", ""), request.GET.get("size", "")))
        return HttpResponse(status=304)

    answer = await beside(look, request)
    if not found:
        return answer
    (wanted,) = found
    if request.headers.get("If-None-Match") != wanted.etag:
        try:
            answer = HttpResponse(await _made(wanted), content_type=pages.MEDIA_TYPE)
        except PaasError as error:
            return await beside(refused, request, error)
        answer["X-Content-Type-Options"] = "nosniff"
    answer["ETag"] = wanted.etag
    answer["Cache-Control"] = "private, no-cache"
    return answer


def _wanted(actor: Actor, document: Document, passage: str, size: str) -> _Wanted:
    """What is to be shown. Raises not_found."""
    ordinal = int(passage) if passage.isascii() and passage.isdigit() and len(passage) < 9 else 0
    chunk = next(iter(passages_page(document, ordinal, 1)), None)
    known = chunk is not None and chunk.ordinal == ordinal and size in PIXELS and has_pictures(document)
    if chunk is None or chunk.page is None or not known:
        raise PaasError("not_found", "There is no picture of this passage's page.")
    asked = Asked(document.title, pages=str(chunk.page), query=chunk.text, pixels=PIXELS[size])
    made_of = f"{document.id} {document.live_version} {ordinal} {size}".encode()
    return _Wanted(actor, document.key, asked, f'"{hashlib.sha256(made_of).hexdigest()[:24]}"')


async def _made(wanted: _Wanted) -> bytes:
    """The picture. Raises not_found where there can be none, too_many_connections."""
    with _place(wanted.actor):
        source = await beside(files.opened, wanted.key)
        try:
            said = await confined.read(source, "page", wanted.asked, most=MOST_BYTES, seconds=SECONDS)
            return base64.b64decode(said, validate=True)
        except (Unreadable, binascii.Error) as error:
            raise PaasError("not_found", "This page cannot be shown. Read the passage as text instead.") from error
        finally:
            source.close()


@contextmanager
def _place(actor: Actor) -> Iterator[None]:
    who = (str(actor.tenant.id), actor.label)
    if _making[who] >= MOST_AT_ONCE:
        raise PaasError("too_many_connections", retry_after=2)
    _making[who] += 1
    try:
        yield
    finally:
        _making[who] -= 1
        if not _making[who]:
            del _making[who]
