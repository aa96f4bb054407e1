"""The documents of a base: the list with its uploads, adding a text or a page, and one document."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.audit_selectors import names_of
from accounts.policies import KNOWLEDGE_WRITE
from core.errors import PaasError
from core.sentences import sentence
from knowledge import access, documents, uploads
from knowledge.documents import WAITING, Source
from knowledge.models import Document
from knowledge.selectors import Wanted, contents, documents_page, passage_count, passages_page, tags_of, unfinished
from portal.access import actor_of, page
from portal.knowledge import address, context_of
from portal.knowledge_forms import AddressForm, FilterForm, LabelsForm, TextForm, labels_of
from portal.knowledge_words import error_words, failures, for_pages, kind_words, kinds_taken, state_words, step_words

PAGE = 50
PASSAGES = 30


@dataclass(frozen=True, slots=True)
class Line:
    """A document as the list shows it."""

    document: Document
    state: str
    step: str
    error: str
    kind: str

    @property
    def waiting(self) -> bool:
        """Whether it is being made searchable, or waits for it."""
        return self.document.state in WAITING

    @property
    def again(self) -> bool:
        """Whether it can be tried again."""
        return self.document.state in (Document.State.FAILED, Document.State.CANCELLED)


def line_of(document: Document) -> Line:
    """A document in the words of people."""
    return Line(
        document, state_words(document.state), step_words(document), error_words(document), kind_words(document)
    )


@require_GET
@page(KNOWLEDGE_WRITE)
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/`"""
    actor = actor_of(request)
    base = access.base_for(actor, slug, write=True)
    filters = FilterForm(request.GET, tags=tags_of(base))
    filters.is_valid()
    given: dict[str, Any] = filters.cleaned_data
    asked = {name: value for name in ("text", "tag", "state") if (value := given.get(name))}
    found, following = documents_page(base, Wanted(**asked, before=given.get("before")), PAGE)
    context = context_of(actor, base, "documents") | {
        "content": contents([base.id])[base.id],
        "filters": filters,
        "filtered": bool(asked),
        "lines": [line_of(one) for one in found],
        "query": urlencode(asked),
        "older": urlencode({**asked, "before": following}) if following else "",
        "paged": given.get("before") is not None,
        "unfinished": unfinished(actor, base),
        **_for_uploads(),
    }
    return render(request, "portal/knowledge_documents.html", context)


def _for_uploads() -> dict[str, Any]:
    limits = {"piece": uploads.PIECE_BYTES, "most": settings.MAX_FILE_BYTES}
    said = {"words": for_pages(), "failures": failures(), "kinds": kinds_taken()}
    return said | {"limits": limits, "most_mb": limits["most"] >> 20}


@require_http_methods(["GET", "POST"])
@page(KNOWLEDGE_WRITE)
def add(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/add/`: a text or a web page; `what` says which"""
    actor, what = actor_of(request), request.POST.get("what", "")
    base = access.base_for(actor, slug, write=True)
    text = TextForm(request.POST if what == "text" else None)
    web = AddressForm(request.POST if what == "url" else None)
    form: forms.Form = web if what == "url" else text
    if request.method == "POST" and form.is_valid():
        try:
            documents.documents_add(actor=actor, slug=slug, sources=[_source(form)], labels=labels_of(form))
        except PaasError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("It was taken in. In a moment it can be found."))
            return HttpResponseRedirect(address(slug))
    context = context_of(actor, base, "add") | {"text_form": text, "url_form": web}
    return render(request, "portal/knowledge_add.html", context, status=400 if form.errors else 200)


def _source(form: forms.Form) -> Source:
    data = form.cleaned_data
    if "url" in data:
        return Source(data["url"], url=data["url"], source=Document.Source.URL)
    return documents.text_source(data["title"], data["text"])


def _explain(form: forms.Form, error: PaasError) -> None:
    if error.code == "permission_denied":
        raise error
    name = error.details.get("param")
    said = error.message if error.code == "validation_failed" else sentence(error)
    form.add_error(name if name in form.fields else None, said)


@require_http_methods(["GET", "POST"])
@page(KNOWLEDGE_WRITE)
def one(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`/settings/knowledge/<slug>/documents/<id>/`: its state, labels and passages; POST saves title, tags, metadata"""
    actor = actor_of(request)
    found = access.document_for(actor, slug, document_id, write=True)
    shown = {name: getattr(found, name) for name in ("title", "tags", "metadata")}
    form = LabelsForm(request.POST or None, initial=shown)
    if request.method == "POST" and form.is_valid():
        try:
            documents.document_label(actor=actor, slug=slug, document_id=document_id, fields=dict(form.cleaned_data))
        except PaasError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("%(name)s was saved.") % {"name": form.cleaned_data["title"]})
            return HttpResponseRedirect(address(slug, f"documents/{document_id}/"))
    first = _number(request.GET.get("from", ""))
    count = passage_count(found)
    by = f"key:{found.key_id}" if found.key_id else f"user:{found.user_id}"
    context = context_of(actor, found.base, "documents") | {
        "line": line_of(found),
        "document": found,
        "form": form,
        "by": names_of([by]).get(by, ""),
        "passages": passages_page(found, first, PASSAGES),
        "count": count,
        "before": max(first - PASSAGES, 1) if first > 1 else 0,
        "after": first + PASSAGES if first + PASSAGES <= count else 0,
        **_for_uploads(),
    }
    return render(request, "portal/knowledge_document.html", context, status=400 if form.errors else 200)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 9 else 1


# --- buttons ------------------------------------------------------------------------------------------------------
@require_POST
@page(KNOWLEDGE_WRITE)
def retry(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`.../documents/<id>/retry/`"""
    return _done(request, slug, document_id, documents.document_retry, gettext("It is tried again."))


@require_POST
@page(KNOWLEDGE_WRITE)
def cancel(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`.../documents/<id>/cancel/`"""
    return _done(request, slug, document_id, documents.document_cancel, gettext("It was cancelled."))


@require_POST
@page(KNOWLEDGE_WRITE)
def delete(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`.../documents/<id>/delete/`"""
    said = gettext("The document was deleted with its passages and its file.")
    return _done(request, slug, document_id, documents.document_delete, said)


@require_POST
@page(KNOWLEDGE_WRITE)
def fetch(request: HttpRequest, slug: str, document_id: uuid.UUID) -> HttpResponse:
    """`.../documents/<id>/fetch/`: the next version of a web page"""
    actor = actor_of(request)
    found = access.document_for(actor, slug, document_id, write=True)
    if found.source != Document.Source.URL:
        raise PaasError("validation_failed", "Only a web page is fetched again.")
    source = Source(found.url, url=found.url, source=Document.Source.URL)
    documents.document_replace(actor=actor, slug=slug, document_id=document_id, source=source)
    messages.success(request, gettext("The page is fetched again. Until it is there, its former text is found."))
    return HttpResponseRedirect(address(slug, f"documents/{document_id}/"))


@require_POST
@page(KNOWLEDGE_WRITE)
def retry_failed(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/retry/`: everything that has failed"""
    count = documents.documents_retry(actor=actor_of(request), slug=slug)
    messages.success(request, gettext("Documents that are tried again: %(count)s.") % {"count": count})
    return HttpResponseRedirect(address(slug))


def _done(request: HttpRequest, slug: str, document_id: uuid.UUID, act: Callable[..., Any], said: str) -> HttpResponse:
    """Do it, and go back to where the button was."""
    actor = actor_of(request)
    access.document_for(actor, slug, document_id, write=True)
    try:
        act(actor=actor, slug=slug, document_id=document_id)
    except PaasError as error:
        if error.code != "validation_failed":
            raise
        messages.error(request, error.message)  # it has got further meanwhile
    else:
        messages.success(request, said)
    if request.POST.get("back") == "document" and act is not documents.document_delete:
        return HttpResponseRedirect(address(slug, f"documents/{document_id}/"))
    query = urlencode(parse_qsl(request.POST.get("query", "")[:2000]))
    return HttpResponseRedirect(address(slug) + (f"?{query}" if query else ""))
