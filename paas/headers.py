"""The headers that every answer carries, whoever gives it: Django, a streaming door, a refusal, a static file.

Django's middleware sets them on Django's own answers; this is the layer around everything, which adds what an answer
does not say for itself. A header that is there stays: the console has a wider policy, static files may be kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings

# Browser features that no page of ours uses; clipboard-write stays, the chat's copy button needs it.
UNUSED_FEATURES = (
    "accelerometer", "autoplay", "bluetooth", "camera", "display-capture", "encrypted-media", "fullscreen",
    "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment",
    "picture-in-picture", "screen-wake-lock", "serial", "usb", "web-share", "xr-spatial-tracking",
)  # fmt: skip
# An answer is for whoever asked: nothing in between keeps it, and no browser after the session's end.
NOT_KEPT = "private, no-store"


def policy(directives: dict[str, Any]) -> str:
    """A Content-Security-Policy from settings' directives."""
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives.items())


def always() -> list[tuple[bytes, bytes]]:
    """The headers of every answer over HTTP."""
    found = {
        "content-security-policy": policy(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]),
        "x-content-type-options": "nosniff",
        "x-frame-options": settings.X_FRAME_OPTIONS,
        "referrer-policy": settings.SECURE_REFERRER_POLICY,
        "cross-origin-opener-policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
        "cache-control": NOT_KEPT,
    }
    return [(name.encode(), value.encode()) for name, value in found.items()]


def transport_security() -> list[tuple[bytes, bytes]]:
    """HSTS as Django's middleware words it; nothing where it is off."""
    if not settings.SECURE_HSTS_SECONDS:
        return []
    value = f"max-age={settings.SECURE_HSTS_SECONDS}"
    value += "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
    value += "; preload" if settings.SECURE_HSTS_PRELOAD else ""
    return [(b"strict-transport-security", value.encode())]


class SecureHeaders:
    """Wraps an ASGI application; what it answers over HTTP has all of the headers above."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.always = always()
        self.secure = self.always + transport_security()

    async def __call__(self, connection: Any, receive: Any, send: Any) -> None:
        if connection["type"] != "http":
            await self.application(connection, receive, send)
            return
        wanted = self.secure if is_secure(connection) else self.always

        async def completed(message: Any) -> None:
            if message["type"] == "http.response.start":
                connection["paas.status"] = message["status"]  # for paas/observed.py
                message = {**message, "headers": with_missing(message.get("headers", ()), wanted)}
            await send(message)

        await self.application(connection, receive, completed)


def with_missing(given: Iterable[Any], wanted: list[tuple[bytes, bytes]]) -> list[Any]:
    """`given` and those of `wanted` whose name is not among them."""
    found = list(given)
    names = {name.lower() for name, _ in found}
    return found + [one for one in wanted if one[0] not in names]


def is_secure(connection: Any) -> bool:
    """Whether the client came by TLS, to here or to the proxy whose word is taken for it."""
    if connection.get("scheme") == "https":
        return True
    if not settings.SECURE_PROXY_SSL_HEADER:
        return False
    name, secure = settings.SECURE_PROXY_SSL_HEADER
    wanted = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
    said = [value.decode("latin-1") for header, value in connection["headers"] if header == wanted]
    return bool(said) and said[0].split(",")[0].strip() == secure
