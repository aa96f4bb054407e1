"""Images in a caller's messages: as data URLs only, because the platform fetches no address that a caller gives.

(A vendor that fetches would do it from its own network, with what the address tells about the reader; so addresses are
not passed on either.) What is stored of an image is its kind, its size and its digest.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import Any

from core.errors import PaasError

MOST_IMAGES = 16
# The kinds that all vendors with vision take, and how their files begin.
SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
DETAILS = ("auto", "low", "high")


def checked_part(part: dict[str, Any], where: str) -> dict[str, Any]:
    """An `image_url` part as it is sent on. Raises validation_failed, or unsupported_parameter for an address."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        raise _invalid(where, f"{where}: image_url needs a url.")
    if image.get("detail") not in (None, *DETAILS):
        raise _invalid(where, f"{where}: detail is {', '.join(DETAILS)}.")
    url = _as_data_url(url)
    if not url.startswith("data:"):
        message = f"{where}: only data URLs are supported; an image is not fetched from an address."
        raise PaasError("unsupported_parameter", message, details={"param": where})
    kind, data = _parts(url)
    if kind not in SIGNATURES:
        raise _invalid(where, f"{where}: an image is one of {', '.join(SIGNATURES)}, in base64.")
    try:
        content = binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        raise _invalid(where, f"{where}: the data of the image are not base64.") from None
    if not content.startswith(SIGNATURES[kind]):
        raise _invalid(where, f"{where}: the data are no {kind}.")
    detail = {"detail": image["detail"]} if image.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": url} | detail}


def stored(messages: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Messages as a run keeps them: instead of each image what it was."""
    if messages is None:
        return None
    return [
        message | {"content": [_stored_part(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _stored_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") != "image_url":
        return part
    return {"type": "image"} | described(part["image_url"]["url"])


def described(url: str) -> dict[str, Any]:
    """What is kept of the image of a data URL that was checked."""
    kind, data = _parts(url)
    content = binascii.a2b_base64(data)
    return {"media_type": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _as_data_url(url: str) -> str:
    """Zhipu's SDK sends the base64 text alone, without saying of what."""
    try:
        head = binascii.a2b_base64(url[:16], strict_mode=True)
    except (binascii.Error, ValueError):
        return url
    kinds = [kind for kind, signatures in SIGNATURES.items() if head.startswith(signatures)]
    return f"data:{kinds[0]};base64,{url}" if kinds else url


def _parts(url: str) -> tuple[str, str]:
    head, _, data = url.removeprefix("data:").partition(",")
    return (head.removesuffix(";base64").lower() if head.endswith(";base64") else "", data)


def _invalid(where: str, message: str) -> PaasError:
    return PaasError("validation_failed", message, details={"param": where})
