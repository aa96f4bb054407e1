"""uvicorn's HTTP protocol that answers, before anything is made for a request, who would only be told to come again.

Under three times as much as a process can do, two thirds of what comes is refused, and what that costs is taken from
the rest (T15). To make a request's cycle and task, and to send its answer as messages, costs four times as much as to
parse it and to write what is to be said.
"""

from __future__ import annotations

from typing import Any, Protocol

from launch.receipt import ReceiptProtocol

# What is read of a body only to be thrown away, so that the connection can be used again.
MOST_READ_AWAY = 256 * 1024


class Door(Protocol):
    """What the application knows of who would be refused."""

    @property
    def crowded(self) -> bool:
        """Whether anybody would be."""

    def refusal(self, scope: Any) -> bytes | None:
        """An answer from its status line to its end, without the headers that the server adds to each; None: this
        request is to be served. scope: ASGI's of HTTP, as far as it is known."""


class RefusingProtocol(ReceiptProtocol):
    """One connection."""

    door: Door | None = None
    """Of the application that is served; `launch.web` says which."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refused: bytes | None = None  # what is said when the request that comes in is here
        self.answered = False  # something was said here, so that a request that comes now may be sent anew elsewhere

    def begin(self) -> None:
        self._refused = self._asked()
        if self._refused is None:
            self._unset_keepalive_if_required()  # which a refusal in the same packet has armed
            super().begin()
        else:
            self._held = None

    def take(self, body: bytes) -> None:
        if self._refused is None:
            super().take(body)

    def complete(self) -> None:
        if self._refused is None:
            super().complete()
            return
        said, self._refused = self._refused, None
        status, _, rest = said.partition(b"\r\n")
        added = b"".join(b"%b: %b\r\n" % one for one in self.server_state.default_headers)
        stays = not self._leaves and self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.answered = True
        self.transport.write(b"%b\r\n%b%b%b" % (status, added, b"" if stays else b"connection: close\r\n", rest))
        if not stays:
            self.transport.close()
        self.on_response_complete()

    def shutdown(self) -> None:
        if self._refused is None:
            super().shutdown()
        else:
            self._leaves = True

    def _asked(self) -> bytes | None:
        """What this request is told, whatever its body; None: it is a request like any other."""
        if self.door is None or not self.door.crowded:
            return None
        if self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete):
            return None  # the client takes nothing, or the one before is being answered
        headers = dict(self.headers)
        size = headers.get(b"content-length", b"0")
        if b"upgrade" in headers or b"expect" in headers or b"transfer-encoding" in headers:
            return None
        if len(size) > len(str(MOST_READ_AWAY)) or not size.isdigit() or int(size) > MOST_READ_AWAY:
            return None
        path, _, _ = self.url.partition(b"?")
        if b"%" in path or not path.startswith(b"/"):
            return None
        self.scope["method"] = self.parser.get_method().decode("ascii")
        if self.scope["method"] == "HEAD":
            return None  # its answer has no body
        self.scope["path"] = path.decode("ascii", "replace")
        return self.door.refusal(self.scope)
