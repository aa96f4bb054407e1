"""The page of a tenant's people: members and their roles, invitations, leaving, handing the tenant over."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations, member_selectors, members
from accounts.actors import Actor
from accounts.member_selectors import Member
from accounts.models import Invitation, Role
from accounts.policies import ADMIN_MEMBERS, ADMIN_OWNER
from core import clock
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page

HERE = "/settings/members/"
PAGE = 100
MOST_AT_ONCE = 50
ROLES: tuple[tuple[str, Any], ...] = (
    (Role.OWNER, _("Owner")),
    (Role.ADMIN, _("Admin")),
    (Role.MEMBER, _("Member")),
    (Role.VIEWER, _("Viewer")),
)
# Refusals that the page itself says; others are pages of their own.
SAID_HERE = frozenset(
    {"last_owner", "plan_limit_reached", "rate_limited", "redis_unavailable", "validation_failed", "permission_denied"}
)


class InviteForm(forms.Form):
    """Whom to invite: one address or many, and as what."""

    emails = forms.CharField(
        label=_("E-mail addresses"),
        help_text=_("Several at once: separate them by commas or new lines."),
        max_length=MOST_AT_ONCE * 260,
        widget=forms.Textarea(
            attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        ),
    )
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles(actor)  # type: ignore[attr-defined]

    def clean_emails(self) -> list[str]:
        found = list(
            dict.fromkeys(word.lower() for word in re.split(r"[\s,;，；、]+", self.cleaned_data["emails"]) if word)
        )
        if not found:
            raise ValidationError(_("Enter an e-mail address."))
        if len(found) > MOST_AT_ONCE:
            raise ValidationError(_("At most %(most)s addresses at once."), params={"most": MOST_AT_ONCE})
        return found


@dataclass(frozen=True, slots=True)
class Line:
    """A member as the page shows them. manageable: the reader may change the role and remove."""

    member: Member
    role_name: Any
    oneself: bool
    manageable: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open invitation as the page shows it."""

    invitation: Invitation
    role_name: Any
    expired: bool
    manageable: bool


def _roles(actor: Actor) -> list[tuple[str, Any]]:
    return [(str(role), name) for role, name in ROLES if members.may_grant(actor, role)]


@require_http_methods(["GET", "POST"])
@page(ADMIN_MEMBERS)
def people(request: HttpRequest) -> HttpResponse:
    """`/settings/members/`: everybody, and the form to invite."""
    actor = actor_of(request)
    if request.method == "GET":
        return _shown(request)
    form = InviteForm(actor, request.POST)
    if not form.is_valid():
        return _shown(request, form=form, status=400)
    asked, role = form.cleaned_data["emails"], form.cleaned_data["role"]
    failed = {email: said for email in asked if (said := _invite(actor, email, role))}
    sent = [email for email in asked if email not in failed]
    if sent:
        messages.success(request, gettext("Invited: %(to)s") % {"to": ", ".join(sent)})
    if not failed:
        return HttpResponseRedirect(HERE)
    # Those that failed stay in the form, each with its reason.
    again = InviteForm(actor, {"emails": "\n".join(failed), "role": role})
    again.full_clean()
    for email, why in failed.items():
        again.add_error("emails", f"{email}: {why}")
    return _shown(request, form=again, status=400)


def _invite(actor: Actor, email: str, role: str) -> str:
    """Invite one; why not, or ""."""
    try:
        invitations.invitation_create(actor=actor, email=email, role=role)
    except ValidationError as error:
        return " ".join(error.messages)
    except PaasError as error:
        if error.code not in SAID_HERE:
            raise
        return sentence(error)
    return ""


@require_POST
@page(ADMIN_MEMBERS)
def role_change(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    """`/settings/members/<id>/role/`"""
    return _done(
        request,
        lambda: members.member_role_change(
            actor=actor_of(request), user_id=user_id, role=str(request.POST.get("role", ""))
        ),
        gettext("The role was changed."),
    )


@require_POST
@page(ADMIN_MEMBERS)
def remove(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    """`/settings/members/<id>/remove/`"""
    keep_keys = request.POST.get("keep_keys") == "on"
    return _done(
        request,
        lambda: members.member_remove(actor=actor_of(request), user_id=user_id, keep_keys=keep_keys),
        gettext("The person was removed and has no access any more."),
    )


@require_POST
@page(ADMIN_MEMBERS)
def resend(request: HttpRequest, invitation_id: uuid.UUID) -> HttpResponse:
    """`/settings/invitations/<id>/resend/`"""
    return _done(
        request,
        lambda: invitations.invitation_resend(actor=actor_of(request), invitation_id=invitation_id),
        gettext("The invitation was sent again, with a new link. The former link does not work any more."),
    )


@require_POST
@page(ADMIN_MEMBERS)
def revoke(request: HttpRequest, invitation_id: uuid.UUID) -> HttpResponse:
    """`/settings/invitations/<id>/revoke/`"""
    return _done(
        request,
        lambda: invitations.invitation_revoke(actor=actor_of(request), invitation_id=invitation_id),
        gettext("The invitation was taken back. Its link does not work any more."),
    )


@require_POST
@page(ADMIN_OWNER)
def transfer(request: HttpRequest) -> HttpResponse:
    """`/settings/members/transfer/`"""
    try:
        user_id = uuid.UUID(str(request.POST.get("user_id", "")))
    except ValueError:
        return _shown(request, problem=gettext("Choose a member."), status=400)
    step_down = request.POST.get("step_down") == "on"
    return _done(
        request,
        lambda: members.owner_transfer(actor=actor_of(request), user_id=user_id, step_down=step_down),
        gettext("The workspace has a new owner."),
    )


@require_http_methods(["GET", "POST"])
@page()
def leave(request: HttpRequest) -> HttpResponse:
    """`/settings/members/leave/`: every member's own way out."""
    shown: dict[str, Any] = {"page_name": "members"}
    if request.method == "POST":
        try:
            members.member_leave(actor=actor_of(request))
        except PaasError as error:
            if error.code != "last_owner":
                raise
            return render(request, "portal/leave.html", shown | {"problem": sentence(error)}, status=error.status)
        logout(request)
        return render(request, "portal/left.html")
    return render(request, "portal/leave.html", shown)


def _done(request: HttpRequest, act: Any, said: str) -> HttpResponse:
    """Do it and go back to the page; what cannot be done is said there."""
    try:
        act()
    except PaasError as error:
        if error.code not in SAID_HERE:
            raise
        return _shown(request, problem=sentence(error), status=error.status)
    messages.success(request, said)
    return HttpResponseRedirect(HERE)


def _shown(
    request: HttpRequest, *, form: InviteForm | None = None, problem: str = "", status: int = 200
) -> HttpResponse:
    actor = actor_of(request)
    text = request.GET.get("text", "").replace("\0", "")[:200]
    found, following = member_selectors.member_page(text=text, after=_id(request.GET.get("after", "")), limit=PAGE)
    waiting = member_selectors.waiting_invitations()
    places = member_selectors.places()
    owner = ADMIN_OWNER in actor.actions
    context = {
        "page_name": "members",
        "form": form or InviteForm(actor, initial={"role": Role.MEMBER}),
        "problem": problem,
        "lines": [_line(actor, member) for member in found],
        "waiting": [_waiting(actor, one) for one in waiting],
        "roles": _roles(actor),
        "places": places,
        "full": places.allowed is not None and places.used >= places.allowed,
        "text": text,
        "following": following,
        "searchable": bool(text) or places.members > PAGE // 10,
        "heirs": [one for one in found if one.user_id != actor.user_id and one.active] if owner else [],
    }
    return render(request, "portal/members.html", context, status=status)


def _line(actor: Actor, member: Member) -> Line:
    oneself = member.user_id == actor.user_id
    return Line(member, dict(ROLES)[member.role], oneself, not oneself and members.may_grant(actor, member.role))


def _waiting(actor: Actor, invitation: Invitation) -> Waiting:
    expired = invitation.expires_at <= clock.now()
    return Waiting(invitation, dict(ROLES)[invitation.role], expired, members.may_grant(actor, invitation.role))


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
