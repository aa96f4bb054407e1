"""What happens to the documents of a base, look by look: for whoever watches it live."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from accounts.actors import Actor
from knowledge.access import base_for
from knowledge.bases import counts_of
from knowledge.documents import WAITING
from knowledge.models import Document

MOST = 500  # documents told at once
# What was changed so lately is looked at, so that nothing is missed that is done between two looks. Far longer than a
# look takes, because rows are dated by the clocks of several machines.
LATELY = timedelta(minutes=1)
FIELDS = (
    "id",
    "title",
    "kind",
    "size",
    "state",
    "progress",
    "step",
    "error",
    "said",
    "version",
    "live_version",
    "chunk_count",
)


@dataclass
class Watch:
    """Looks at one base again and again, and remembers what it has told."""

    slug: str
    _told: dict[uuid.UUID, dict[str, Any]] | None = None
    _waiting: set[uuid.UUID] = field(default_factory=set)

    @property
    def busy(self) -> bool:
        """Whether something was being made searchable, or waited for it, when it was looked at last."""
        return bool(self._waiting)

    def look(self, actor: Actor) -> dict[str, Any] | None:
        """`documents` that are other than they were told, `gone` (ids) and `counts` by state; None: nothing new.

        The first look tells what is worked on and what was lately. Bound to the tenant, in a thread. Raises
        permission_denied, not_found, also when the actor has lost the base since.
        """
        base = base_for(actor, self.slug)
        looked_at = Q(state__in=(Document.State.PARSING, Document.State.EMBEDDING)) | Q(id__in=list(self._waiting))
        looked_at |= Q(updated_at__gt=Now() - LATELY)
        rows = base.documents.filter(looked_at).order_by("-updated_at", "id").values(*FIELDS)[:MOST]
        found = {row["id"]: row for row in rows}
        told, first = self._told or {}, self._told is None
        changed = [_view(row) for one, row in found.items() if told.get(one) != row]
        gone = [str(one) for one in self._waiting - found.keys()] if len(found) < MOST else []
        self._told = found
        self._waiting = {one for one, row in found.items() if row["state"] in WAITING}
        if not (changed or gone or first):
            return None
        return {"documents": changed, "gone": gone, "counts": counts_of([base.id]).get(base.id, {})}


def _view(row: dict[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    return shown | {
        "id": str(shown["id"]),
        "chunks": shown.pop("chunk_count"),
        "searchable": shown.pop("live_version") > 0,
    }
