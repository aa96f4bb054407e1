"""What the tests of second factors share: an authenticator app, and forms that are filled in over HTTP."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth
from yarl import URL

from accounts import second_factor
from accounts.models import User
from tenants import scope
from tests.conftest import PASSWORD, in_thread

LABEL = "user:test"
HALF_MINUTE = int(time.time()) // 30


@pytest.fixture
def one_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's half minute does not end while a test looks at its app."""
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: HALF_MINUTE * 30 + 15))


def app_code(secret: str, steps: int = 0) -> str:
    """What an app shows in `one_half_minute`, or some half minutes later."""
    return str(auth.format_hotp_value(auth.hotp_value(secret.replace(" ", ""), HALF_MINUTE + steps)))


def set_up_app(email: str, tenant: Any = None) -> tuple[str, list[str]]:
    """Give a person an app and recovery codes; (secret, codes). The half minute before is used up."""

    def work() -> tuple[str, list[str]]:
        with scope.bind(tenant) if tenant else scope.platform():
            with scope.platform():
                user = User.objects.get(email=email)
            secret = second_factor.totp_secret()
            second_factor.totp_add(user=user, secret=secret, code=app_code(secret, -1), actor=LABEL)
            return secret, second_factor.recovery_codes_make(user=user, actor=LABEL)

    return in_thread(work)  # type: ignore[no-any-return]


def csrf_of(client: Any) -> str:
    return str(client.cookie_jar.filter_cookies(URL(str(client._base_url)))["csrftoken"].value)


async def send(client: Any, path: str, *, to: str = "", **fields: str) -> tuple[int, str, str]:
    """Open a page and send its form (to the page itself, or to `to`): (status, body, where it leads)."""
    async with client.get(path, allow_redirects=False) as page:
        await page.text()
        if page.status in (301, 302):
            return page.status, "", page.headers["Location"]
    form = {"csrfmiddlewaretoken": csrf_of(client)} | fields
    async with client.post(to or path, data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer.headers.get("Location", "")


async def first_step(site: Any, name: str = "member", slug: str = "acme") -> Any:
    """A client whose password was right."""
    client = site.client(slug)
    status, said, there = await send(client, "/login/", email=f"{name}@{slug}.test", password=PASSWORD)
    assert (status, there) == (302, "/login/code/"), said
    return client


async def is_in(client: Any) -> bool:
    async with client.get("/api/v1/me") as answer:
        return bool(answer.status == 200)


def secret_in(html: str) -> str:
    found = re.search(r'data-testid="secret">([A-Z2-7 ]+)<', html)
    assert found, html
    return found[1]


def codes_in(html: str) -> list[str]:
    return re.findall(r"<li><code>([\d-]+)</code></li>", html)
