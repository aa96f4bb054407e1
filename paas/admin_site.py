"""The operator's console: Django admin (unfold) on the platform host only.

Every room registers its own models in its admin.py; tenants' content is not here, metadata is (A68).
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Agent PaaS",
    "SITE_HEADER": "Agent PaaS",
    "SITE_SUBHEADER": "Platform console",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/chat/favicon.svg"}],
    "SHOW_HISTORY": False,
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
            {
                "title": "Customers",
                "items": [
                    {"title": "Tenants", "icon": "apartment", "link": "/admin/tenants/tenant/"},
                    {"title": "Plans", "icon": "sell", "link": "/admin/tenants/plan/"},
                    {"title": "Limits", "icon": "data_usage", "link": "/admin/tenants/limit/"},
                    {"title": "Users", "icon": "group", "link": "/admin/accounts/user/"},
                    {"title": "Model accounts", "icon": "key", "link": "/admin/tenants/platformprovider/"},
                ],
            },
            {
                "title": "Bills",
                "items": [
                    {"title": "Ledger", "icon": "receipt_long", "link": "/admin/usage/usagerecord/"},
                    {"title": "Invoices", "icon": "request_quote", "link": "/admin/usage/invoice/"},
                    {"title": "Prices", "icon": "sell", "link": "/admin/usage/price/"},
                    {"title": "Margins", "icon": "percent", "link": "/admin/usage/margin/"},
                    {"title": "Verification", "icon": "verified", "link": "/admin/usage/ledgerhead/"},
                ],
            },
            {
                "title": "Activity",
                "items": [
                    {"title": "Runs", "icon": "bolt", "link": "/admin/usage/reservation/"},
                    {"title": "Quotas", "icon": "speed", "link": "/admin/usage/quota/"},
                    {"title": "Audit log", "icon": "policy", "link": "/admin/accounts/auditevent/"},
                    {
                        "title": "Impersonations",
                        "icon": "visibility",
                        "link": "/admin/accounts/impersonation/",
                    },
                    {
                        "title": "Jobs",
                        "icon": "work_history",
                        "link": "/admin/procrastinate/procrastinatejob/",
                    },
                ],
            },
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
