"""Trying questions against a base: which passages are found, and why these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts.policies import KNOWLEDGE_WRITE
from core.errors import PaasError
from core.sentences import sentence
from knowledge import access, search
from knowledge.documents import Labels, check_labels
from knowledge.models import Chunk
from knowledge.search import Question
from knowledge.selectors import copies_of
from portal.access import actor_of, page
from portal.knowledge import context_of
from portal.knowledge_forms import QuestionForm


@dataclass(frozen=True, slots=True)
class Found:
    """A passage, and others that say the same and were left out for it."""

    passage: dict[str, Any]
    copies: list[Chunk]

    @property
    def percent(self) -> int:
        """Its score, of 100."""
        return round(100 * float(self.passage["score"]))


@require_http_methods(["GET", "POST"])
@page(KNOWLEDGE_WRITE)
def attempt(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/try/`; POST, because the question's vector may cost something"""
    actor = actor_of(request)
    base = access.base_for(actor, slug, write=True)
    form = QuestionForm(request.POST or None, base=base)
    found: list[Found] | None = None
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        try:
            check_labels(Labels(given["tags"], given["metadata"]))
            passages = search.search(actor, slug, Question(**given | {"tags": tuple(given["tags"])}))
        except PaasError as error:
            if error.code == "permission_denied":
                raise
            name = error.details.get("param")
            said = error.message if error.code == "validation_failed" else sentence(error)
            form.add_error(name if name in form.fields else None, said)
        else:
            copies = copies_of(base, passages)
            found = [Found(one, copies.get(one["chunk_id"], [])) for one in passages]
    context = context_of(actor, base, "try") | {"form": form, "found": found}
    return render(request, "portal/knowledge_try.html", context, status=400 if form.errors else 200)
