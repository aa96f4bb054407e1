"""`/settings/limits/`: what the workspace may use, and limits for its people, keys and agents."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts import key_selectors
from accounts.actors import Actor
from accounts.member_selectors import member_names
from accounts.policies import ADMIN_SETTINGS
from agents import quotas
from agents.selectors import agents
from portal.access import actor_of, page
from portal.limit_words import LEVELS, shown
from usage.limits import BELOW, Place, limit_remove, limit_set
from usage.limits import KINDS as KNOWN
from usage.names import LIMITS

PLACE = "/settings/limits/"


class LimitForm(forms.Form):
    """A limit of somebody or something of the workspace."""

    who = forms.ChoiceField(label=_("Who or what"))
    kind = forms.ChoiceField(label=_("Limit"))
    amount = forms.DecimalField(label=_("At most"), max_digits=24, decimal_places=9, min_value=0)
    currency = forms.CharField(
        label=_("Currency"),
        max_length=3,
        required=False,
        help_text=_("Of a cost only: three letters, such as USD."),
        widget=forms.TextInput(attrs={"autocapitalize": "characters", "autocomplete": "off"}),
    )

    def __init__(self, data: Any, *, actor: Actor) -> None:
        super().__init__(data)
        everybody = _everybody(actor)
        self.names = {id_: name for _level, found in everybody for name, id_ in found}
        who = [(LEVELS[level], [(f"{level}:{id_}", name) for name, id_ in found]) for level, found in everybody]
        self.fields["who"].choices = [("", "—"), *who]  # type: ignore[attr-defined]
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            (f"{metric}:{period}", LIMITS[metric, period])
            for (metric, period), levels in KNOWN.items()
            if "user" in levels
        ]

    def place(self, actor: Actor) -> Place:
        """The limit that is meant. Raises not_found for who has left meanwhile."""
        level, _colon, id_ = self.cleaned_data["who"].partition(":")
        metric, _colon, period = self.cleaned_data["kind"].partition(":")
        currency = self.cleaned_data["currency"].strip().upper() if metric == "cost" else ""
        return Place(actor.tenant, level, quotas.subject_of(actor, level, uuid.UUID(id_)), metric, period, currency)

    def explain(self, error: ValidationError) -> None:
        """What the service found wrong, in the field it belongs to and in the person's language."""
        wrong = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for field, said in wrong.items():
            if field == "currency":
                self.add_error("currency", gettext("Write the currency with three letters, such as USD."))
            elif field in ("amount", "tokens_per_month"):
                amount = self.cleaned_data["amount"]
                whole = self.cleaned_data["kind"].startswith("cost:") or amount == round(amount)
                sentence = gettext("This is no amount for it, or it is above what the workspace may use.")
                self.add_error("amount", sentence if whole else gettext("Write a whole number."))
            elif field == "metric":
                self.add_error("kind", gettext("There is no such limit for this."))
            else:
                self.add_error(None, said[0])


def _everybody(actor: Actor) -> list[tuple[str, list[tuple[str, uuid.UUID]]]]:
    """The names and ids of whom there are to limit, by level; none that is empty."""
    people = sorted((name, id_) for id_, name in member_names().items())
    keys = [(row.key.name, row.key.pk) for row in key_selectors.keys_for(actor)]
    found = {"user": people, "key": keys, "agent": [(one.name, one.pk) for one in agents()]}
    return [(level, found[level]) for level in BELOW if found[level]]


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def overview(request: HttpRequest) -> HttpResponse:
    """A POST sets a limit, or removes the one that it names in `remove`."""
    actor = actor_of(request)
    if request.method == "POST" and "remove" in request.POST:
        limit_remove(place=quotas.place_of(actor, _id(request.POST["remove"])), actor=actor.label)
        messages.success(request, gettext("The limit was removed."))
        return HttpResponseRedirect(PLACE)
    form = LimitForm(request.POST if request.method == "POST" else None, actor=actor)
    if request.method == "POST" and form.is_valid():
        try:
            limit_set(place=form.place(actor), amount=Decimal(form.cleaned_data["amount"]), actor=actor.label)
        except ValidationError as error:
            form.explain(error)
        else:
            messages.success(request, gettext("The limit holds from now on."))
            return HttpResponseRedirect(PLACE)
    lines = [shown(line) for line in quotas.lines(form.names)]
    context = {
        "page_name": "limits",
        "form": form,
        "whole": [one for one in lines if one.standing.level == "tenant"],
        "others": [one for one in lines if one.standing.level != "tenant"],
    }
    return render(request, "portal/limits.html", context)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.UUID(int=0)  # nobody's: not found, like any other
