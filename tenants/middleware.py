"""Django's view of the bound tenant: `request.tenant` and the tenant's URLs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from core.errors import PaasError
from tenants import resolve, scope
from tenants.asgi import page

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def TenantMiddleware(get_response: GetResponse) -> GetResponse:
    """Bind the host's tenant, unless the ASGI layer has done so, and choose the URLs that go with it."""

    async def middleware(request: Any) -> HttpResponseBase:
        found = getattr(request, "scope", {})
        if "paas.tenant" in found and scope.is_bound():
            return await answer(request, found["paas.tenant"])
        try:
            host = resolve.host_name(request.META.get("HTTP_HOST", ""))
            tenant = None if resolve.is_platform_host(host) else await resolve.tenant_of_host(host)
        except PaasError as error:
            return JsonResponse(error.as_native(), status=error.status, headers=error.headers())
        with scope.bind(tenant) if tenant else scope.platform():
            return await answer(request, tenant)

    async def answer(request: Any, tenant: scope.TenantRef | None) -> HttpResponseBase:
        request.tenant = tenant
        if tenant is not None:
            request.urlconf = settings.TENANT_URLCONF
        return await get_response(request)

    return middleware


class DatabaseAway(MiddlewareMixin):
    """A page that needs the database while it is away says so, with 503, instead of failing with 500."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        error = PaasError("database_unavailable", retry_after=1)
        language = request.headers.get("Accept-Language", "").encode()
        return HttpResponse(page(error, language), status=error.status, headers=error.headers())
