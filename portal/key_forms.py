"""The form of an API key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import policies
from accounts.key_limits import MOST_ENTRIES, MOST_TOKENS, Rights, network_of
from accounts.models import ApiKey
from accounts.policies import actions_of_scopes
from core import clock

# Scopes in the words of people, by subject.
SCOPES: tuple[tuple[str | Promise, tuple[tuple[str, str | Promise], ...]], ...] = (
    (
        _("Chat"),
        (
            (policies.CHAT_READ, _("Read its conversations, and see agents")),
            (policies.CHAT_WRITE, _("Send messages, stop answers")),
        ),
    ),
    (
        _("Agents"),
        (
            (policies.AGENTS_EXECUTE, _("Let agents answer")),
            (policies.AGENTS_MANAGE, _("Make and change agents")),
        ),
    ),
    (
        _("Knowledge"),
        (
            (policies.KNOWLEDGE_READ, _("Search knowledge")),
            (policies.KNOWLEDGE_WRITE, _("Add and remove documents")),
        ),
    ),
    (_("Usage"), ((policies.USAGE_READ, _("See what was used")),)),
    (
        _("Administration"),
        (
            (policies.ADMIN_MEMBERS, _("Manage members and invitations")),
            (policies.ADMIN_KEYS, _("Make narrower keys below itself")),
            (policies.ADMIN_AUDIT, _("Read the audit log")),
            (policies.ADMIN_SETTINGS, _("Change settings and model providers")),
        ),
    ),
)
WORDS = {scope: words for _subject, scopes in SCOPES for scope, words in scopes}
# What a program needs that only chats.
USUAL = (policies.CHAT_READ, policies.CHAT_WRITE, policies.AGENTS_EXECUTE)
# Where a limit goes beyond the key above, or is wrong by itself: field of the form -> sentence.
REFUSED: dict[str, str | Promise] = {
    "scopes": _("The key above does not have all of these."),
    "agents": _("The key above may not use all of these."),
    "models": _("The key above may not use all of these."),
    "networks": _("The key above may not come from all of these."),
    "tokens_per_month": _("The key above has fewer tokens a month."),
    "expires_on": _("The key above expires before that."),
}


class KeyForm(forms.Form):
    """A key's name and limits. `above`: what the key above allows, None for a key without one."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("What uses it, such as: nightly report."))
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )
    agents = forms.MultipleChoiceField(
        label=_("Agents"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("None chosen: all of them, also later ones."),
    )
    models = forms.MultipleChoiceField(
        label=_("Models"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("None chosen: whatever its agents use."),
    )
    networks = forms.CharField(
        label=_("Addresses it may be used from"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "placeholder": "203.0.113.7\n2001:db8::/32"}),
        help_text=_("IPv4 or IPv6 addresses or networks, one a line. Empty: from anywhere."),
    )
    tokens_per_month = forms.IntegerField(
        label=_("Tokens a month"),
        required=False,
        min_value=1,
        max_value=MOST_TOKENS,
        help_text=_("For it and all keys below it. Empty: what the workspace has."),
    )
    expires_on = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("It ends with this day (UTC). Empty: never."),
    )

    def __init__(self, data: Any, *, key: ApiKey | None, above: Rights | None, agents: Iterable[Any]) -> None:
        initial: dict[str, Any] = _initial(key) if key else {"scopes": USUAL}
        super().__init__(data, initial=initial)
        self.key = key
        allowed = above.actions if above else policies.KEY_ACTIONS
        chosen = set(initial["scopes"])
        self._choose("scopes", [(name, words) for name, words in WORDS.items() if name in allowed or name in chosen])
        known = [(one.slug, one.name, one.current.model) for one in agents]
        self._offer(
            "agents", {slug: f"{name} ({slug})" for slug, name, _model in known}, above.agents if above else None
        )
        self._offer("models", {model: model for _slug, _name, model in known}, above.models if above else None)
        self.groups = _groups(self["scopes"])

    def _offer(self, field: str, known: dict[str, str], allowed: frozenset[str] | None) -> None:
        """What there is and the key above allows, and what the key names already, even where that is gone."""
        offered = {value: label for value, label in known.items() if allowed is None or value in allowed}
        offered |= {value: known.get(value, value) for value in self.initial.get(field, ())}
        self._choose(field, sorted(offered.items(), key=lambda one: one[1].lower()))

    def _choose(self, field: str, choices: list[tuple[str, Any]]) -> None:
        found = self.fields[field]
        assert isinstance(found, forms.MultipleChoiceField)
        found.choices = choices

    def clean_networks(self) -> list[str]:
        lines = [line for line in self.cleaned_data["networks"].replace(",", "\n").split() if line]
        for line in lines:
            try:
                network_of(line)
            except ValueError:
                raise ValidationError(
                    _("%(line)s is no address or network. Write 203.0.113.7 or 203.0.113.0/24."), params={"line": line}
                ) from None
        if len(lines) > MOST_ENTRIES:
            raise ValidationError(_("At most %(most)s lines."), params={"most": MOST_ENTRIES})
        return lines

    def clean_expires_on(self) -> date | None:
        day: date | None = self.cleaned_data["expires_on"]
        if day is not None and day < clock.now().date() and day != self.initial.get("expires_on"):
            raise ValidationError(_("This day is over."))
        if day is not None and day.year > 9990:
            raise ValidationError(_("Leave it empty for a key that never ends."))
        return day

    def limits(self) -> dict[str, Any]:
        """What the valid form says, in the words of `accounts.keys`."""
        found = {name: self.cleaned_data[name] for name in ("agents", "models", "networks", "tokens_per_month")}
        return {**found, "name": self.cleaned_data["name"], "scopes": self._scopes(), "expires_at": self._expires_at()}

    def _scopes(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["scopes"]
        if self.key is not None and set(chosen) == actions_of_scopes(self.key.scopes):
            return list(self.key.scopes)  # `*` stays what it is, also for scopes to come
        return chosen

    def _expires_at(self) -> datetime | None:
        day = self.cleaned_data["expires_on"]
        if self.key is not None and day == self.initial["expires_on"]:
            return self.key.expires_at
        return datetime.combine(day + timedelta(days=1), time.min, UTC) if day else None


def _initial(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": sorted(actions_of_scopes(key.scopes)),
        "agents": key.allowed_agents,
        "models": key.allowed_models,
        "networks": "\n".join(key.allowed_networks),
        "tokens_per_month": key.tokens_per_month,
        "expires_on": last_day(key.expires_at),
    }


def last_day(expires_at: datetime | None) -> date | None:
    """The last day (UTC) on which a key works for at least a moment."""
    return (expires_at - timedelta(microseconds=1)).astimezone(UTC).date() if expires_at else None


def _groups(field: Any) -> list[tuple[str | Promise, list[Any]]]:
    """The checkboxes of scopes under their subjects."""
    boxes = {str(box.data["value"]): box for box in field}
    found = [(subject, [boxes[name] for name, _words in scopes if name in boxes]) for subject, scopes in SCOPES]
    return [(subject, inside) for subject, inside in found if inside]
