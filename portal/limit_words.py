"""Limits in words: one line of a list, and the line over a page when one comes to its end."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actors import Actor
from agents import quotas
from agents.quotas import Line
from usage.names import LIMITS
from usage.standings import Standing

LEVELS: dict[str, Any] = {
    "tenant": gettext_lazy("Workspace"),
    "user": gettext_lazy("Member"),
    "key": gettext_lazy("API key"),
    "agent": gettext_lazy("Agent"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A limit for people. id: of a row that can be removed. percent None: what is used is not known."""

    id: uuid.UUID | None
    level: str
    whose: str
    label: str
    used: str
    limit: str
    left: str
    percent: int | None
    resets_at: datetime | None
    standing: Standing

    @property
    def bar(self) -> int:
        return min(100, self.percent or 0)


def shown(line: Line) -> Shown:
    """A limit in the present language."""
    one = line.standing
    nameless = "" if one.level == "tenant" else _("Former member") if one.level == "user" else str(one.subject_id)[:8]
    return Shown(
        # A workspace's own are the operator's to remove.
        id=None if one.level == "tenant" else line.id,
        level=str(LEVELS[one.level]),
        whose=line.name or nameless,
        label=label_of(one),
        used=_amount(one, one.used),
        limit=_amount(one, one.limit),
        left=_amount(one, one.left),
        percent=one.percent,
        resets_at=one.resets_at,
        standing=one,
    )


def label_of(one: Standing) -> str:
    """What is limited, over what."""
    return str(LIMITS[one.metric, one.period])


def banner(actor: Actor | None) -> dict[str, Any] | None:
    """The limit that presses most, for the line over a page; None when none does, and for who acts as somebody."""
    if actor is None or actor.impersonator or not (found := quotas.pressing(actor)):
        return None
    worst = max(found, key=lambda one: one.percent or 0)
    own = worst.level == "user"
    return {
        "label": label_of(worst), "own": own, "percent": worst.percent, "left": _amount(worst, worst.left),
        "resets_at": worst.resets_at, "address": "/profile/#limits" if own else "/settings/limits/",
    }  # fmt: skip


def _amount(one: Standing, amount: Any) -> str:
    if amount is None or one.metric != "storage_bytes":
        return one.said(amount)
    return f"{float(amount) / 1e9:,.1f} GB" if amount >= 10**9 else f"{float(amount) / 1e6:,.1f} MB"
