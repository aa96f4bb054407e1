"""API keys that another system made, known here by their SHA-256 only (P41)."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest
from django.db import transaction

from accounts import keys
from accounts.imported_keys import key_import, sha256_of, stored_digest
from accounts.keys import actor_of_token
from accounts.models import ApiKey
from core.errors import PaasError
from tenants import scope
from tests.conftest import Platform, in_thread

# As somebody may have made them; one that looks like ours is found by either digest.
TOKENS = ["sk_live_" + "z" * 24, "ak_" + "y" * 40, "0123456789abcdef" * 2]


def take_over(db: Platform, token: str) -> ApiKey:
    with scope.bind(db.acme), transaction.atomic():
        return key_import(
            key_id=uuid.uuid4(), name=token[:6] + uuid.uuid4().hex[:6], sha256=hashlib.sha256(token.encode()).hexdigest(),
            scopes=["chat:read"], created_by=None, expires_at=None, actor="test",
        )  # fmt: skip


async def refused(token: str, tenant: Any) -> str:
    with pytest.raises(PaasError) as found:
        await actor_of_token(token, tenant)
    return found.value.code


@pytest.mark.parametrize("token", TOKENS)
async def test_its_token_goes_on_working(db: Platform, token: str) -> None:
    key = in_thread(lambda: take_over(db, token))
    for tenant in (db.acme, None):
        actor = await actor_of_token(token, tenant)
        assert (actor.key_id, actor.tenant.id, actor.actions) == (key.pk, db.acme.id, {"chat:read"})
    assert await refused(token, db.globex) == "invalid_api_key"
    assert await refused(token + "x", db.acme) == "invalid_api_key"


async def test_what_lies_in_a_copied_table_opens_nothing(db: Platform) -> None:
    """Neither the SHA-256 of the other system nor what is stored here is a token."""
    key = in_thread(lambda: take_over(db, TOKENS[0]))
    sha256 = hashlib.sha256(TOKENS[0].encode()).hexdigest()
    assert bytes(key.digest) == stored_digest(sha256) != bytes.fromhex(sha256)
    for token in (sha256, bytes(key.digest).hex(), f"sha256:{sha256}", f"ak_{sha256}"):
        assert await refused(token, db.acme) == "invalid_api_key"


async def test_a_rotation_and_a_revocation_end_the_old_token(db: Platform) -> None:
    rotated, revoked = (in_thread(lambda token=token: take_over(db, token)) for token in TOKENS[:2])

    def end() -> str:
        with scope.bind(db.acme):
            keys.key_revoke(key=revoked, actor="test")
            return keys.key_rotate(key=rotated, actor="test")

    token = in_thread(end)
    keys.forget_all()
    assert (await actor_of_token(token, db.acme)).key_id == rotated.pk
    assert [await refused(one, db.acme) for one in TOKENS[:2]] == ["invalid_api_key"] * 2


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ("AB" * 32, "ab" * 32), ("sha256:" + "0" * 64, "0" * 64), ("SHA-256$" + "0" * 64, "0" * 64), ("0" * 63, None),
        ("$2b$12$" + "a" * 53, None), ("0" * 128, None), ("", None),
    ],
)  # fmt: skip
def test_which_hashes_can_be_looked_up(stored: str, found: str | None) -> None:
    assert sha256_of(stored) == found
