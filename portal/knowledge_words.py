"""Knowledge in the words of people: states, steps and kinds of documents, and what is told about a score."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from core.documents import ocr
from core.documents.kinds import WHOLE_KINDS
from core.errors import ERRORS
from core.said import Said, fits
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
# What is said while a document is worked on and why it is not read, with places (core/said.py), and what stands in
# them; what is not here is shown as it is.
SAID: tuple[str | Promise, ...] = (
    _("fetching the page"),
    _("reading"),
    _("cutting into passages"),
    _("waiting to try again"),
    _("%(done)s of %(all)s passages"),
    _("%(done)s of %(all)s pictures read"),
    _("pages not read, as they are pictures: %(count)s"),
    _("It could not be read because of a fault here. Try again; if it fails again, tell an administrator."),
    _("It is a picture, or its pages are, and this knowledge base does not read pictures (OCR is set to never)."),
    _(
        "OCR is not installed: pictures cannot be read here. Whoever runs the platform can install "
        "requirements-ocr.txt."
    ),
    _("The file takes too long, or too much memory, to read."),
    _("The file could not be read."),
    _("The file is nested too deeply."),
    _("The file is damaged, or it is not what its name says."),
    _("Unpacked, the file is too large."),
    _("The document has too much text."),
    _("The document has no text."),
    _("The document has more than %(most)s paragraphs or rows."),
    _("The document makes more than %(most)s passages. Split it."),
    _("The page took more than %(most)s seconds."),
    _("The page could not be read: its server cannot be reached."),
    _("The page is too large."),
    _("The page has no text."),
    _("The PDF is damaged, or it is none."),
    _("The PDF is encrypted. Ask for one without a password."),
    _("The PDF has no page."),
    _("The PDF has %(count)s pages; %(most)s are read at most."),
    _("Page %(page)s of the PDF cannot be shown."),
    _("The picture has more than %(count)s million pixels."),
    _("The picture is damaged, or of a kind that is not read here."),
    _("The presentation has %(count)s slides; %(most)s are read at most."),
    _("The table cannot be read: %(why)s."),
    _("This is not a whole Excel workbook."),
    _("The workbook has no sheet with rows."),
    _("This is not a whole %(what)s."),
    _("This is an archive, and no %(what)s."),
    _("The %(what)s has more than %(most)s parts."),
    _("Unpacked, the %(what)s is too large."),
    _("The %(what)s is packed suspiciously well; it is not unpacked."),
    _("The %(what)s is encrypted."),
    _("The %(what)s has parts that lead out of it."),
    _("The %(what)s is damaged."),
    _("Excel workbook"),
    _("Word document"),
    _("PowerPoint presentation"),
    _("workbook"),
    _("document"),
    _("presentation"),
)
COUNTED = re.compile(r"(\d+) of (\d+) passages")  # as releases before have stored it
NAMES = {"docx": "Word", "pptx": "PowerPoint", "xlsx": "Excel", "markdown": "Markdown"}  # others: in large letters
SOURCES: dict[str, str | Promise] = {
    Document.Source.UPLOAD: _("File"),
    Document.Source.TEXT: _("Text that somebody typed"),
    Document.Source.URL: _("Web page"),
}


def state_words(state: str) -> str:
    """A document's state."""
    return str(STATES.get(state, state))


def step_words(document: Document) -> str:
    """What is done with a document, in the person's language."""
    if counted := COUNTED.fullmatch(document.step):
        return gettext("%(done)s of %(all)s passages") % {"done": counted[1], "all": counted[2]}
    return _words(document, "step", document.step)


def error_words(document: Document) -> str:
    """Why a document was not read, or waits, in the person's language."""
    return _words(document, "error", document.error)


def _words(document: Document, name: str, text: str) -> str:
    """`text` translated: by what is kept of it where that is still the same sentence, else as it is."""
    kept = document.said.get(name) or {}
    sentence, told = kept.get("text", text), kept.get("told", {})
    if code := kept.get("code"):
        return failures().get(code, text) if sentence == text else text
    known = sentences()
    if sentence not in known or not fits(sentence, told) or str(Said(sentence, told)) != text:
        sentence, told = text, {}
    told = {place: known.get(one, one) for place, one in told.items()}
    return str(Said(known.get(sentence, sentence), told))


def sentences() -> dict[str, str]:
    """What is said of documents, in English -> in the person's language."""
    return _sentences(translation.get_language())


@cache
def _sentences(language: str | None) -> dict[str, str]:
    with translation.override(None):
        english = [str(one) for one in SAID]
    return dict(zip(english, (str(one) for one in SAID), strict=True))


def failures() -> dict[str, str]:
    """What errors are called where that is not English: there, their own words say more."""
    told = {code: gettext(spec.message) for code, spec in ERRORS.items()}
    return {code: text for code, text in told.items() if text != ERRORS[code].message}


def kind_words(document: Document) -> str:
    """What a document is."""
    return _kind(document.kind) or str(SOURCES.get(document.source, ""))


def kinds_taken() -> str:
    """What can be put in."""
    kinds = [_kind(one) for one in WHOLE_KINDS if one != "image"]
    return ", ".join([*kinds, gettext("pictures")] if ocr.installed() else kinds)


def _kind(kind: str) -> str:
    return gettext("text") if kind == "text" else NAMES.get(kind, kind.upper())


def for_pages() -> dict[str, Any]:
    """What static/portal/knowledge.js and uploads.js say."""
    return {
        "states": {state: str(words) for state, words in STATES.items()},
        "said": sentences(),
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
