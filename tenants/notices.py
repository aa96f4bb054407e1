"""What the operator tells the people of a tenant at the moment."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.cache import cache
from django.db.models import Q

from core import clock
from tenants import scope
from tenants.models import Notice, Tenant

# A notice is on everybody's page about so long after it was written.
SECONDS = 15
MOST = 5  # at once; the newest
KEY = "notices"
URGENT_FIRST = (Notice.Level.CRITICAL, Notice.Level.WARNING, Notice.Level.INFO)


def notices_now() -> list[dict[str, Any]]:
    """The notices that are for the bound tenant now, the most urgent first; see `view`. Remembered for SECONDS."""
    found: list[dict[str, Any]] | None = cache.get(KEY)
    if found is None:
        tenant = scope.current_tenant().id
        with scope.platform():
            found = [_fields(one) for one in _of(tenant)]
        cache.set(KEY, found, SECONDS)
    return found


def _of(tenant_id: uuid.UUID) -> list[Notice]:
    now = clock.now()
    plan = Tenant.objects.filter(pk=tenant_id).values_list("plan_id", flat=True).first()
    for_it = Q(plans=[], tenant_ids=[]) | Q(plans__contains=[plan]) | Q(tenant_ids__contains=[tenant_id])
    current = Notice.objects.filter(for_it, Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)
    return sorted(current[:MOST], key=lambda one: URGENT_FIRST.index(Notice.Level(one.level)))


def _fields(one: Notice) -> dict[str, Any]:
    ends_at = one.ends_at.isoformat() if one.ends_at else None
    texts = {name: getattr(one, name) for name in ("title_en", "title_zh", "text_en", "text_zh")}
    return {"id": str(one.pk), "level": one.level, "ends_at": ends_at, **texts}


def view(notice: dict[str, Any], language: str) -> dict[str, Any]:
    """{id, level, title, text, ends_at} in a language of the pages; English where there is nothing in that."""
    chinese = language.startswith("zh")
    said = {name: (chinese and notice[f"{name}_zh"]) or notice[f"{name}_en"] for name in ("title", "text")}
    return {name: notice[name] for name in ("id", "level", "ends_at")} | said
