"""`/settings/`: what was used and how it went, what is left, and the first steps of a new workspace."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts import tenant_life
from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS, USAGE_READ
from agents.quotas import Line
from chat.run_selectors import RunHealth, run_health
from core import spreadsheets
from portal import limit_words
from portal.access import actor_of, page
from portal.billing import shown as amount_shown
from portal.charts import Chart, chart
from portal.guide import guide_of
from tenants.selectors import own_tenant
from usage import money
from usage.names import names_of
from usage.standings import standings_of
from usage.summaries import Summary, Used, summary_of

PLACE = "/settings/"
PERIODS = (7, 30, 90)
TOP = 10
COLUMNS = (
    "by",
    "key",
    "name",
    "runs",
    "calls",
    "input_tokens",
    "output_tokens",
    "unpriced_calls",
    "currency",
    "amount",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table. query: of the page that shows only this, "" where it cannot; share: of most tokens, in
    percent."""

    label: str
    sub: str
    query: str
    runs: str
    tokens: str
    cost: str
    share: int


@require_GET
@page()
def overview(request: HttpRequest) -> HttpResponse:
    """`/settings/?days=30`, of an `agent`, a `model` or a person or key (`who`) only; `?format=csv` as a file.

    Who may not read the workspace's usage sees their own.
    """
    actor = actor_of(request)
    days = _period(request.GET.get("days", ""))
    only, asked = _asked(request, actor)
    summary = summary_of(actor.tenant.id, days, **only)
    names = names_of({one.key for one in summary.by["who"]})
    if request.GET.get("format") == "csv":
        return _file(actor, summary, names)
    whole = USAGE_READ in actor.actions
    since = datetime.combine(summary.days[0], time.min, UTC)
    context = {
        "page_name": "dashboard",
        "whole": whole,
        "days": days,
        "periods": [(one, urlencode(asked | {"days": one})) for one in PERIODS],
        "query": urlencode(asked | {"days": days}),
        "only": [(_said_of(name, value, names), _without(asked, name, days)) for name, value in asked.items()],
        "used": summary.total.calls > 0,
        "figures": _figures(summary, run_health(since, None if whole else actor.user_id)),
        "narrowed": bool(asked),
        "charts": _charts(summary),
        "tables": _tables(summary, names, asked, days, whole=whole),
        "limits": _left(actor, whole=whole),
        "guide": guide_of(actor, wanted="guide" in request.GET),
    }
    return render(request, "portal/dashboard.html", context)


@require_POST
@page(ADMIN_SETTINGS)
def guide(request: HttpRequest) -> HttpResponse:
    """`/settings/guide/`: put the first steps away (`hidden=1`), or bring them back."""
    hidden = request.POST.get("hidden") == "1"
    tenant_life.tenant_update(tenant=own_tenant(), actor=actor_of(request).label, guide_hidden=hidden)
    if hidden:
        messages.success(request, _("The first steps are put away. A link at the end of this page brings them back."))
    return HttpResponseRedirect(PLACE if hidden else f"{PLACE}?guide=1")


def _period(text: str) -> int:
    return int(text) if text in {str(one) for one in PERIODS} else 30


def _asked(request: HttpRequest, actor: Actor) -> tuple[dict[str, str], dict[str, str]]:
    """What is to be summed up: for the summary, and as the address says it."""
    asked = {name: request.GET[name][:200] for name in ("agent", "model", "who") if request.GET.get(name)}
    kind, _colon, id_ = asked.get("who", "").partition(":")
    if kind not in ("user", "key") or not _is_id(id_):
        asked.pop("who", None)
    only = {name: value for name, value in asked.items() if name != "who"}
    if "who" in asked:
        only[kind] = id_
    if USAGE_READ not in actor.actions:
        asked.pop("who", None)
        only = {name: value for name, value in only.items() if name != "key"} | {"user": str(actor.user_id)}
    return only, asked


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _without(asked: dict[str, str], name: str, days: int) -> str:
    return urlencode({one: value for one, value in asked.items() if one != name} | {"days": days})


def _said_of(name: str, value: str, names: dict[str, str]) -> str:
    label = {"agent": _("Agent"), "model": _("Model"), "who": _("Who")}[name]
    return f"{label}: {names.get(value, value)}"


# --- in words ------------------------------------------------------------------------------------------


def _figures(summary: Summary, health: RunHealth) -> list[tuple[str, str, str]]:
    """(what, how much, what it means)"""
    total = summary.total
    costs = [amount_shown(amount, currency) for currency, amount in sorted(total.amounts.items())]
    found = [
        (_("Answers"), f"{total.runs:,}", ""),
        (_("Tokens"), f"{total.tokens:,}", _("%(read)s read, %(written)s written")
            % {"read": f"{total.input:,}", "written": f"{total.output:,}"}),
        (_("Cost"), " + ".join(costs) or "—", _("Calls without a known price: %(count)s") % {"count": total.unpriced}
            if total.unpriced else ""),
    ]  # fmt: skip
    if health.success is not None:
        said = _("%(failed)s of %(ended)s failed") % {"failed": health.failed, "ended": health.ended - health.stopped}
        found.append((_("Answered well"), f"{health.success:.1f} %", said))
    if health.first_p50 is not None:
        slow = _("95 of 100 within %(seconds)s s") % {"seconds": f"{health.first_p95:.2f}"}
        found.append((_("First word after"), f"{health.first_p50:.2f} s", slow))
    return found


def _charts(summary: Summary) -> list[Chart]:
    by_day = {one.key: one for one in summary.by["day"]}
    rows = [(day, by_day.get(day.isoformat(), Used(""))) for day in summary.days]

    def count(value: Decimal | int) -> str:
        return f"{int(value):,}"

    found = [
        chart("answers", _("Answers"), [(day, one.runs) for day, one in rows], count),
        chart("tokens", _("Tokens"), [(day, one.tokens) for day, one in rows], count),
    ]
    for currency in summary.currencies:
        values: list[tuple[date, Decimal | int]] = [(day, one.amounts.get(currency, Decimal(0))) for day, one in rows]
        found.append(chart(f"cost-{currency}", _("Cost"), values, partial(_cost, currency)))
    return found


def _cost(currency: str, value: Decimal | int) -> str:
    return amount_shown(Decimal(value), currency)


def _tables(
    summary: Summary, names: dict[str, str], asked: dict[str, str], days: int, *, whole: bool
) -> list[dict[str, Any]]:
    kinds = [("agent", _("By agent"), _("Agent")), ("model", _("By model"), _("Model"))]
    if whole:
        kinds.append(("who", _("By member and API key"), _("Who")))
    return [
        {
            "name": name,
            "title": title,
            "first": first,
            "rows": [_row(name, one, names, asked, days, summary.by[name][0].tokens) for one in summary.by[name][:TOP]],
            "more": max(0, len(summary.by[name]) - TOP),
        }
        for name, title, first in kinds
    ]


def _row(by: str, one: Used, names: dict[str, str], asked: dict[str, str], days: int, most: int) -> Row:
    label, sub = _labels(by, one, names)
    costs = [amount_shown(amount, currency) for currency, amount in sorted(one.amounts.items())]
    return Row(
        label=label,
        sub=sub,
        query=urlencode(asked | {by: one.key, "days": days}) if one.key and by not in asked else "",
        runs=f"{one.runs:,}",
        tokens=f"{one.tokens:,}",
        cost=" + ".join(costs) or "—",
        share=round(100 * one.tokens / most) if most > 0 else 0,
    )


def _labels(by: str, one: Used, names: dict[str, str]) -> tuple[str, str]:
    if by == "agent":
        return one.key or (one.id[:8] if one.id else _("Corrections")), ""
    if by == "model":
        provider, _slash, model = one.key.partition("/")
        return (model, provider) if model else (_("Corrections"), "")
    kind, _colon, id_ = one.key.partition(":")
    if not one.key:
        return _("Corrections"), ""
    if kind == "key":
        return names.get(one.key, id_[:8]), _("API key")
    return names.get(one.key) or _("Former member"), "" if one.key in names else id_[:8]


def _left(actor: Actor, *, whole: bool) -> list[limit_words.Shown]:
    """The limits that are counted: the workspace's, or the person's own."""
    subject = actor.tenant.id if whole else actor.user_id
    assert subject is not None
    return [limit_words.shown(Line(one)) for one in standings_of(actor.tenant.id, {subject})]


def _file(actor: Actor, summary: Summary, names: dict[str, str]) -> HttpResponse:
    def rows() -> Any:
        for by, found in summary.by.items():
            for one in found:
                counts = (one.runs, one.calls, one.input, one.output, one.unpriced)
                amounts: list[tuple[str, Any]] = sorted(one.amounts.items())
                for currency, amount in amounts or [("", "")]:
                    cost = amount and Decimal(money.text(amount))
                    yield [by, one.key, names.get(one.key, ""), *counts, currency, cost]

    name = f"usage-{actor.tenant.slug}-{summary.days[0].isoformat()}-{summary.days[-1].isoformat()}.csv"
    content = spreadsheets.heading(COLUMNS) + spreadsheets.lines(rows())
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(
        content, headers={"Content-Type": spreadsheets.CONTENT_TYPE, "Content-Disposition": disposition}
    )
