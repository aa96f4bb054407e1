"""The operator's console: Django admin (unfold) on the platform host only.

Every room registers its own models in its admin.py; tenants' content is not here, metadata is (A68).
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import gettext_lazy as _


def _group(title: Any, *items: tuple[Any, str, str]) -> dict[str, Any]:
    """Entries of the side bar under a heading: what each is called, its icon, and whose list it leads to."""
    entries = [{"title": name, "icon": icon, "link": f"/admin/{place}/"} for name, icon, place in items]
    return {"title": title, "items": entries}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Agent PaaS",
    "SITE_HEADER": "Agent PaaS",
    "SITE_SUBHEADER": _("Platform console"),
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/chat/favicon.svg"}],
    "SHOW_HISTORY": False,
    "SHOW_LANGUAGES": True,
    "DASHBOARD_CALLBACK": "paas.console.dashboard.dashboard",
    "STYLES": ["/static/console/console.css"],
    "ENVIRONMENT": "paas.backup.standing",
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        "primary": {
            "50": "236 253 249",
            "100": "209 244 236",
            "200": "167 231 219",
            "300": "117 212 198",
            "400": "71 184 170",
            "500": "36 153 140",
            "600": "15 107 98",
            "700": "17 94 87",
            "800": "19 75 70",
            "900": "19 62 59",
            "950": "5 38 37",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {"items": [{"title": _("Overview"), "icon": "monitoring", "link": "/admin/"}]},
            _group(
                _("Customers"),
                (_("Tenants"), "apartment", "tenants/tenant"),
                (_("Plans"), "sell", "tenants/plan"),
                (_("Limits"), "data_usage", "tenants/limit"),
                (_("Users"), "group", "accounts/user"),
                (_("Notices"), "campaign", "tenants/notice"),
                (_("Model accounts"), "key", "tenants/platformprovider"),
            ),
            _group(
                _("Bills"),
                (_("Ledger"), "receipt_long", "usage/usagerecord"),
                (_("Invoices"), "request_quote", "usage/invoice"),
                (_("Prices"), "sell", "usage/price"),
                (_("Margins"), "percent", "usage/margin"),
                (_("Verification"), "verified", "usage/ledgerhead"),
            ),
            _group(
                _("Activity"),
                (_("Runs"), "bolt", "usage/reservation"),
                (_("Quotas"), "speed", "usage/quota"),
                (_("Jobs"), "work_history", "procrastinate/procrastinatejob"),
                (_("Schemas"), "schema", "tenants/tenantschema"),
                (_("Audit log"), "policy", "accounts/auditevent"),
                (_("Impersonations"), "visibility", "accounts/impersonation"),
            ),
        ],
    },
}


# Unfold's pages have inline scripts and Alpine expressions; everything still comes from this host.
CONSOLE_POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "object-src": ["'none'"],
}


@sync_and_async_middleware
def ConsolePolicy(get_response: Any) -> Any:
    """Gives the console's pages the policy that unfold needs; all other pages keep the strict one."""

    def marked(request: HttpRequest, response: Any) -> Any:
        if request.path.startswith("/admin/"):
            response._csp_replace = CONSOLE_POLICY
        return response

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> Any:
            return marked(request, await get_response(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> Any:
        return marked(request, get_response(request))

    return synchronous
