"""Dangerous acts of operators ask again who acts, when that was last proven long ago (P61).

When it was is kept in the session: `session_begin` notes it, and the page that asks (paas/console/site.py).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts import second_factor
from accounts.models import User
from core import clock
from core.errors import PaasError

PROVEN_AT = "proven_at"  # in the session: seconds since 1970
SECONDS = 15 * 60
PAGE = "/admin/proof/"
ASKED = "It is a while ago that you proved who you are. Send your password or a code of your second factor as `proof`."


def noted(request: HttpRequest) -> None:
    """Whoever has this session has just proven who they are."""
    request.session[PROVEN_AT] = clock.now().timestamp()


def is_old(request: HttpRequest) -> bool:
    """Whether that was more than SECONDS ago."""
    age = clock.now().timestamp() - request.session.get(PROVEN_AT, 0)
    return bool(abs(age) >= SECONDS)  # clocks are set back now and then


def demanded(request: HttpRequest, user: User, given: str) -> None:
    """The same for a program that acts for an operator, `user`: `given` is their password or a code, needed where the
    last proof is old. Raises permission_denied (nothing was given), and what proof_check raises."""
    if not is_old(request):
        return
    if not given:
        raise PaasError("permission_denied", ASKED, details={"param": "proof"})
    second_factor.proof_check(user=user, proof=given)
    noted(request)


def asked_again(request: HttpRequest) -> HttpResponse | None:
    """Where the operator goes to prove who they are, and comes back from; None when they did within SECONDS.

    What was typed goes with them, and is sent once they have proven it: 307 has browsers send the same form there, and
    `sent` in the address says that there was one.
    """
    if not is_old(request):
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
