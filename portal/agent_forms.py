"""The forms of agents: a new one, its draft, and what is published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from agents.content import Content
from agents.fallbacks import MOST as MOST_FALLBACKS
from agents.models import SLUG
from agents.parameters import FALLBACKS, MOST_OUTPUT_TOKENS, NUMBERS
from agents.releases import MOST_NOTE_CHARS
from agents.tools.choice import BOUNDS
from agents.tools.settings import ToolLine
from agents.tools.spec import RunLimits
from chat.timing import timezones
from core.errors import PaasError
from core.sentences import sentence
from llm.catalog import answers, known_models
from llm.models import ProviderAccount
from portal.agent_templates import TEMPLATES
from portal.agent_words import label
from portal.team_fields import TeamFields, team_initial

NOT_SENT = {"autocomplete": "off", "spellcheck": "false"}
# Of a draft's parameters; what else is there stays as it is.
PARAMETERS = (*NUMBERS, "max_tokens", "seed", "stop", "thinking")
THINKING = {"enabled": {"type": "enabled"}, "disabled": {"type": "disabled"}}


@dataclass(frozen=True, slots=True)
class Models:
    """The models of an account that the form suggests; any other can be typed."""

    account: ProviderAccount
    names: list[str]


def suggestions(accounts: Iterable[ProviderAccount]) -> list[Models]:
    """For each account the models that are known of it and that it allows."""
    found = []
    for one in accounts:
        own = [name for name, entry in one.models.items() if answers(entry)]
        names = sorted({*known_models(one.kind), *own, *one.allowed_models})
        found.append(Models(one, [name for name in names if one.allows(name)]))
    return found


def _provider_choices(accounts: Iterable[ProviderAccount], chosen: str | None = None) -> list[tuple[str, Any]]:
    offered = [(one.name, one.name) for one in accounts if one.enabled or one.name == chosen]
    return [("", _("None yet")), *offered]


class ModelInput(forms.TextInput):
    """A model's name with the suggestions of the account that is chosen (static/portal/agent_editor.js)."""

    def __init__(self) -> None:
        super().__init__(attrs={**NOT_SENT, "list": "models", "data-model": ""})


class SchemaField(forms.JSONField):
    """JSON to read and write by hand; empty is none."""

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, dict) else value


class NewAgentForm(forms.Form):
    """What a new agent begins as."""

    template = forms.ChoiceField(
        label=_("Begin with"),
        choices=[(one.key, one.name) for one in TEMPLATES],
        widget=forms.RadioSelect,
        initial=TEMPLATES[0].key,
    )
    name = forms.CharField(label=_("Name"), max_length=120, help_text=_("As people see it."))
    slug = forms.CharField(
        label=_("Short name"),
        max_length=60,
        help_text=_("Programs ask the agent by it; it cannot be changed later. Small letters, digits, and inner . _ -"),
        widget=forms.TextInput(attrs=NOT_SENT),
    )
    provider = forms.ChoiceField(label=_("Model provider"), required=False)
    model = forms.CharField(label=_("Model"), max_length=120, required=False, widget=ModelInput())
    knowledge = forms.CharField(max_length=60, required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, accounts: list[ProviderAccount], initial: dict[str, Any]) -> None:
        usable = [one for one in accounts if one.enabled]
        super().__init__(data, initial={"provider": usable[0].name if len(usable) == 1 else ""} | initial)
        _choose(self, "provider", _provider_choices(usable))

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if not SLUG.match(slug):
            raise ValidationError(_("Use 1 to 60 small letters, digits, and inner . _ or -."))
        return slug

    def explain(self, error: PaasError) -> None:
        """A refusal of the service, in the field it belongs to."""
        if error.code == "already_exists":
            self.add_error("slug", gettext("There is an agent with this short name already, perhaps an archived one."))
        else:
            explain(self, error)


class DraftForm(TeamFields):
    """A draft. `revision` is the draft that the person has seen (agents.drafts.Draft)."""

    revision = forms.CharField(widget=forms.HiddenInput, required=False)
    name = forms.CharField(label=_("Name"), max_length=120)
    description = forms.CharField(
        label=_("Description"), max_length=1000, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    provider = forms.ChoiceField(label=_("Model provider"), required=False)
    model = forms.CharField(label=_("Model"), max_length=120, required=False, widget=ModelInput())
    instructions = forms.CharField(
        label=_("Instructions"),
        max_length=50_000,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=_("What the model is told before every conversation. People do not see it."),
    )
    max_tokens = forms.IntegerField(
        label=_("Most tokens of an answer"), min_value=1, max_value=MOST_OUTPUT_TOKENS, required=False
    )
    seed = forms.IntegerField(label=_("Seed"), min_value=-(2**53), max_value=2**53, required=False)
    stop = forms.CharField(
        label=_("Stop at"),
        max_length=1000,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=_("Texts at which the answer ends, one a line."),
    )
    thinking = forms.ChoiceField(
        label=_("Thinking"),
        choices=(("", _("As the model does by itself")), ("enabled", _("On")), ("disabled", _("Off"))),
        required=False,
    )
    tools = forms.MultipleChoiceField(label=_("Tools"), widget=forms.CheckboxSelectMultiple, required=False)
    memory = forms.BooleanField(
        label=_("It notes things about a person and remembers them"),
        required=False,
        help_text=_("People see what was noted, and can delete it or switch it off. The model has to know tools."),
    )
    output_schema = SchemaField(
        label=_("Form of the answer"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "class": "mono"}),
        help_text=_("A JSON schema of an object, which every answer then fits. Empty: free text."),
    )
    knowledge = forms.MultipleChoiceField(label=_("Knowledge"), required=False, widget=forms.CheckboxSelectMultiple)
    rewrite_queries = forms.BooleanField(
        label=_("Word what it looks for by the conversation"),
        required=False,
        help_text=_(
            "Where a search would not be understood alone (“and how long does that take?”), the agent's model is asked "
            "for a whole question first. That costs a short call."
        ),
    )
    timezone = forms.ChoiceField(
        label=_("Time zone of the clock"), required=False, help_text=_("Where the model names none.")
    )

    def __init__(self, data: Any, *, said: Content, revision: str, accounts: list[ProviderAccount]) -> None:
        """said: the draft as `agents.content.shown` has it."""
        self.said = said
        super().__init__(data, initial=_initial(said) | {"revision": revision})
        self.accounts = accounts
        _choose(self, "provider", _provider_choices(accounts, said["provider"]))
        _choose(self, "timezone", [("", _("Coordinated universal time (UTC)")), *((z, z) for z in sorted(timezones()))])
        for name, (low, high) in NUMBERS.items():
            self.fields[name] = forms.FloatField(
                label=label(name),
                min_value=low,
                max_value=high,
                required=False,
                widget=forms.NumberInput(attrs={"step": "any", "placeholder": f"{low} – {high}"}),
            )
        for name, (low, high) in BOUNDS.items():
            default = getattr(RunLimits(), name)
            self.fields[f"limit_{name}"] = forms.IntegerField(
                label=label(name),
                min_value=low,
                max_value=high,
                required=False,
                widget=forms.NumberInput(attrs={"placeholder": gettext("no limit") if default is None else default}),
            )
        for number in range(MOST_FALLBACKS):
            self.fields[f"fallback_provider_{number}"] = forms.ChoiceField(
                label=gettext("Model provider"), required=False
            )
            self.fields[f"fallback_model_{number}"] = forms.CharField(
                label=gettext("Model"), max_length=120, required=False, widget=ModelInput()
            )
            chosen = self.initial.get(f"fallback_provider_{number}")
            _choose(self, f"fallback_provider_{number}", _provider_choices(accounts, chosen))

    def offer_tools(self, lines: list[ToolLine]) -> None:
        """What the agent can be given, and what it names already, also where that is gone."""
        names = [line.spec.name for line in lines if line.enabled]
        names += [one for one in self.initial["tools"] if one not in names]
        _choose(self, "tools", [(name, name) for name in names])
        by_name = {line.spec.name: line for line in lines}
        self.tool_boxes = [(box, by_name.get(str(box.data["value"]))) for box in self["tools"]]

    def offer_knowledge(self, names: dict[str, str]) -> None:
        """The bases that the agent can answer from, by slug, and those that it names already, also where they are
        gone."""
        offered = [(slug, f"{name} ({slug})" if name != slug else slug) for slug, name in names.items()]
        _choose(self, "knowledge", offered + [(one, one) for one in self.initial["knowledge"] if one not in names])

    @property
    def sampling(self) -> list[Any]:
        """The fields of parameters."""
        return [self[name] for name in (*NUMBERS, "max_tokens", "seed", "thinking", "stop")]

    @property
    def limits(self) -> list[Any]:
        """The fields of a run's limits."""
        return [self[f"limit_{name}"] for name in BOUNDS]

    @property
    def fallbacks(self) -> list[tuple[Any, Any]]:
        """Pairs of fields, in their order."""
        return [(self[f"fallback_provider_{n}"], self[f"fallback_model_{n}"]) for n in range(MOST_FALLBACKS)]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        for number in range(MOST_FALLBACKS):
            provider, model = found.get(f"fallback_provider_{number}"), found.get(f"fallback_model_{number}")
            if provider and not model and f"fallback_model_{number}" not in self.errors:
                self.add_error(f"fallback_model_{number}", gettext("Name the model."))
            if model and not provider and f"fallback_provider_{number}" not in self.errors:
                self.add_error(f"fallback_provider_{number}", gettext("Choose whose model this is."))
        return found

    def values(self) -> Content:
        """What the valid form says, in the words of `agents.editing.draft_update`. Fields that it does not show are
        not among them, so that they stay as they are."""
        data = self.cleaned_data
        return {
            "name": data["name"],
            "description": _text(data["description"]),
            "provider": data["provider"] or None,
            "model": data["model"],
            "instructions": _text(data["instructions"]),
            "parameters": self._parameters(),
            "tools": self._tools(),
            "memory": data["memory"],
            "knowledge": sorted(data["knowledge"], key=self._place_before),
            "rewrite_queries": data["rewrite_queries"],
            "output_schema": data["output_schema"] or {},
            "team": self.team_said(),
            "limits": {name: data[f"limit_{name}"] for name in BOUNDS if data[f"limit_{name}"] is not None},
        }

    def _place_before(self, slug: str) -> int:
        """The order that a base was named in stays; new ones come behind."""
        before: list[str] = self.said["knowledge"] or []
        return before.index(slug) if slug in before else len(before)

    def _parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        kept = {
            name: value
            for name, value in self.said["parameters"].items()
            if name not in PARAMETERS and name != FALLBACKS
        }
        given = {name: data[name] for name in (*NUMBERS, "max_tokens", "seed") if data[name] is not None}
        if stops := [line for line in _text(data["stop"]).split("\n") if line]:
            given["stop"] = stops
        if data["thinking"]:
            given["thinking"] = THINKING[data["thinking"]]
        numbers = range(MOST_FALLBACKS)
        pairs = [(data[f"fallback_provider_{one}"], data[f"fallback_model_{one}"]) for one in numbers]
        if fallbacks := [{"provider": provider, "model": model} for provider, model in pairs if provider]:
            given[FALLBACKS] = fallbacks
        return kept | given

    def _tools(self) -> list[dict[str, Any]]:
        before = {one["name"]: one.get("settings") or {} for one in self.said["tools"]}
        found = []
        for name in self.cleaned_data["tools"]:
            settings = dict(before.get(name, {}))
            if name == "clock":
                settings.pop("timezone", None)
                settings |= {"timezone": zone} if (zone := self.cleaned_data["timezone"]) else {}
            found.append({"name": name, "settings": settings})
        return found


class PublishForm(forms.Form):
    """What is said of a version; what the person has seen of draft and published version goes along."""

    note = forms.CharField(
        label=_("Note on this version"),
        max_length=MOST_NOTE_CHARS,
        required=False,
        help_text=_("What is new, for those who look at the versions later."),
    )
    revision = forms.CharField(widget=forms.HiddenInput)
    base = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=0)


def explain(form: forms.Form, error: PaasError) -> None:
    """What a service found wrong: at the fields of the form, where it has them, and else above it."""
    faults = error.details.get("fields")
    if error.code != "validation_failed" or not isinstance(faults, dict):
        form.add_error(None, sentence(error))
        return
    for name, sentences in faults.items():
        told = sentences if isinstance(sentences, list) else [sentences]
        for one in map(str, told):
            if name == "team" and "team_members" in form.fields:
                form.add_error("team_members", one)
            elif name in form.fields:
                form.add_error(name, one)
            else:
                form.add_error(None, f"{label(name)}: {one}")


def _initial(said: Content) -> dict[str, Any]:
    found: dict[str, Any] = {name: said[name] for name in ("name", "description", "model", "instructions")}
    found["provider"] = said["provider"] or ""
    found |= {
        "memory": said["memory"],
        "rewrite_queries": said["rewrite_queries"],
        "knowledge": said["knowledge"] or [],
        "output_schema": said["output_schema"] or "",
    }
    found |= team_initial(said["team"] or {})
    parameters = said["parameters"] or {}
    found |= {name: parameters.get(name) for name in (*NUMBERS, "max_tokens", "seed")}
    stop, thinking = parameters.get("stop") or [], parameters.get("thinking")
    found["stop"] = stop if isinstance(stop, str) else "\n".join(stop)
    kind = thinking.get("type") if isinstance(thinking, dict) else thinking
    found["thinking"] = ("enabled" if kind else "disabled") if isinstance(kind, bool) else kind or ""
    for number, one in enumerate(parameters.get(FALLBACKS) or []):
        found |= {f"fallback_provider_{number}": one["provider"], f"fallback_model_{number}": one["model"]}
    found["tools"] = [one["name"] for one in said["tools"]]
    clock: dict[str, Any] = next((one for one in said["tools"] if one["name"] == "clock"), {})
    found["timezone"] = (clock.get("settings") or {}).get("timezone", "")
    return found | {f"limit_{name}": value for name, value in (said["limits"] or {}).items()}


def _choose(form: forms.Form, name: str, choices: list[tuple[str, Any]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices = choices


def _text(value: str) -> str:
    """A text area's text with plain ends of lines: browsers send \\r\\n, which would look like a change."""
    return value.replace("\r\n", "\n")
