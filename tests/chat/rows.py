"""Rows of this room for tests of others."""

from __future__ import annotations

import io
import uuid
from typing import Any

from accounts.models import User
from accounts.selectors import actor_of_user
from tenants import scope


def owners_file(tenant: Any, conversation: str, text: str) -> str:
    """A file in a conversation of acme's owner: `text`, under that name."""
    from chat.files import Upload, files_add

    with scope.bind(tenant):
        actor = actor_of_user(User.objects.get(email="owner@acme.test").pk)
        assert actor is not None
        upload = Upload(f"{text}.txt", len(text), io.BytesIO(text.encode()))
        return str(files_add(actor=actor, conversation_id=uuid.UUID(conversation), uploads=[upload])[0].pk)
