"""The forms of knowledge bases and their documents."""

from __future__ import annotations

import json
import math
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from knowledge import hashing
from knowledge.bases import CHANGEABLE
from knowledge.documents import Labels
from knowledge.models import DIMENSIONS, Document, KnowledgeBase
from knowledge.search import MOST_QUERY, MOST_RESULTS
from llm.models import ProviderAccount
from portal.knowledge_words import STATES
from portal.members import ROLES

MOST_TEXT = 2_000_000
TYPED = {"autocomplete": "off", "spellcheck": "false"}


class TagsField(forms.CharField):
    """Tags, with commas between them; a list."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs=TYPED)
        super().__init__(label=_("Tags"), required=False, max_length=1300, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        said = super().clean(value).replace("，", ",").split(",")
        return list(dict.fromkeys(tag for one in said if (tag := one.strip())))


class MetadataField(forms.CharField):
    """Lines such as `year: 2026`; an object of texts, numbers and true or false."""

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "class": "mono", **TYPED})
        super().__init__(label=_("Metadata"), required=False, max_length=6000, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{name}: {one if _plain(one) else json.dumps(one)}" for name, one in value.items())

    def clean(self, value: Any) -> Any:
        found: dict[str, Any] = {}
        for line in filter(None, (one.strip() for one in super().clean(value).splitlines())):
            name, colon, said = line.replace("：", ":", 1).partition(":")
            if not colon or not name.strip():
                raise ValidationError(_("Write one to a line, as name: value."))
            found[name.strip()] = _scalar(said.strip())
        return found


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text  # "NaN" is a number to Python, and none to PostgreSQL
    return value if isinstance(value, str | int | float | bool) else text


def _plain(value: Any) -> bool:
    return isinstance(value, str) and value == _scalar(value)


class BaseForm(forms.Form):
    """What can be changed of a base at any time."""

    name = forms.CharField(label=_("Name"), max_length=120)
    description = forms.CharField(
        label=_("Description"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("What is in it and what it is good for. People who make agents read it."),
    )
    access = forms.ChoiceField(
        label=_("Who finds what is in it"),
        widget=forms.RadioSelect,
        choices=[
            (KnowledgeBase.Access.EVERYBODY, _("Everybody in this workspace")),
            (KnowledgeBase.Access.RESTRICTED, _("Only these roles, people and keys")),
        ],
        initial=KnowledgeBase.Access.EVERYBODY,
    )
    roles = forms.MultipleChoiceField(
        label=_("Roles"), choices=ROLES, required=False, widget=forms.CheckboxSelectMultiple
    )
    people = forms.MultipleChoiceField(label=_("People and keys"), required=False, widget=forms.CheckboxSelectMultiple)
    chunk_size = forms.IntegerField(
        label=_("Size of a passage"),
        min_value=50,
        max_value=2000,
        initial=400,
        help_text=_("In tokens. Counts for documents that come in from now on."),
    )
    chunk_overlap = forms.IntegerField(
        label=_("Overlap"),
        min_value=0,
        max_value=500,
        initial=60,
        help_text=_("How many tokens neighbours share; at most half of a passage."),
    )
    vector_weight = forms.FloatField(
        label=_("Weight of meaning"),
        min_value=0,
        max_value=1,
        initial=0.7,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("How much it counts that a passage is near to the question."),
    )
    keyword_weight = forms.FloatField(
        label=_("Weight of words"),
        min_value=0,
        max_value=1,
        initial=0.3,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("How much it counts that a passage has the question's words."),
    )
    top_k = forms.IntegerField(
        label=_("Passages"),
        min_value=1,
        max_value=MOST_RESULTS,
        initial=6,
        help_text=_("How many an agent is given for a question."),
    )

    neighbours = forms.BooleanField(
        label=_("With what stands around"),
        required=False,
        help_text=_("Agents are given the passages before and after a found one too, where they fit."),
    )
    reranker = forms.ChoiceField(
        label=_("Reranker"),
        required=False,
        help_text=_("A model that puts what was found in order once more. It costs what its provider takes."),
    )
    ocr = forms.ChoiceField(
        label=_("Read pictures"),
        choices=[
            (KnowledgeBase.Ocr.AUTO, _("Where a page has little text")),
            (KnowledgeBase.Ocr.ALWAYS, _("On every page")),
            (KnowledgeBase.Ocr.NEVER, _("Never")),
        ],
        initial=KnowledgeBase.Ocr.AUTO,
    )
    ocr_chars = forms.IntegerField(
        label=_("Little text"),
        min_value=0,
        max_value=1000,
        initial=30,
        help_text=_("Pages with fewer characters than this are read as pictures."),
    )

    def __init__(
        self,
        data: Any,
        *,
        people: list[tuple[str, str]],
        accounts: list[ProviderAccount],
        base: KnowledgeBase | None = None,
    ) -> None:
        """people: ids of members and keys, with their names. accounts: whose models there are to choose from."""
        initial = {name: getattr(base, name) for name in CHANGEABLE} if base else {}
        if base and base.reranker_id:
            initial["reranker"] = f"{base.reranker_id}:{base.rerank_model}"
        super().__init__(data, initial=initial)
        self._names = {str(account.pk): account.name for account in accounts}
        offered_models = models_of(accounts, "rerank")
        if (kept := initial.get("reranker")) and kept not in dict(offered_models):
            offered_models.append((kept, kept.partition(":")[2]))  # of an account that is switched off now
        self.fields["reranker"].choices = [("", _("None")), *offered_models]  # type: ignore[attr-defined]
        known = {one for one, _name in people}
        gone = [one for one in base.people if one not in known] if base else []
        offered = people + [(one, gettext("Somebody who has left (%(id)s)") % {"id": one[:8]}) for one in gone]
        self.fields["people"].choices = offered  # type: ignore[attr-defined]

    @property
    def finding(self) -> list[Any]:
        """The fields that say how passages are made and found."""
        return [
            self[name]
            for name in (
                *("chunk_size", "chunk_overlap", "vector_weight", "keyword_weight", "top_k"),
                *("reranker", "neighbours", "ocr", "ocr_chars"),
            )
        ]

    def values(self) -> dict[str, Any]:
        """What the valid form says, in the words of knowledge.bases."""
        account, _colon, model = self.cleaned_data["reranker"].partition(":")
        reranker = {"reranker": self._names.get(account, ""), "rerank_model": model}
        return {name: self.cleaned_data[name] for name in CHANGEABLE} | reranker


class NewBaseForm(BaseForm):
    """A new base: also what stays for good."""

    slug = forms.CharField(
        label=_("Short name"),
        max_length=60,
        help_text=_("Agents and programs name the base by it; it cannot be changed later."),
        widget=forms.TextInput(attrs=TYPED),
    )
    model = forms.ChoiceField(label=_("Embeddings model"), required=False)
    dimension = forms.TypedChoiceField(
        label=_("Numbers of a vector"),
        coerce=int,
        choices=[(str(one), str(one)) for one in DIMENSIONS],
        initial=str(hashing.DIMENSION),
        help_text=_("What the model gives; the hashing embedder: 256."),
    )

    def __init__(self, data: Any, *, people: list[tuple[str, str]], accounts: list[ProviderAccount]) -> None:
        super().__init__(data, people=people, accounts=accounts)
        offered = models_of(accounts, "embeddings")
        self.fields["model"].choices = [  # type: ignore[attr-defined]
            *offered,
            ("", _("Hashing embedder: for tests and offline trial; finds words, not meanings")),
        ]
        self.only_hashing = not offered

    def fixed(self) -> dict[str, Any]:
        """Model and dimension of the valid form, in the words of knowledge.bases."""
        account, _colon, model = self.cleaned_data["model"].partition(":")
        dimension = self.cleaned_data["dimension"] if account else hashing.DIMENSION
        return {"provider": self._names.get(account, ""), "model": model, "dimension": dimension}


class LabelsForm(forms.Form):
    """What a document is found by besides its text."""

    title = forms.CharField(label=_("Title"), max_length=200)
    tags = TagsField(help_text=_("With commas between them. Searches can be limited to them."))
    metadata = MetadataField(help_text=_("One to a line, as year: 2026. Searches can be limited to it."))


class TextForm(forms.Form):
    """A text that somebody types."""

    title = forms.CharField(label=_("Title"), max_length=110)
    text = forms.CharField(
        label=_("Text"),
        max_length=MOST_TEXT,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=_("Markdown: lines that begin with # are headings."),
    )
    tags = TagsField()


class AddressForm(forms.Form):
    """A web page that is fetched once."""

    url = forms.CharField(
        label=_("Address"),
        max_length=2000,
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/page", **TYPED}),
        help_text=_("A public page. It is fetched once; replace it to fetch it again."),
    )
    tags = TagsField()


class FilterForm(forms.Form):
    """Which documents the list shows."""

    text = forms.CharField(label=_("Title has"), max_length=200, required=False)
    tag = forms.ChoiceField(label=_("Tag"), required=False)
    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[
            ("", _("All")),
            ("waiting", _("On their way")),
            *((state, STATES[state]) for state in (Document.State.READY, Document.State.FAILED)),
            (Document.State.CANCELLED, STATES[Document.State.CANCELLED]),
        ],
    )
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, tags: list[str]) -> None:
        super().__init__(data)
        self.fields["tag"].choices = [("", _("All")), *((one, one) for one in tags)]  # type: ignore[attr-defined]


class QuestionForm(forms.Form):
    """A question to try; empty numbers are the base's own."""

    query = forms.CharField(label=_("Question"), max_length=MOST_QUERY, widget=forms.Textarea(attrs={"rows": 2}))
    top_k = forms.IntegerField(label=_("Passages"), min_value=1, max_value=MOST_RESULTS, required=False)
    vector_weight = forms.FloatField(
        label=_("Weight of meaning"),
        min_value=0,
        max_value=1,
        required=False,
        widget=forms.NumberInput({"step": "any"}),
    )
    keyword_weight = forms.FloatField(
        label=_("Weight of words"), min_value=0, max_value=1, required=False, widget=forms.NumberInput({"step": "any"})
    )
    tags = TagsField(help_text=_("Only documents that have all of them."))
    metadata = MetadataField(help_text=_("Only documents that have all of it."))

    def __init__(self, data: Any, *, base: KnowledgeBase) -> None:
        super().__init__(data)
        for name in ("top_k", "vector_weight", "keyword_weight"):
            self.fields[name].widget.attrs["placeholder"] = getattr(base, name)

    @property
    def limits(self) -> list[Any]:
        """The fields that are seldom filled in."""
        return [self[name] for name in ("top_k", "vector_weight", "keyword_weight", "tags", "metadata")]


def models_of(accounts: list[ProviderAccount], what: str) -> list[tuple[str, str]]:
    """Choices of the models that do `what` ("embeddings", "rerank"), as their accounts declare them."""
    return [
        (f"{account.pk}:{model}", f"{account.name} · {model}")
        for account in accounts
        if account.enabled
        for model, entry in account.models.items()
        if entry.get(what) and account.allows(model)
    ]


def labels_of(form: forms.Form) -> Labels:
    """Tags and metadata of a valid form."""
    return Labels(form.cleaned_data["tags"], form.cleaned_data.get("metadata", {}))
