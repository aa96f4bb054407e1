"""Rotation of FIELD_KEYS: everything that they seal is sealed anew under the first of them.

They seal the tenants' data keys, and what belongs to no tenant: the platform's model accounts, second factors, letters
that wait to be sent. What a data key seals (model accounts, sign-in providers, tools, MCP connections of tenants) stays
as it is; it is opened once, to see that nothing is lost. Each value is exchanged by comparing it with what was read, so
a rotation may run while people work, be killed, and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import audit
from core import crypto
from tenants import scope
from tenants.fields import EncryptedTextField
from tenants.models import PlatformProvider, Tenant

BATCH = 200
ACTOR = "command:rotate_field_keys"


@dataclass(frozen=True, slots=True)
class Place:
    """Where FIELD_KEYS seal something: a column of text, or of JSON that holds sealed texts under these names."""

    name: str
    rows: Callable[[], models.QuerySet[Any]]
    column: str
    inside: tuple[str, ...] = ()


PLACES = (
    Place("data keys of tenants", lambda: Tenant.objects.exclude(status="deleted"), "wrapped_key"),
    Place("model accounts of the platform", lambda: PlatformProvider.objects.exclude(sealed_key=""), "sealed_key"),
    Place("second factors", Authenticator.objects.all, "data", ("secret", "seed", "migrated_codes")),
    Place("letters that wait", lambda: ProcrastinateJob.objects.filter(status="todo"), "args", ("sealed",)),
)


@dataclass(slots=True)
class Count:
    """Of one place: values that are under the first key, that were brought there, that another still opens, that none
    opens."""

    place: str
    newest: int = 0
    moved: int = 0
    older: int = 0
    lost: int = 0

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "place": self.place, "newest": self.newest, "moved": self.moved, "older": self.older, "lost": self.lost
        }  # fmt: skip


def rotate(*, check: bool) -> list[Count]:
    """Go through all places; with `check` only look. Runs bound to the platform."""
    return [*(_place(place, check=check) for place in PLACES), _under_data_keys()]


def _place(place: Place, *, check: bool) -> Count:
    count, last = Count(place.name), None
    while True:
        rows = place.rows().order_by("pk")
        if last is not None:
            rows = rows.filter(pk__gt=last)
        batch = list(rows.values_list("pk", place.column)[:BATCH])
        before = count.moved
        with transaction.atomic():
            for pk, value in batch:
                _row(place, pk, value, count, check=check)
            if moved := count.moved - before:
                audit.record("field_keys.rotated", actor=ACTOR, target=place.name, moved=moved)
        if len(batch) < BATCH:
            return count
        last = batch[-1][0]


def _row(place: Place, pk: Any, value: Any, count: Count, *, check: bool) -> None:
    sealed = list(_sealed(place, value))
    if all(crypto.is_newest(settings.FIELD_KEYS, text) for text in sealed):
        count.newest += len(sealed)
        return
    try:
        fresh = {text: crypto.rewrap(settings.FIELD_KEYS, text) for text in sealed}
    except crypto.SecretUnreadable:
        count.lost += 1
        return
    changed = not check and place.rows().filter(pk=pk, **{place.column: value}).update(
        **{place.column: _exchanged(place, value, fresh)}
    )
    if changed:
        count.moved += len(sealed)
    else:
        count.older += len(sealed)  # somebody else has written meanwhile; the next run sees it


def _sealed(place: Place, value: Any) -> Iterator[str]:
    if not place.inside:
        yield value
        return
    for name in place.inside:
        found = value.get(name)
        yield from found if isinstance(found, list) else [found] if found else []


def _exchanged(place: Place, value: Any, fresh: dict[str, str]) -> Any:
    if not place.inside:
        return fresh[value]
    changed = dict(value)
    for name in place.inside:
        if isinstance(changed.get(name), list):
            changed[name] = [fresh[text] for text in changed[name]]
        elif changed.get(name):
            changed[name] = fresh[changed[name]]
    return changed


def _under_data_keys() -> Count:
    """Open every secret of every tenant once."""
    count = Count("secrets under data keys")
    for tenant in scope.each_tenant():
        for model, column in encrypted_columns():
            rows: Any = model._default_manager.values_list("pk", flat=True)
            if any(field.name == "tenant" for field in model._meta.fields):
                rows = rows.filter(tenant_id=tenant.id)
            for pk in rows.iterator():
                try:
                    value = model._default_manager.values_list(column, flat=True).get(pk=pk)
                except crypto.SecretUnreadable:
                    count.lost += 1
                else:
                    count.newest += bool(value)
    return count


def encrypted_columns() -> list[tuple[type[models.Model], str]]:
    """Each column that a tenant's data key seals."""
    return [
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedTextField)
    ]
