"""The way from a run in the console to its trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.html import format_html
from django.utils.translation import gettext
from unfold.decorators import display


class LeadsToTrace:
    """Adds `trace` to what can be shown of a row with a run's id."""

    @display(description="trace")  # type: ignore[untyped-decorator]
    def trace(self, row: Any) -> str:
        if not settings.TRACE_URL_TEMPLATE:
            return gettext("TRACE_URL_TEMPLATE is not set.")
        address = settings.TRACE_URL_TEMPLATE.replace("{run_id}", quote(str(row.run_id), safe=""))
        return format_html('<a href="{}" rel="noreferrer" target="_blank">{}</a>', address, gettext("Open the trace"))
