"""Rows of this room for tests of others."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tenants import scope


def base_with_document(tenant: Any, text: str) -> dict[str, str]:
    """The name of a knowledge base, the id of its document, whose only passage is `text`, and that of an upload of the
    owner's."""
    from accounts.models import User
    from knowledge.models import Chunk, Document, KnowledgeBase, Upload

    with scope.bind(tenant):
        owner = User.objects.get(email=f"owner@{tenant.slug}.test").pk
        base = KnowledgeBase.objects.create(slug=f"secret-{uuid.uuid4().hex[:8]}", name=text)
        key = default_storage.save(uuid.uuid4().hex, ContentFile(text.encode()))
        document = Document.objects.create(base=base, title=text, source="text", key=key, state="ready", live_version=1)
        whole = {"document": document, "version": 1, "ordinal": 1, "text": text, "digest": 0, "tsv": ""}
        Chunk.objects.create(base=base, dimension=256, **whole)
        upload = Upload.objects.create(base=base, name=text, size=9, user_id=owner)
        return {"knowledge": base.slug, "document": str(document.id), "upload": str(upload.id)}
