"""Agents as files: writing one out, and taking one in after a look at what it would change."""

from __future__ import annotations

from typing import Any

import yaml
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.policies import AGENTS_MANAGE
from agents import content, editing, portable
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page
from portal.agent_forms import explain
from portal.agent_words import changes_shown
from portal.agents import address

MOST_BYTES = 256 * 1024


class ImportForm(forms.Form):
    """A file that is chosen, or its text."""

    file = forms.FileField(
        label=_("File"), required=False, widget=forms.FileInput(attrs={"accept": ".yaml,.yml,.json"})
    )
    text = forms.CharField(
        label=_("Or its text"),
        required=False,
        max_length=MOST_BYTES,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"}),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > MOST_BYTES:
            raise ValidationError(_("An agent's file has at most %(most)s KiB."), params={"most": MOST_BYTES // 1024})
        return file

    def document_text(self) -> str:
        """What was given. Raises validation_failed for nothing, and for bytes that are no text."""
        file = self.cleaned_data["file"]
        try:
            text: str = file.read().decode() if file else self.cleaned_data["text"]
        except UnicodeDecodeError:
            raise PaasError("validation_failed", details={"fields": {"file": [_not_text()]}}) from None
        if not text.strip():
            said = gettext("Choose a file, or paste its text.")
            raise PaasError("validation_failed", details={"fields": {"text": [said]}})
        return text


def _not_text() -> str:
    return gettext("This file is no text.")


@require_GET
@page(AGENTS_MANAGE)
def export(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/export/`: as YAML; `?version=` a number or `draft`, else what is published"""
    agent = editing.agent_named(actor_of(request), slug)
    which = request.GET.get("version", "")
    document = portable.agent_document(agent, which)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    number = which or (str(agent.current.number) if agent.current else "draft")
    answer = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{agent.slug}-{number}.yaml"'
    return answer


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def take_in(request: HttpRequest) -> HttpResponse:
    """`/settings/agent-imports/`: first what would change, then, with `sure`, doing it"""
    form = ImportForm(request.POST or None, request.FILES or None)
    preview, text = None, ""
    if request.method == "POST" and form.is_valid():
        actor = actor_of(request)
        try:
            text = form.document_text()
            document = portable.document_of(text)
            done = portable.agent_import(actor=actor, document=document, dry_run="sure" not in request.POST)
        except PaasError as error:
            if error.code == "permission_denied":
                raise
            _explain(form, error)
        else:
            if "sure" in request.POST:
                return _taken_in(request, done)
            preview = done
    context = {"page_name": "agents", "form": form, "preview": preview, "text": text}
    if preview is not None:
        empty = content.shown({"name": "", "description": ""} | content.empty_content())
        changes = preview.changes or content.differences(empty, preview.draft)
        context["changes"] = changes_shown(changes) if preview.what != "unchanged" else []
    return render(request, "portal/agent_import.html", context, status=400 if form.errors else 200)


def _explain(form: ImportForm, error: PaasError) -> None:
    """Above the form, each field by its name in the file."""
    faults = error.details.get("fields")
    if error.code == "already_exists":
        said = gettext("An archived agent, or one of the platform's own, has this short name. Change it in the file.")
        form.add_error(None, said)
    elif isinstance(faults, dict) and not set(faults) <= set(form.fields):
        for name, sentences in faults.items():
            form.add_error(None, f"{name}: {' '.join(map(str, sentences))}")
    elif faults is None:
        form.add_error(None, error.message if error.code == "validation_failed" else sentence(error))
    else:
        explain(form, error)


def _taken_in(request: HttpRequest, done: portable.Imported) -> HttpResponse:
    said = {
        "created": gettext("%(slug)s was made from the file. Nobody can ask it before you publish it."),
        "drafted": gettext("The draft of %(slug)s says now what the file says. What is published stays."),
        "unchanged": gettext("%(slug)s says so already; nothing was changed."),
    }
    messages.success(request, said[done.what] % {"slug": done.slug})
    return HttpResponseRedirect(address(done.slug))
