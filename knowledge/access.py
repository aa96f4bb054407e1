"""Who finds what: the only way for faces and agents to obtain a base. Bound to the tenant.

The same condition stands inside of the search's own statement (knowledge/migrations/0001_initial.sql), which is what
counts; here it keeps what is not somebody's out of lists and answers.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db.models import Q, QuerySet

from accounts.actors import Actor
from accounts.policies import KNOWLEDGE_READ, KNOWLEDGE_WRITE
from core.errors import PaasError
from knowledge.models import SLUG, Document, KnowledgeBase


def bases_for(actor: Actor) -> QuerySet[KnowledgeBase]:
    """The bases that the actor finds anything in. Raises permission_denied."""
    actor.require(KNOWLEDGE_READ)
    if KNOWLEDGE_WRITE in actor.actions:
        return KnowledgeBase.objects.all()
    own = Q(roles__contains=[actor.role]) | Q(people__contains=[str(actor.user_id or actor.key_id)])
    return KnowledgeBase.objects.filter(Q(access=KnowledgeBase.Access.EVERYBODY) | own)


def base_for(actor: Actor, slug: str, *, write: bool = False) -> KnowledgeBase:
    """One of them; write: to change it or what is in it. Raises permission_denied, not_found."""
    actor.require(KNOWLEDGE_WRITE if write else KNOWLEDGE_READ)
    usable = bases_for(actor).select_related("provider", "reranker")
    found = usable.filter(slug=slug).first() if re.match(SLUG, slug) else None  # what is no name may be no text either
    if found is None:
        raise PaasError("not_found", "There is no such knowledge base in this workspace.")
    return found


def document_for(actor: Actor, slug: str, document_id: uuid.UUID, *, write: bool = False) -> Document:
    """One document of a base. Raises permission_denied, not_found."""
    base = base_for(actor, slug, write=write)
    found = Document.objects.select_related("base").filter(base=base, id=document_id).first()
    if found is None:
        raise PaasError("not_found", "There is no such document in this knowledge base.")
    return found


def rights(actor: Actor) -> dict[str, Any]:
    """The actor as the search's statement judges them."""
    may = KNOWLEDGE_READ in actor.actions
    return {
        "all": may and KNOWLEDGE_WRITE in actor.actions,
        "may": may,
        "role": actor.role,
        "who": str(actor.user_id or actor.key_id),
    }
