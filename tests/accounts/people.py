"""What the tests of sign-in and profile share."""

from __future__ import annotations

import re
from typing import Any

import aiohttp

from accounts.models import AuditEvent, User
from tenants import scope
from tests.conftest import PASSWORD, in_thread
from tests.site import Site


async def said(client: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, str, Any]:
    """Status, text and headers of one answer; redirects are not followed."""
    async with client.request(method, path, allow_redirects=False, **options) as answer:
        return answer.status, await answer.text(), answer.headers


async def form(site: Site, client: Any, slug: str, path: str, **fields: str) -> tuple[int, str, Any]:
    """Post a page's form, with its CSRF token."""
    if "csrftoken" not in {cookie.key for cookie in client.cookie_jar}:
        await said(client, "GET", path)
    return await said(client, "POST", path, data={**fields, "csrfmiddlewaretoken": site.csrf(client, slug)})


async def try_password(
    site: Site, client: Any, slug: str, email: str, password: str, path: str = "", **fields: str
) -> tuple[int, str, Any]:
    """The sign-in form of a host."""
    door = path or ("/login/" if slug else "/accounts/login/")
    await said(client, "GET", door)
    return await form(site, client, slug, door, email=email, password=password, **fields)


async def through_the_platform(client: Any, path: str) -> tuple[int, str, Any]:
    """Follow a tenant's `/login/platform/` over redirects and the page that goes on by itself, up to an answer."""
    async with client.get(path) as answer:
        status, text = answer.status, await answer.text()
    way = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', text)
    return await said(client, "GET", way[1].replace("&amp;", "&")) if way else (status, text, {})


def person(email: str) -> Any:
    """One of the cast."""

    def read() -> User:
        with scope.platform():
            return User.objects.get(email=email)

    return in_thread(read)


def put_back(email: str, user_id: Any) -> None:
    """The cast outlives a test: address, password, name and language as they were."""

    def write() -> None:
        with scope.platform():
            user = User.objects.get(pk=user_id)
            user.email, user.name, user.language, user.is_active = email, "", "", True
            user.set_password(PASSWORD)
            user.save()

    in_thread(write)


def events(action: str, tenant: Any) -> list[AuditEvent]:
    """The audit rows of a tenant (None: the platform) about this."""

    def read() -> list[AuditEvent]:
        with scope.bind(tenant) if tenant else scope.platform():
            rows = AuditEvent.objects.filter(action=action, tenant_id=tenant.id if tenant else None)
            return list(rows.order_by("seq"))

    return list(in_thread(read))
