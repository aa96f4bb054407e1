"""Static files, straight from the checkout and the installed packages: no Django, no tenant, no database."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from servestatic import ServeStaticASGI

# Vite puts the content's hash into these names, so they may be kept for ever.
IMMUTABLE = r"^/static/chat/assets/.+-[\w-]{8}\.\w+$"


def serve_static(application: Any) -> Any:
    """`application` with everything below /static/ answered before it."""
    wrapped = ServeStaticASGI(application, max_age=3600, allow_all_origins=False, immutable_file_test=IMMUTABLE)
    for finder in get_finders():
        for storage in getattr(finder, "storages", {}).values():
            wrapped.add_files(str(storage.location), prefix=settings.STATIC_URL)
    return wrapped
