"""What the side bar of a tenant's pages offers: the pages that the person may open, in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from accounts import policies
from accounts.actors import Actor
from accounts.selectors import actor_of_member
from portal.approvals import waiting_count
from portal.limit_words import banner
from tenants import resolve


@dataclass(frozen=True, slots=True)
class Item:
    """One entry; `action`: who may do this sees it, None: everybody."""

    name: str
    label: Any
    address: str
    action: str | None = None
    waits: int = 0  # how much there is for the person to do


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under a heading."""

    name: str
    label: Any
    items: tuple[Item, ...]


GROUPS = (
    Group("use", _("Use"), (
        Item("dashboard", _("Dashboard"), "/settings/"),
        Item("conversations", _("Conversations"), "/settings/conversations/", policies.CHAT_READ),
        Item("approvals", _("Approvals"), "/settings/approvals/", policies.APPROVALS_DECIDE),
        Item("schedules", _("Schedules"), "/settings/schedules/", policies.AGENTS_EXECUTE),
    )),
    Group("build", _("Build"), (
        Item("agents", _("Agents"), "/settings/agents/", policies.AGENTS_MANAGE),
        Item("knowledge", _("Knowledge"), "/settings/knowledge/", policies.KNOWLEDGE_WRITE),
        Item("tools", _("Tools"), "/settings/tools/", policies.ADMIN_SETTINGS),
        Item("mcp", _("MCP servers"), "/settings/mcp/", policies.ADMIN_SETTINGS),
        Item("providers", _("Model providers"), "/settings/providers/", policies.ADMIN_SETTINGS),
    )),
    Group("people", _("People"), (
        Item("members", _("Members"), "/settings/members/", policies.ADMIN_MEMBERS),
        Item("sign-in", _("Sign-in"), "/settings/sign-in/", policies.ADMIN_SETTINGS),
    )),
    Group("money", _("Money and limits"), (
        Item("billing", _("Usage and bills"), "/settings/billing/", policies.USAGE_READ),
        Item("limits", _("Limits"), "/settings/limits/", policies.ADMIN_SETTINGS),
    )),
    Group("workspace", _("Workspace"), (
        Item("keys", _("API keys"), "/settings/keys/", policies.ADMIN_KEYS),
        Item("audit", _("Audit log"), "/settings/audit/", policies.ADMIN_AUDIT),
        Item("workspace", _("Settings and branding"), "/settings/workspace/", policies.ADMIN_SETTINGS),
    )),
    Group("you", _("You"), (
        Item("profile", _("Profile"), "/profile/"),
        Item("security", _("Security"), "/profile/security/"),
        Item("identities", _("Ways to sign in"), "/profile/identities/"),
        Item("memory", _("Memory"), "/settings/memory/", policies.CHAT_READ),
    )),
)  # fmt: skip


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `navigation`, the groups with the entries for the person, `pressing`, the limit that comes to
    its end (portal/limit_words.py), and `platform_url`."""
    return {
        "navigation": SimpleLazyObject(lambda: _groups(request)),
        "pressing": SimpleLazyObject(lambda: banner(getattr(request, "actor", None))),
        "platform_url": resolve.platform_url(),
    }


def _groups(request: Any) -> list[Group]:
    actor = getattr(request, "actor", None)
    if actor is None and getattr(request, "tenant", None) and request.user.is_authenticated:
        actor = actor_of_member(request.user)
    if actor is None:
        return []
    found = [replace(group, items=tuple(_shown(group, actor))) for group in GROUPS]
    return [group for group in found if group.items]


def _shown(group: Group, actor: Actor) -> list[Item]:
    return [_counted(item, actor) for item in group.items if item.action is None or item.action in actor.actions]


def _counted(item: Item, actor: Actor) -> Item:
    return replace(item, waits=waiting_count(actor)) if item.name == "approvals" else item
