"""Who may open a page: signed in, a member of this tenant, and allowed the action."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation

from accounts.actors import Actor
from accounts.selectors import actor_of_member
from core.errors import PaasError
from core.sentences import sentence
from tenants import scope

ENROLMENT = "/profile/security/"
START = "/settings/"
View = Callable[..., HttpResponse]
P = ParamSpec("P")
T = TypeVar("T")


def page(action: str | None = None, *, enrolling: bool = False) -> Callable[[View], View]:
    """A page of a tenant for members who may do `action` (None: any member); `request.actor` is who asks.

    An anonymous visitor is sent to sign in and comes back, from a form to the page that had it; who must set up a
    second factor first is sent there, unless the page is for that (`enrolling`). A PaasError of the view becomes a page
    that says it.
    """

    def declare(view: View) -> View:
        @wraps(view)
        def inside(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            actor = actor_of_member(user) if user.is_authenticated else None
            if actor is None:
                return redirect_to_login(came_from(request))
            request.actor = actor
            if actor.must_enrol and not enrolling:
                return redirect(ENROLMENT)
            try:
                if action is not None:
                    actor.require(action)
                return view(request, *args, **kwargs)
            except PaasError as error:
                return refused(request, error)

        inside.required_action = action  # type: ignore[attr-defined]  # the attack matrix reads it
        return inside

    return declare


def came_from(request: HttpRequest) -> str:
    """The page on which somebody is: what was asked for, or what had the form that was sent."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    try:
        page_of_form = urlsplit(request.headers.get("Referer", ""))
    except ValueError:  # no address at all
        return START
    if page_of_form.netloc != request.get_host():
        return START
    return page_of_form._replace(scheme="", netloc="", fragment="").geturl() or START


def refused(request: HttpRequest, error: PaasError) -> HttpResponse:
    """The error as a page, in the person's language."""
    what = {"status": error.status, "code": error.code, "sentence": sentence(error), "wait": error.retry_after}
    answer = render(request, "portal/error.html", what, status=error.status)
    for name, value in error.headers().items():
        answer[name] = value
    return answer


def actor_of(request: HttpRequest) -> Actor:
    """The actor of a view under `page`."""
    actor = request.actor  # type: ignore[attr-defined]
    assert isinstance(actor, Actor)
    return actor


async def beside(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`scope.run_bound` for an asynchronous page: in its language too, which does not follow into other threads."""
    language = translation.get_language()

    def speaking() -> T:
        with translation.override(language):
            return fn(*args, **kwargs)

    return await scope.run_bound(speaking)
