"""What the tests of sign-in and profile share."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from django.core import mail as django_mail
from django.test.utils import override_settings

from accounts import mail
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
    """The cast outlives a test: everything about this one as it was."""

    def write() -> None:
        with scope.platform():
            user = User.objects.get(pk=user_id)
            user.email, user.name, user.language, user.is_active, user.token_version = email, "", "", True, 0
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


async def letters() -> list[tuple[str, str, str]]:
    """Send what waits: (to, subject, body) of each, in order."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    def waiting() -> list[dict[str, Any]]:
        with scope.platform():
            jobs = ProcrastinateJob.objects.filter(task_name=mail.JOB).order_by("id")
            return [job.args for job in jobs]

    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        django_mail.outbox = []
        for arguments in in_thread(waiting):
            await mail.deliver(**arguments)
        return [(letter.to[0], letter.subject, str(letter.body)) for letter in django_mail.outbox]


def link_in(body: str) -> str:
    found = re.search(r"https?://\S+", body)
    assert found
    return found[0]


def path_in(body: str) -> str:
    return "/" + link_in(body).split("/", 3)[3]
