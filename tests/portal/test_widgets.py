"""Widgets whose templates are ours look as Django's."""

from __future__ import annotations

import pytest
from django import forms
from django.forms.renderers import DjangoTemplates, TemplatesSetting, get_default_renderer

CHOICES = [
    ("", "-"),
    ("a", '<b> & "c"'),
    ("a'\"", "same"),
    ("A group <1>", [("x", "X"), (7, "seven")]),
    ("empty", []),
]


class Marked(forms.Select):
    """With attributes of options."""

    def create_option(self, *args: object, **options: object) -> dict[str, object]:
        found = super().create_option(*args, **options)  # type: ignore[arg-type]
        found["attrs"] |= {"data-one": "<1>", "hidden": found["value"] == "x", "data-two": False}
        return found


@pytest.mark.parametrize("widget", [forms.Select, forms.SelectMultiple, forms.NullBooleanSelect, Marked])
@pytest.mark.parametrize("value", [None, "a", "7", ["x", "a"]])
def test_a_select_is_as_djangos(widget: type[forms.Select], value: object) -> None:
    assert isinstance(get_default_renderer(), TemplatesSetting)
    one = widget({"class": 'a"b', "required": True, "disabled": False})
    if widget is not forms.NullBooleanSelect:
        one.choices = CHOICES
    given = value if widget is forms.SelectMultiple or not isinstance(value, list) else "a"
    ours, theirs = (one.render("name", given, {"id": "i"}, renderer) for renderer in (None, DjangoTemplates()))
    assert [line for line in ours.splitlines() if line] == [line for line in theirs.splitlines() if line]
    assert "data-one" in ours or widget is not Marked
