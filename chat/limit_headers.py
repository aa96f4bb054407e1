"""What is left, in the headers that OpenAI's clients read (`x-ratelimit-*`): requests of the minute, tokens.

Requests: of the tightest bucket that the request took from. Tokens: of the tightest limit on tokens, with the turn that
was just begun held on it. No question is asked for them: what was counted on the way in says it already.
"""

from __future__ import annotations

from typing import Any

from core import clock
from core.errors import PaasError
from tenants.ratelimit import Room
from usage.standings import Standing


def of_room(room: Room | None) -> dict[str, str]:
    """Requests; nothing where there is no limit, or it is not known."""
    return {} if room is None else _headers("requests", room.limit, room.left, room.full_after)


def of_tokens(standing: Standing | None) -> dict[str, str]:
    """Tokens; nothing where there is no limit on them."""
    if standing is None or standing.metric != "tokens" or standing.left is None or standing.resets_at is None:
        return {}
    seconds = (standing.resets_at - clock.now()).total_seconds()
    return _headers("tokens", int(standing.limit), int(standing.left), seconds)


def of_error(error: PaasError) -> dict[str, str]:
    """What a refusal says of the limit that refused."""
    limit: Any = error.details.get("limit")
    if error.code == "rate_limited" and isinstance(limit, int):
        return _headers("requests", limit, 0, error.retry_after or 0)
    if error.code == "quota_exceeded" and isinstance(limit, dict) and limit["metric"] == "tokens":
        return _headers("tokens", limit["limit"], limit["left"], error.retry_after or 0)
    return {}


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: `12ms`, `1s`, `6m0s`, `700h10m5s`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _headers(what: str, limit: int, left: int, seconds: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(left),
        f"x-ratelimit-reset-{what}": duration(seconds),
    }
