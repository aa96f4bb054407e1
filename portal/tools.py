"""All tools of a workspace in one list, and what it says about each: on or off, how often, with which key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.policies import ADMIN_SETTINGS
from agents.mentions import agents_with_tool
from agents.models import ToolSetting
from agents.tools.settings import NEEDS_KEY, ToolLine, Use, tool_configure, tool_line, tool_lines, uses_of_month
from core.errors import PaasError
from portal.access import actor_of, page
from portal.tool_words import EFFECTS, SOURCES, what_it_does

PLACE = "/settings/tools/"


@dataclass(frozen=True, slots=True)
class Line:
    """A tool as the list shows it."""

    tool: ToolLine
    what: str
    source: Any
    effect: Any
    use: Use | None

    @property
    def address(self) -> str:
        """Where it is set."""
        return address(self.tool.spec.name)


class SettingForm(forms.Form):
    """What the workspace says about a tool. The stored key is never shown; an empty field keeps it."""

    enabled = forms.BooleanField(label=_("Agents may call it"), required=False)
    calls_per_day = forms.IntegerField(
        label=_("Calls a day"), min_value=0, max_value=10**9, required=False, help_text=_("Empty: no limit. 0: none.")
    )
    calls_per_month = forms.IntegerField(
        label=_("Calls a month"), min_value=0, max_value=10**9, required=False, help_text=_("Empty: no limit. 0: none.")
    )
    approval = forms.ChoiceField(
        label=_("A person approves each call"),
        choices=[
            (ToolSetting.Approval.TAINTED, _("When something from outside was read before it (recommended)")),
            (ToolSetting.Approval.ALWAYS, _("Always")),
            (ToolSetting.Approval.NEVER, _("Never")),
        ],
        help_text=_(
            "Of calls that change something or ask other hosts. Pages, files and tools may hold others' orders."
        ),
    )
    api_key = forms.CharField(
        label=_("Key of the search service"),
        max_length=500,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Of Tavily (tavily.com). It is stored encrypted and never shown again."),
    )
    forget_key = forms.BooleanField(label=_("Delete the stored key"), required=False)

    def __init__(self, data: Any, *, line: ToolLine) -> None:
        names = ("enabled", "calls_per_day", "calls_per_month", "approval")
        super().__init__(data, initial={name: getattr(line.setting, name) for name in names})
        if line.spec.name not in NEEDS_KEY:
            del self.fields["api_key"]
        if not line.setting.api_key:
            del self.fields["forget_key"]

    def values(self) -> dict[str, Any]:
        """What the valid form says, in the words of `tool_configure`."""
        data = dict(self.cleaned_data)
        key, forget = data.pop("api_key", ""), data.pop("forget_key", False)
        if key or forget:
            data["api_key"] = key
        return data


@require_GET
@page(ADMIN_SETTINGS)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/tools/`"""
    uses = {one.name: one for one in uses_of_month()}
    lines = [
        Line(one, what_it_does(one), SOURCES[one.source], EFFECTS[one.spec.effect], uses.get(one.spec.name))
        for one in tool_lines()
    ]
    return render(request, "portal/tools.html", {"page_name": "tools", "lines": lines})


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def settings(request: HttpRequest, name: str) -> HttpResponse:
    """`/settings/tools/named/<name>/`"""
    line = tool_line(name)
    if line is None:
        raise PaasError("not_found")
    form = SettingForm(request.POST or None, line=line)
    if request.method == "POST" and form.is_valid():
        try:
            tool_configure(actor=actor_of(request).label, name=name, fields=form.values())
        except ValidationError as error:
            for field, sentences in error.message_dict.items():
                form.add_error(field if field in form.fields else None, sentences)
        else:
            messages.success(request, gettext("%(name)s was saved. It holds within two seconds.") % {"name": name})
            return HttpResponseRedirect(PLACE)
    context = {
        "page_name": "tools",
        "form": form,
        "line": Line(
            line,
            what_it_does(line),
            SOURCES[line.source],
            EFFECTS[line.spec.effect],
            next((one for one in uses_of_month() if one.name == name), None),
        ),
        "mentions": agents_with_tool(name),
    }
    return render(request, "portal/tool_settings.html", context, status=400 if form.errors else 200)


def address(name: str) -> str:
    """The address of a tool's settings."""
    return f"{PLACE}named/{quote(name)}/"
