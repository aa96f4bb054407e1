"""A browser's or program's name, from what it says of itself: enough to know one's own again in a list."""

from __future__ import annotations

# The first that is found counts: browsers name their ancestors too.
PROGRAMS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("MicroMessenger", "WeChat"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"),
    ("curl", "curl"), ("python", "Python"), ("aiohttp", "Python"),
)  # fmt: skip
SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("HarmonyOS", "HarmonyOS"), ("Android", "Android"), ("Windows", "Windows"),
    ("CrOS", "ChromeOS"), ("Macintosh", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def name_of(user_agent: str) -> str:
    """Such as `Firefox, Linux`; what is unknown by its own first word, "" when it says nothing."""
    program = next((name for mark, name in PROGRAMS if mark.lower() in user_agent.lower()), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return ", ".join(filter(None, (program, system))) or user_agent.partition(" ")[0].partition("/")[0][:40]
