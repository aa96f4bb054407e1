"""A workspace's logo: whatever picture people send is decoded here and stored as a small PNG of our own making.

Nothing of the file that was sent is kept: no metadata, no second picture behind the first, no bytes that a browser
could take for something else.
"""

from __future__ import annotations

import uuid
from io import BytesIO

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageOps, UnidentifiedImageError

from accounts import audit
from tenants import limits, resolve, scope
from tenants.models import Tenant
from tenants.scope import TenantRef

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 512 * 1024
SIDE = 256
# A small file may say that it is huge; 16 million pixels take 64 MB for a moment.
MOST_PIXELS = 4096 * 4096
MESSAGES = {
    "size": _("The file is larger than 512 KB. Choose a smaller one."),
    "kind": _("This is no PNG, JPEG or WebP picture, or it is damaged."),
    "pixels": _("The picture has too many pixels. Make it smaller first."),
}


def logo_set(*, tenant: TenantRef, data: bytes, actor: str) -> None:
    """Show the picture in `data` as the workspace's logo. Raises ValidationError on `logo`, or storage_full."""
    picture = _encoded(data)
    with scope.bind(tenant):
        limits.check_storage(len(picture), replaces=_size(tenant.logo))
        name = default_storage.save(f"logo-{uuid.uuid4().hex}.png", ContentFile(picture))
        try:
            before = _named(tenant, name, actor)
        except BaseException:
            default_storage.delete(name)
            raise
        _forget(before)


def logo_remove(*, tenant: TenantRef, actor: str) -> bool:
    """Show the initial again; False when there is no logo."""
    with scope.bind(tenant):
        before = _named(tenant, "", actor)
        _forget(before)
    return bool(before)


def logo_of(tenant: TenantRef) -> bytes | None:
    """The logo as PNG, or None. Runs bound to the tenant."""
    if not tenant.logo or not default_storage.exists(tenant.logo):
        return None
    with default_storage.open(tenant.logo) as file:
        return bytes(file.read())


def _named(tenant: TenantRef, name: str, actor: str) -> str:
    """Write the file's name into the row; returns the one before."""
    with scope.platform(), transaction.atomic():
        row = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.id)
        before = str(row.logo)
        if before != name:
            Tenant.objects.filter(pk=row.pk).update(logo=name)
            with scope.platform_about(tenant):
                audit.record("tenant.updated", actor=actor, target=row.slug, changed={"logo": bool(name)})
    resolve.forget_all()
    return before


def _forget(name: str) -> None:
    if name:
        default_storage.delete(name)


def _size(name: str) -> int:
    return default_storage.size(name) if name and default_storage.exists(name) else 0


def _encoded(data: bytes) -> bytes:
    """The picture as a square PNG of at most SIDE pixels; what is no square gets a clear border."""
    if len(data) > MOST_BYTES:
        raise _wrong("size")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as sent:
            if sent.width * sent.height > MOST_PIXELS:
                raise _wrong("pixels")
            turned = ImageOps.exif_transpose(sent).convert("RGBA")
    except Image.DecompressionBombError:
        raise _wrong("pixels") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):  # Pillow's ways to say that it is broken
        raise _wrong("kind") from None
    side = min(SIDE, max(turned.size))
    small = ImageOps.contain(turned, (side, side), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side))
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    made = BytesIO()
    square.save(made, "PNG", optimize=True)
    return made.getvalue()


def _wrong(what: str) -> ValidationError:
    return ValidationError({"logo": ValidationError(MESSAGES[what], code=what)})
