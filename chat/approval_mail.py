"""Mail to the people who may decide on what a run waits for."""

from __future__ import annotations

import uuid

from django.db import transaction

from accounts import mail
from accounts.models import Membership, User
from accounts.policies import APPROVALS_DECIDE, CHAT_WRITE, actions_of_role
from chat.models import Approval, Run
from tenants import resolve, scope

PAGE = "/settings/approvals/"


def tell(run_id: uuid.UUID) -> int:
    """Write to whoever may decide on the calls with which the run waits, and wants such mail; to how many people.

    Only when it waits for the first time: nobody gets two letters about one run. Bound to the tenant.
    """
    asked = list(Approval.objects.filter(run_id=run_id).order_by("id"))
    if not asked or any(one.status != Approval.Status.PENDING for one in asked):
        return 0
    run = Run.objects.select_related("agent").get(id=run_id)
    pages = [(user, page) for user, role in _people() if (page := _page(run, asked, user, role))]
    tenant = scope.current_tenant()
    with transaction.atomic():
        for user, page in pages:
            mail.send(
                "approval_waits",
                to=user.email,
                language=user.language,
                name=mail.plain_name(tenant.name, tenant.slug),
                agent=mail.plain_name(run.agent.name, run.agent.slug),
                own=user.pk == run.user_id,
                tools=", ".join(sorted({one.name for one in asked})),
                until=asked[0].expires_at,
                url=resolve.tenant_url(tenant.slug) + page,
            )
    return len(pages)


def _people() -> list[tuple[User, str]]:
    """Who is a member, is active, and wants such mail, with their roles."""
    rows = Membership.objects.select_related("user").filter(tenant_id=scope.current_tenant().id)
    return [(one.user, one.role) for one in rows.filter(user__is_active=True, user__approval_mails=True)]


def _page(run: Run, asked: list[Approval], user: User, role: str) -> str:
    """Where this person decides; "" for who may not, or has no page for it."""
    actions = actions_of_role(role)
    if CHAT_WRITE not in actions:
        return ""
    if APPROVALS_DECIDE in actions:
        return f"{PAGE}{asked[0].id}/" if len(asked) == 1 else PAGE
    return f"/chat/{run.conversation_id}/" if user.pk == run.user_id and run.conversation_id else ""
