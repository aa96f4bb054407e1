"""Reads of API keys, for whoever manages them: a person all of the tenant, a key those below itself."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from accounts.actors import Actor
from accounts.key_limits import Rights
from accounts.key_rights import rights_with, roles_of_makers
from accounts.models import ApiKey
from accounts.policies import ADMIN_KEYS
from core import clock
from core.errors import PaasError


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key that is not revoked. depth: 0 has no parent. rights: None when nobody may use it any more."""

    key: ApiKey
    depth: int
    rights: Rights | None

    @property
    def state(self) -> str:
        """`active`, `expired`, or `ended`: who made it, or a key above it, has left the workspace."""
        if self.rights is None:
            return "ended"
        expires_at = self.rights.expires_at
        return "expired" if expires_at is not None and expires_at <= clock.now() else "active"


def keys_for(actor: Actor) -> list[KeyRow]:
    """The keys that the actor manages, children after their parents; a key sees itself too.

    Raises permission_denied.
    """
    actor.require(ADMIN_KEYS)
    found = {key.pk: key for key in ApiKey.objects.select_related("created_by").filter(revoked_at=None)}
    children: dict[uuid.UUID | None, list[ApiKey]] = {}
    for key in found.values():
        children.setdefault(key.parent_id, []).append(key)
    roles = roles_of_makers(list(found.values()))
    rows: list[KeyRow] = []

    def add(key: ApiKey, chain: list[ApiKey]) -> None:
        rows.append(KeyRow(key, len(chain), rights_with([key, *chain], roles)))
        for child in children.get(key.pk, ()):
            add(child, [key, *chain])

    for key in children.get(None, ()):
        add(key, [])
    return rows if actor.key_id is None else _own(rows, actor.key_id)


def _own(rows: list[KeyRow], key_id: uuid.UUID) -> list[KeyRow]:
    """The key itself and what follows it deeper down."""
    place = next((number for number, row in enumerate(rows) if row.key.pk == key_id), len(rows))
    found = rows[place : place + 1]
    for row in rows[place + 1 :]:
        if row.depth <= found[0].depth:
            break
        found.append(row)
    return found


def row_for(actor: Actor, key_id: uuid.UUID) -> KeyRow:
    """One of the keys that the actor manages. Raises permission_denied or not_found."""
    for row in keys_for(actor):
        if row.key.pk == key_id:
            return row
    raise PaasError("not_found")


def changeable_for(actor: Actor, key_id: uuid.UUID) -> ApiKey:
    """One that the actor may change or end: no key does that to itself (A25). Raises permission_denied, not_found."""
    found = row_for(actor, key_id).key
    if found.pk == actor.key_id:
        raise PaasError("permission_denied", "A key cannot change or end itself.")
    return found


def parent_for(actor: Actor, parent_id: uuid.UUID | None) -> ApiKey | None:
    """The key under which the actor makes another: a key's own, unless it names one below. Raises not_found."""
    if parent_id is None:
        parent_id = actor.key_id
    return row_for(actor, parent_id).key if parent_id is not None else None
