"""`/internal/certificate?domain=HOST`: whether the proxy in front may get a certificate for a host.

200 for the platform's host and for every host of a tenant, 404 for all others: what Caddy asks (`on_demand_tls`) before
it orders a certificate, so that nobody makes it order some by pointing names at it. It is for the proxy alone: what the
proxy hands on for a visitor (it adds X-Forwarded-For) is not answered.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from core.errors import PaasError, from_exception
from tenants import ratelimit, resolve, scope
from tenants.asgi import refuse
from tenants.ratelimit import Limit

PATH = "/internal/certificate"
# Of all processes together. A handshake for a name without a certificate is one question.
QUESTIONS = Limit("certificate", rate=600, period=60.0)


async def answer(connection: Any, receive: Any, send: Any) -> None:
    """Empty, with 200; or an error: tenant_not_found, rate_limited, database_unavailable."""
    try:
        if any(name == b"x-forwarded-for" for name, _ in connection["headers"]):
            raise PaasError("not_found")
        asked = parse_qs(connection.get("query_string", b"").decode("latin-1")).get("domain", [])
        await _must_be_ours(resolve.host_name(asked[0] if len(asked) == 1 else ""))
    except Exception as error:
        await refuse(connection, receive, send, from_exception(error))
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _must_be_ours(host: str) -> None:
    if resolve.is_platform_host(host):
        return
    with scope.platform():
        await ratelimit.acheck(QUESTIONS)
    tenant = await resolve.known_tenant(host)
    if tenant is None or tenant.status == "deleted":
        raise PaasError("tenant_not_found")
