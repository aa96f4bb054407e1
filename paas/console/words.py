"""The console in the person's language: names of tables, columns and acts, which Django takes from code, and the words
of its theme, which brings no Chinese. `manage.py messages` holds that each has a Chinese entry."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Field, Model
from django.forms import BaseForm, ChoiceField
from django.forms.utils import pretty_name
from django.utils.translation import gettext_lazy as _

STATES = {
    "creating": _("creating"),
    "active": _("active"),
    "suspended": _("suspended"),
    "deleting": _("deleting"),
    "deleted": _("deleted"),
}
# What unfold's templates say and its package has no translation of.
THEME = (
    _("Type to search"), _("Filters"), _("Search apps and models..."), _("Reset filters"), _("No results found"),
    _("This page yielded into no results. Create a new item or reset your filters."), _("Light"), _("Dark"),
    _("System"), _("Apply Filters"), _("Run the selected action"), _("Select action to run"), _("Record picture"),
    _("Return to site"), _("Show all"), _("No data"), _("Expand row"), _("Are you sure?"), _("Select all rows"),
)  # fmt: skip

MODULES = re.compile(r"^(?:accounts|usage|llm|tenants)\.admin\w*$|^paas\.console\.\w+$")

_spoken: dict[str, None] = {}  # as a set that keeps its order


def state(status: str) -> str:
    """A tenant's status for people."""
    return str(STATES.get(status, status))


def speak() -> None:
    """From now on every table of the console, its fields, choices, columns and acts are named in the present language.

    Called once, when all rooms have registered theirs. Migrations know nothing of it: they compare what code says.
    """
    for model, one in admin.site._registry.items():
        for table in (model, *(inline.model for inline in one.inlines)):
            _table(table)
        _columns(one)
        for inline in one.inlines:
            _columns(inline)
    for name in sorted(sys.modules):
        if MODULES.match(name):
            _forms(sys.modules[name])


def names() -> Iterator[str]:
    """Every English name that `speak` gave to the catalogue."""
    yield from _spoken


def _said(text: Any) -> Any:
    """The text as a sentence of the catalogue; what is empty, or one already, stays as it is."""
    if not isinstance(text, str) or not text or text.startswith("<"):
        return text
    _spoken[text] = None
    return _(text)


def _table(model: type[Model]) -> None:
    options: Any = model._meta
    if not isinstance(options.verbose_name, str):
        return  # done before: proxies share their fields
    options.verbose_name = _said(options.verbose_name)
    options.verbose_name_plural = _said(str(options.verbose_name_plural))
    config: Any = apps.get_app_config(options.app_label)
    config.verbose_name = _said(config.verbose_name)
    for field in options.get_fields():
        if isinstance(field, Field):
            _field(field)


def _field(field: Any) -> None:
    field.verbose_name = _said(field.verbose_name)
    field.help_text = _said(field.help_text)
    if field.choices:
        field.choices = [(value, _said(label)) for value, label in field.choices]


def _columns(one: Any) -> None:
    """What columns and acts of an admin class are called."""
    kind = one if isinstance(one, type) else type(one)
    for name in dir(kind):
        function: Any = getattr(kind, name, None)
        function = getattr(function, "__func__", function)
        if callable(function) and isinstance(getattr(function, "short_description", None), str):
            function.short_description = _said(function.short_description)
    if isinstance(getattr(kind, "verbose_name_plural", None), str):
        kind.verbose_name_plural = _said(kind.verbose_name_plural)  # type: ignore[attr-defined]
    if kind.__dict__.get("fieldsets"):
        kind.fieldsets = tuple(  # type: ignore[attr-defined]
            (_said(title), {name: _said(value) if name == "description" else value for name, value in shown.items()})
            for title, shown in kind.fieldsets  # type: ignore[attr-defined]
        )


def _forms(module: Any) -> None:
    """What the fields of a module's forms are called."""
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, BaseForm) and kind.__module__ == module.__name__:
            for name, field in getattr(kind, "declared_fields", {}).items():
                field.label = _said(field.label or pretty_name(name))
                field.help_text = _said(field.help_text)
                if isinstance(field, ChoiceField) and isinstance(field.choices, list):
                    field.choices = [(value, _said(label)) for value, label in field.choices]
