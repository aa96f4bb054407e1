"""A workspace's colour and logo for its pages: open to everybody at its door, where the sign-in page shows them."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import parse_etags
from django.views.decorators.http import require_GET

from accounts import branding
from portal import colours
from tenants import scope

# Pages name the colour in the address of the style sheet, so that a new one shows at once all the same.
KEPT = "private, max-age=60"


@require_GET
def style(request: HttpRequest) -> HttpResponse:
    """`/branding.css`: the workspace's colour in the place of the platform's; empty without one."""
    text = colours.sheet(scope.current_tenant().color)
    return _kept(request, text.encode(), "text/css; charset=utf-8")


@require_GET
def logo(request: HttpRequest) -> HttpResponse:
    """`/branding/logo`: a PNG that we encoded ourselves; 404 without one."""
    found = branding.logo_of(scope.current_tenant())
    if found is None:
        raise Http404
    answer = _kept(request, found, "image/png")
    answer["Content-Disposition"] = 'inline; filename="logo.png"'
    return answer


def _kept(request: HttpRequest, body: bytes, kind: str) -> HttpResponse:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = etag in parse_etags(request.headers.get("If-None-Match", ""))
    answer = HttpResponse(status=304) if known else HttpResponse(body, content_type=kind)
    headers: dict[str, Any] = {"Cache-Control": KEPT, "ETag": etag, "X-Content-Type-Options": "nosniff"}
    for name, value in headers.items():
        answer[name] = value
    return answer
