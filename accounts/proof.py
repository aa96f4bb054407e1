"""Dangerous acts of operators ask again who acts, when that was last proven long ago (P61).

When it was is kept in the session: `session_begin` notes it, and the page that asks (paas/console/site.py).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts import second_factor
from core import clock

PROVEN_AT = "proven_at"  # in the session: seconds since 1970
SECONDS = 15 * 60
PAGE = "/admin/proof/"


def noted(request: HttpRequest) -> None:
    """Whoever has this session has just proven who they are."""
    request.session[PROVEN_AT] = clock.now().timestamp()


def asked_again(request: HttpRequest) -> HttpResponse | None:
    """Where the operator goes to prove who they are, and comes back from; None when they did within SECONDS.

    What was typed goes with them, and is sent once they have proven it: 307 has browsers send the same form there, and
    `sent` in the address says that there was one.
    """
    age = clock.now().timestamp() - request.session.get(PROVEN_AT, 0)
    if abs(age) < SECONDS:  # clocks are set back now and then
        return None
    sent = request.method == "POST"
    address = f"{PAGE}?{urlencode({'next': request.get_full_path()} | ({'sent': '1'} if sent else {}))}"
    return HttpResponseRedirect(address, preserve_request=sent)


class AsksAgain:
    """For an admin class whose rows are dangerous to make, change and delete."""

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        return asked_again(request) or super().changeform_view(request, *args, **options)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        return asked_again(request) or super().delete_view(request, *args, **options)  # type: ignore[misc]


def must_enrol(user: Any) -> bool:
    """Whether the platform waits for this operator's second factor."""
    return bool(settings.OPERATORS_NEED_SECOND_FACTOR and user.is_staff and not second_factor.is_enrolled(user))
