"""Rows of this room for tests of others."""

from __future__ import annotations

import uuid
from typing import Any

from tenants import scope


def base_with_document(tenant: Any, text: str) -> dict[str, str]:
    """The name of a knowledge base, and the id of its document, whose only passage is `text`."""
    from knowledge.models import Chunk, Document, KnowledgeBase

    with scope.bind(tenant):
        base = KnowledgeBase.objects.create(slug=f"secret-{uuid.uuid4().hex[:8]}", name=text)
        document = Document.objects.create(base=base, title=text, source="text", state="ready", live_version=1)
        whole = {"document": document, "version": 1, "ordinal": 1, "text": text, "digest": 0, "tsv": ""}
        Chunk.objects.create(base=base, dimension=256, **whole)
        return {"knowledge": base.slug, "document": str(document.id)}
