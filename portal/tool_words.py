"""Tools in the words of people."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agents.tools.settings import ToolLine

# What the platform's own tools do, for people; models are told in English.
PLATFORM: dict[str, str | Promise] = {
    "calculator": _("Calculates arithmetic expressions."),
    "clock": _("Tells date, weekday and time in any time zone."),
    "read_file": _("Reads the files of the conversation."),
    "search_knowledge": _("Searches the documents of this workspace, and says where it read."),
    "web_page": _("Reads the text of a public web page."),
    "web_search": _("Searches the web with Tavily, under your own key."),
}
SOURCES: dict[str, str | Promise] = {
    "platform": _("Platform"),
    "http": _("Own HTTP tool"),
    "mcp": _("MCP server"),
}
EFFECTS: dict[str, str | Promise] = {
    "read": _("Reads what is here"),
    "egress": _("Asks a host outside"),
    "write": _("Changes something"),
}


def what_it_does(line: ToolLine) -> str:
    """The description of a tool, in the person's language where it is one of ours."""
    if line.source == "platform":
        return str(PLATFORM.get(line.spec.name, line.spec.description))
    return line.spec.description
