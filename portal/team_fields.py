"""The part of an agent's form that makes it a team (agents/teams.py)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from agents.content import Content
from agents.teams import MOST_ROUNDS, ROUNDS

MODES = [
    ("", _("No: it answers by itself")),
    ("supervisor", _("It asks members when it needs them, and answers itself")),
    ("sequential", _("Members work one after the other; the last one answers")),
    ("parallel", _("Members work at the same time; their results are put together")),
    ("iterative", _("Members go round and round until one says that it is done")),
]


class TeamFields(forms.Form):
    """Who works on an answer, and how: fields of a draft's form."""

    team_mode = forms.ChoiceField(label=_("Is it a team?"), choices=MODES, required=False)
    team_members = forms.CharField(
        label=_("Members"),
        required=False,
        max_length=50_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("Short names of published agents, one a line, and what each is for: researcher: finds facts"),
    )
    team_rounds = forms.IntegerField(
        label=_("Rounds at most"),
        required=False,
        min_value=1,
        max_value=MOST_ROUNDS,
        widget=forms.NumberInput(attrs={"placeholder": ROUNDS}),
        help_text=_("Of a team that goes round."),
    )
    team_combiner = forms.CharField(
        label=_("Who puts the results together"),
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
        help_text=_("An agent's short name, where members work at the same time. Empty: one result under the other."),
    )

    @property
    def team(self) -> list[Any]:
        """The fields, in their order."""
        return [self[name] for name in ("team_mode", "team_members", "team_rounds", "team_combiner")]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.get("team_mode") and not found.get("team_members", "").strip() and "team_members" not in self.errors:
            self.add_error("team_members", ValidationError(gettext("Name the members.")))
        return found

    def team_said(self) -> Content:
        """The team of the valid form, as agents.teams has it. What its mode has no use for is left out."""
        data = self.cleaned_data
        mode = data["team_mode"]
        if not mode:
            return {}
        members = []
        for line in data["team_members"].splitlines():
            name, _colon, role = line.partition(":")
            if name.strip():
                members.append({"agent": name.strip()} | ({"role": role.strip()} if role.strip() else {}))
        team: Content = {"mode": mode, "members": members}
        if mode == "iterative" and data["team_rounds"]:
            team["rounds"] = data["team_rounds"]
        if mode == "parallel" and data["team_combiner"].strip():
            team["combiner"] = data["team_combiner"].strip()
        return team


def team_initial(team: Content) -> dict[str, Any]:
    """The fields' values for a team; {} is none."""
    lines = [one["agent"] + (f": {one['role']}" if one.get("role") else "") for one in team.get("members", ())]
    return {
        "team_mode": team.get("mode", ""),
        "team_members": "\n".join(lines),
        "team_rounds": team.get("rounds"),
        "team_combiner": team.get("combiner", ""),
    }
