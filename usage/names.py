"""Who used what, by name, and what limits are called. The ledger knows ids only; names are looked up when somebody
reads."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy

from accounts.models import ApiKey, User

# Every kind of limit (metric, period), in words.
LIMITS: dict[tuple[str, str], Any] = {
    ("tokens", "month"): gettext_lazy("Tokens a month"),
    ("tokens", "day"): gettext_lazy("Tokens a day"),
    ("cost", "month"): gettext_lazy("Cost a month"),
    ("cost", "day"): gettext_lazy("Cost a day"),
    ("requests", "minute"): gettext_lazy("Requests a minute"),
    ("sessions", "day"): gettext_lazy("New conversations a day"),
    ("users", ""): gettext_lazy("Members"),
    ("agents", ""): gettext_lazy("Agents"),
    ("storage_bytes", ""): gettext_lazy("Storage"),
    ("documents", ""): gettext_lazy("Documents"),
    ("pages", ""): gettext_lazy("Pages of documents"),
    ("concurrent_runs", ""): gettext_lazy("Answers at the same time"),
}


def names_of(labels: Iterable[str]) -> dict[str, str]:
    """Names for `user:<id>` and `key:<id>`. Bound to a tenant only its present people and its keys have one."""
    ids = {label: uuid.UUID(label.partition(":")[2]) for label in labels if label}
    people = {user.id: user.email for user in User.objects.filter(id__in=ids.values())}
    keys = {key.id: key.name for key in ApiKey.objects.filter(id__in=ids.values())}
    known = {**people, **keys}
    return {label: known[found] for label, found in ids.items() if found in known}
