"""Rotation of SECRET_KEY: tokens that the former one signed stay good while it is named, and no longer (P33)."""

from __future__ import annotations

import pytest
from django.conf import settings

from accounts import selectors, tokens
from accounts.models import User
from core.errors import PaasError
from tenants import scope
from tests.conftest import Platform, in_thread


def signed(db: Platform) -> str:
    """A fresh access token of a member."""

    def begin() -> str:
        with scope.bind(db.acme):
            actor = selectors.actor_of_user(User.objects.get(email="member@acme.test").pk)
            assert actor is not None
            return tokens.family_begin(actor=actor, method="password").access

    return str(in_thread(begin))


def test_what_a_former_key_signed_is_taken_until_the_key_is_dropped(
    db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, old = settings.SECRET_KEY, signed(db)

    def keys(secret: str, *fallbacks: str) -> None:
        monkeypatch.setattr(settings, "SECRET_KEY", secret)
        monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", list(fallbacks))
        tokens.backend.cache_clear()

    try:
        keys("new" * 20, "other" * 12, former)
        assert tokens.claims_of(old, tokens.AccessToken)["type"] == "access"
        new = signed(db)
        keys("new" * 20)
        assert tokens.claims_of(new, tokens.AccessToken)["type"] == "access"
        with pytest.raises(PaasError):
            tokens.claims_of(old, tokens.AccessToken)
        keys(former)
        with pytest.raises(PaasError):
            tokens.claims_of(new, tokens.AccessToken)
    finally:
        monkeypatch.undo()
        tokens.backend.cache_clear()
