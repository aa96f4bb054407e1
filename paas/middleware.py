"""Django's own middleware on the event loop.

`MiddlewareMixin` sends every `process_request` and `process_response` to a thread: seventeen trips a request, which
are most of what a small page costs. Those named here neither wait nor compute, but for the two cases that
still go to a thread. What is missed does not block the loop unseen: Django's database connections refuse to work there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

from tenants import scope


def never(request: HttpRequest) -> bool:
    """Its response takes no thread."""
    return False


def session_changed(request: HttpRequest) -> bool:
    """Whether there is a session to write."""
    session = getattr(request, "session", None)
    return session is not None and bool(session.modified)


def messages_stored(request: HttpRequest) -> bool:
    """Whether messages were read or added: they may be in the session, which may have to be read."""
    messages: Any = getattr(request, "_messages", None)
    return messages is not None and bool(messages.used or messages.added_new)


# Middleware, and when its response has to wait for something.
WAITING: dict[type[MiddlewareMixin], Callable[[HttpRequest], bool]] = {
    SecurityMiddleware: never,
    CSPMiddleware: never,
    SessionMiddleware: session_changed,
    LocaleMiddleware: never,
    CommonMiddleware: never,
    CsrfViewMiddleware: never,
    AuthenticationMiddleware: never,
    MessageMiddleware: messages_stored,
    XFrameOptionsMiddleware: never,
}


def keep_on_the_loop() -> None:
    """Change how the classes above answer asynchronous requests, for this process."""
    for middleware, waits in WAITING.items():
        middleware.__acall__ = _answers(waits)  # type: ignore[method-assign]


def _answers(waits: Callable[[HttpRequest], bool]) -> Callable[..., Any]:
    async def answer(self: Any, request: HttpRequest) -> HttpResponseBase:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        response = response or await self.get_response(request)
        if not hasattr(self, "process_response"):
            return response  # type: ignore[no-any-return]
        if waits(request):
            return await scope.run_bound(self.process_response, request, response)
        return self.process_response(request, response)  # type: ignore[no-any-return]

    return answer
