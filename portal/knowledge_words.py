"""Knowledge in the words of people: states, steps and kinds of documents, and what is told about a score."""

from __future__ import annotations

import re
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from core.documents.kinds import KINDS
from knowledge.models import Document

State = Document.State
STATES: dict[str, str | Promise] = {
    State.QUEUED: _("Waiting"),
    State.PARSING: _("Being read"),
    State.EMBEDDING: _("Being made searchable"),
    State.READY: _("Searchable"),
    State.FAILED: _("Failed"),
    State.CANCELLED: _("Cancelled"),
}
# What knowledge/ingest.py says while it works; a step that is not here is shown as it is.
STEPS: dict[str, str | Promise] = {
    "fetching the page": _("fetching the page"),
    "reading": _("reading"),
    "cutting into passages": _("cutting into passages"),
}
COUNTED = re.compile(r"(\d+) of (\d+) passages")
NAMES = {"docx": "Word", "pptx": "PowerPoint", "xlsx": "Excel", "markdown": "Markdown"}  # others: in large letters
SOURCES: dict[str, str | Promise] = {
    Document.Source.UPLOAD: _("File"),
    Document.Source.TEXT: _("Text that somebody typed"),
    Document.Source.URL: _("Web page"),
}


def state_words(state: str) -> str:
    """A document's state."""
    return str(STATES.get(state, state))


def step_words(step: str) -> str:
    """A step, in the person's language."""
    if counted := COUNTED.fullmatch(step):
        return gettext("%(done)s of %(all)s passages") % {"done": counted[1], "all": counted[2]}
    return str(STEPS.get(step, step))


def kind_words(document: Document) -> str:
    """What a document is."""
    return _kind(document.kind) or str(SOURCES.get(document.source, ""))


def kinds_taken() -> str:
    """What can be put in."""
    return ", ".join(_kind(one) for one in (*KINDS, "html"))


def _kind(kind: str) -> str:
    return gettext("text") if kind == "text" else NAMES.get(kind, kind.upper())


def for_pages() -> dict[str, Any]:
    """What static/portal/knowledge.js and uploads.js say."""
    return {
        "states": {state: str(words) for state, words in STATES.items()},
        "steps": {step: str(words) for step, words in STEPS.items()},
        "counted": gettext("%(done)s of %(all)s passages"),
        "live": gettext("Live"),
        "polling": gettext("The live connection was cut; this page looks again every few seconds."),
        "ended": gettext("You may not see this knowledge base any more."),
        "new": gettext("Show the new documents"),
        "checking": gettext("checking"),
        "waiting": gettext("waiting"),
        "sending": gettext("sending"),
        "resumed": gettext("going on where it stopped"),
        "again": gettext("Try again"),
        "cancel": gettext("Cancel"),
        "remove": gettext("Remove from this list"),
        "offline": gettext("The server cannot be reached. It is tried again."),
        "lost": gettext("The server could not be reached. Try again; what has arrived is kept."),
        "failed": gettext("It failed."),
        "empty": gettext("The file is empty."),
        "large": gettext("The file is too large. At most:"),
        "all_sent": gettext("All files have arrived."),
        "some_failed": gettext("Some files could not be sent."),
        "left": gettext("Files that are still being sent:"),
    }
