"""The routes of limits, usage and bills on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import ADMIN_SETTINGS, USAGE_READ
from tests.contracts.declaring import ANY, Access, Declared, api, page

ACCESS: dict[str, Access] = {
    "/api/v1/quotas": api(GET=ANY),
    "/api/v1/limits": api(GET=ADMIN_SETTINGS, PUT=ADMIN_SETTINGS),
    "/api/v1/limits/<uuid:limit_id>": api(DELETE=ADMIN_SETTINGS),
    "/settings/limits/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/usage/statement": api(GET=USAGE_READ),
    "/api/v1/usage/invoices": api(GET=USAGE_READ),
    "/api/v1/usage/invoices/<str:number>": api(GET=USAGE_READ),
    "/settings/billing/": page(GET=USAGE_READ),
    "/settings/billing/invoices/<str:number>/": page(GET=USAGE_READ),
}
TENANCY: dict[str, Declared] = {
    "/api/v1/quotas": Declared("own"),
    "/api/v1/limits": Declared("own", ("GET", "PUT")),
    "/api/v1/limits/<uuid:limit_id>": Declared("by_id", ("DELETE",), {"limit_id": "limit"}, of_tenant=True),
    "/settings/limits/": Declared("own", ("GET", "POST"), page=True),
    "/api/v1/usage/statement": Declared("own"),
    "/api/v1/usage/invoices": Declared("own"),
    "/api/v1/usage/invoices/<str:number>": Declared("by_id", ids={"number": "invoice"}, of_tenant=True),
    "/settings/billing/": Declared("own", page=True),
    "/settings/billing/invoices/<str:number>/": Declared("by_id", ids={"number": "invoice"}, page=True, of_tenant=True),
}
