"""Who used what, by name. The ledger knows ids only; names are looked up when somebody reads."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from accounts.models import ApiKey, User


def names_of(labels: Iterable[str]) -> dict[str, str]:
    """Names for `user:<id>` and `key:<id>`. Bound to a tenant only its present people and its keys have one."""
    ids = {label: uuid.UUID(label.partition(":")[2]) for label in labels if label}
    people = {user.id: user.email for user in User.objects.filter(id__in=ids.values())}
    keys = {key.id: key.name for key in ApiKey.objects.filter(id__in=ids.values())}
    known = {**people, **keys}
    return {label: known[found] for label, found in ids.items() if found in known}
