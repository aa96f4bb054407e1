"""The form of a tool that is built of an HTTP request, and that of its arguments when it is tried."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, formset_factory
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from agents.models import Tool
from agents.tools.http import SECRET
from agents.tools.http_services import MOST_PARAMETERS, TYPES
from portal.agent_forms import NOT_SENT

EMPTY_ROWS = 2
PLACES = (("path", _("Path")), ("query", _("Query")), ("header", _("Header")), ("body", _("Body")))


class ToolForm(forms.Form):
    """A tool's request. The stored secret is never shown; an empty field keeps it."""

    name = forms.RegexField(
        r"^[a-zA-Z0-9_-]{1,64}\Z",
        label=_("Name"),
        max_length=64,
        help_text=_("As the model calls it: letters, digits, _ or -."),
        error_messages={"invalid": _("Use letters, digits, _ or -.")},
        widget=forms.TextInput(attrs=NOT_SENT),
    )
    description = forms.CharField(
        label=_("Description"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("What it does and when it is to be used. The model decides by this."),
    )
    method = forms.ChoiceField(
        label=_("Method"), choices=[(one, one) for one in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    )
    url = forms.CharField(
        label=_("Address"),
        max_length=1000,
        widget=forms.TextInput(attrs={**NOT_SENT, "inputmode": "url"}),
        help_text=_("Such as https://api.example.com/orders/{id}. In braces: parameters of the path."),
    )
    headers = forms.CharField(
        label=_("Headers"),
        max_length=8000,
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "placeholder": f"Authorization: Bearer {SECRET}"}
        ),
    )
    secret = forms.CharField(
        label=_("Secret"),
        max_length=4000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    forget_secret = forms.BooleanField(label=_("Delete the stored secret"), required=False)
    result_path = forms.CharField(
        label=_("Part of the answer"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=NOT_SENT | {"placeholder": "data.items.0.title"}),
        help_text=_("Where in a JSON answer the result stands. Empty: the model gets all of it."),
    )

    def __init__(self, data: Any, *, tool: Tool | None) -> None:
        super().__init__(data, initial=_initial(tool) if tool else {})
        self.fields["headers"].help_text = gettext(
            "One a line, as Name: value. %(place)s stands for the secret, which goes to the host of the address only."
        ) % {"place": SECRET}
        if tool is None or not tool.secret:
            del self.fields["forget_secret"]

    def clean_headers(self) -> dict[str, str]:
        found = {}
        for line in self.cleaned_data["headers"].splitlines():
            if not line.strip():
                continue
            name, colon, value = line.partition(":")
            if not colon:
                raise ValidationError(_("Write each header as Name: value."))
            found[name.strip()] = value.strip()
        return found

    def values(self, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        """What the valid form says, in the words of `tool_save`."""
        data = dict(self.cleaned_data)
        secret, forget = data.pop("secret"), data.pop("forget_secret", False)
        return data | {"parameters": parameters} | ({"secret": secret} if secret or forget else {})


class ParameterForm(forms.Form):
    """One parameter; a row without a name is none."""

    name = forms.CharField(label=_("Name"), max_length=64, required=False, widget=forms.TextInput(attrs=NOT_SENT))
    where = forms.ChoiceField(label=_("Where"), choices=PLACES, initial="query")
    type = forms.ChoiceField(label=_("Type"), choices=[(one, one) for one in TYPES])
    required = forms.BooleanField(label=_("Required"), required=False)
    description = forms.CharField(label=_("Description"), max_length=500, required=False)

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.get("description") and not found.get("name"):
            self.add_error("name", gettext("Give it a name."))
        return found


Parameters = formset_factory(ParameterForm, extra=EMPTY_ROWS, max_num=MOST_PARAMETERS, validate_max=True)


def parameter_rows(data: Any, tool: Tool | None) -> BaseFormSet[ParameterForm]:
    """The rows of a tool's parameters, and empty ones."""
    kept = tool.parameters if tool else []
    initial = [
        {
            "name": one["name"],
            "where": one["in"],
            "type": one.get("type", "string"),
            "required": one.get("required", one["in"] == "path"),
            "description": one.get("description", ""),
        }
        for one in kept
    ]
    return Parameters(data, initial=initial, prefix="parameters")


def parameters_in(rows: BaseFormSet[ParameterForm]) -> list[dict[str, Any]]:
    """What valid rows say, in the words of agents.models.Tool."""
    return [
        {
            "name": one["name"],
            "in": one["where"],
            "type": one["type"],
            "required": one["required"],
            "description": one["description"],
        }
        for row in rows
        if (one := row.cleaned_data).get("name")
    ]


class ArgumentsForm(forms.Form):
    """Arguments for a try: texts as they are, everything else as JSON; an empty field is left out."""

    def __init__(self, data: Any, *, tool: Tool) -> None:
        super().__init__(data, prefix="argument")
        for one in tool.parameters:
            kind = one.get("type", "string")
            self.fields[one["name"]] = forms.CharField(
                label=one["name"],
                required=False,
                strip=False,
                max_length=10_000,
                help_text=" · ".join(filter(None, (kind, one.get("description", "")))),
                widget=forms.TextInput(attrs=NOT_SENT),
            )
        self._kinds = {one["name"]: one.get("type", "string") for one in tool.parameters}

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        for name, text in list(found.items()):  # add_error takes them out
            if text and self._kinds[name] != "string":
                try:
                    json.loads(text)
                except ValueError:
                    self.add_error(name, gettext("Write it as JSON: 7, true, [1, 2] or an object."))
        return found

    def arguments(self) -> dict[str, Any]:
        """What the valid form says."""
        given = {name: text for name, text in self.cleaned_data.items() if text}
        return {name: text if self._kinds[name] == "string" else json.loads(text) for name, text in given.items()}


def _initial(tool: Tool) -> dict[str, Any]:
    kept = {name: getattr(tool, name) for name in ("name", "description", "method", "url", "result_path")}
    return kept | {"headers": "\n".join(f"{name}: {value}" for name, value in tool.headers.items())}
