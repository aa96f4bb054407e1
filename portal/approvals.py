"""Calls of tools that wait for a person, of the whole workspace: the list, and the decision on one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.actors import Actor
from accounts.audit_selectors import names_of
from accounts.policies import APPROVALS_DECIDE
from chat import approvals
from chat.models import Approval
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page

PLACE = "/settings/approvals/"
MOST_SHOWN = 100
MOST_DECIDED = 20

EFFECTS: dict[str, str | Promise] = {
    "read": _("It would read something."),
    "write": _("It would change something."),
    "egress": _("It would send something to another host."),
}
REASONS: dict[str, str | Promise] = {
    "tainted": _("The agent has read something from outside, which could have told it to."),
    "policy": _("This workspace wants every call of this tool to be seen."),
    "changed": _("This call was approved, but the tool was changed since. Look at the tool and at the call again."),
}
STATES: dict[str, str | Promise] = {
    Approval.Status.PENDING: _("Waits"),
    Approval.Status.APPROVED: _("Approved"),
    Approval.Status.DENIED: _("Denied"),
    Approval.Status.EXPIRED: _("Nobody decided in time"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A call as the pages show it. asked_by, decided_by: an address or a key's name; "" of who is gone."""

    approval: Approval
    asked_by: str
    decided_by: str
    effect: str | Promise
    reason: str | Promise
    state: str | Promise


@require_GET
@page(APPROVALS_DECIDE)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/approvals/`: what waits, and what was decided last"""
    found = approvals.approvals_for(actor_of(request))
    pending = found.filter(status=Approval.Status.PENDING)
    waiting = _lines(list(pending[:MOST_SHOWN]))
    decided = _lines(list(found.exclude(status=Approval.Status.PENDING)[:MOST_DECIDED]))
    context = {"page_name": "approvals", "waiting": waiting, "decided": decided}
    return render(request, "portal/approvals.html", context)


@require_http_methods(["GET", "POST"])
@page(APPROVALS_DECIDE)
def one(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """`/settings/approvals/<id>/`: exactly what would be done, and the decision"""
    actor = actor_of(request)
    found = approvals.approval_for(actor, approval_id)
    if request.method == "POST":
        return _decide(request, actor, found)
    context = {
        "page_name": "approvals",
        "line": _lines([found])[0],
        "arguments": approvals.shown_arguments(found.arguments),
        "may_decide": found.status == Approval.Status.PENDING and approvals.may_decide(actor, found),
        "most_note": approvals.MOST_NOTE,
    }
    return render(request, "portal/approval.html", context)


def _decide(request: HttpRequest, actor: Actor, found: Approval) -> HttpResponse:
    body = {name: request.POST.get(name, "") for name in ("decision", "arguments_hash")}
    # As the field counts it: a browser sends the ends of lines as two characters.
    body["note"] = request.POST.get("note", "").replace("\r\n", "\n")
    try:
        view = async_to_sync(approvals.answer)(actor, found.id, body)
    except PaasError as error:
        messages.error(request, sentence(error))
        return HttpResponseRedirect(f"{PLACE}{found.id}/")
    approved = view["status"] == Approval.Status.APPROVED
    said = gettext("The call of %(name)s was approved.") if approved else gettext("The call of %(name)s was denied.")
    messages.success(request, said % {"name": found.name})
    return HttpResponseRedirect(PLACE)


def waiting_count(actor: Actor) -> int:
    """How many calls wait for this person, who may decide on all of them."""
    return approvals.approvals_for(actor).filter(status=Approval.Status.PENDING).count()


def _lines(found: Sequence[Approval]) -> list[Line]:
    names = names_of(_asker(one) for one in found) | names_of(str(one.decided_by) for one in found if one.decided_by)
    return [_line(one, names) for one in found]


def _asker(found: Approval) -> str:
    return f"user:{found.user_id}" if found.user_id else f"key:{found.key_id}"


def _line(found: Approval, names: dict[str, Any]) -> Line:
    return Line(
        approval=found,
        asked_by=names.get(_asker(found), ""),
        decided_by=names.get(str(found.decided_by), ""),
        # A release beside this one may have words that this one does not know.
        effect=EFFECTS.get(found.effect, found.effect),
        reason=REASONS.get(found.reason, found.reason),
        state=STATES.get(found.status, found.status),
    )
