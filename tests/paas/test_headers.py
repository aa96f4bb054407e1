"""Every kind of answer carries the security headers, whoever gives it; cookies keep to their host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from django.conf import settings

from paas import headers
from tenants import resolve, scope
from tenants.models import RetiredSlug
from tests.conftest import Platform, in_thread
from tests.services import Services
from tests.site import Site

ROOT = Path(__file__).resolve().parent.parent.parent
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTML = {"Accept": "text/html"}
DOOR_TURN = {"agent": "assistant", "message": "hello"}


def wrong_with(found: Mapping[str, str], *, console: bool = False, kept: bool = False) -> list[str]:
    """What the headers of an answer lack. kept: browsers may keep it for a while."""
    said = [f"{name}: {found.get(name)}" for name, value in FIXED.items() if found.get(name) != value]
    policy = found.get("Content-Security-Policy", "")
    directives = {part.split()[0]: part.split()[1:] for part in policy.split("; ") if part}
    if directives.get("default-src") != ["'self'"] or directives.get("frame-ancestors") != ["'none'"]:
        said.append(f"policy {policy!r}")
    if not console and ("unsafe" in policy or "ws:" in policy or "http" in policy or "*" in policy):
        said.append(f"policy is wide: {policy!r}")
    if "camera=()" not in found.get("Permissions-Policy", ""):
        said.append("no Permissions-Policy")
    if not kept and "no-store" not in found.get("Cache-Control", ""):
        said.append(f"may be kept: {found.get('Cache-Control')}")
    return said


# (what, host, method, path, extra headers, body, status)
ANSWERS: list[tuple[str, str, str, str, dict[str, str], Any, int]] = [
    ("a page", "acme", "GET", "/login/", {}, None, 200),
    ("a redirect", "acme", "GET", "/chat/", {}, None, 302),
    ("a page that is not there", "acme", "GET", "/nothing/", HTML, None, 404),
    ("a write without its token", "acme", "POST", "/login/", HTML, {}, 403),
    ("an API error", "acme", "GET", "/api/v1/me", {}, None, 401),
    ("an API address that is not there", "acme", "GET", "/api/v1/nothing", {}, None, 404),
    ("a door's refusal", "acme", "GET", "/v1/models", {}, None, 401),
    ("a native door's refusal", "acme", "POST", "/api/v1/runs", {}, {}, 401),
    ("a wrong method", "acme", "DELETE", "/api/v1/runs", {}, None, 405),
    ("nobody's host", "nobody", "GET", "/api/v1/me", {}, None, 404),
    ("nobody's host, to a person", "nobody", "GET", "/login/", HTML, None, 404),
    ("the front page", "", "GET", "/", {}, None, 200),
    ("a form of the platform", "", "GET", "/signup/", {}, None, 200),
    ("an API address of the platform", "", "GET", "/api/v1/nothing", {}, None, 404),
    ("health", "acme", "GET", "/healthz", {}, None, 200),
    ("readiness", "", "GET", "/readyz", {}, None, 200),
]


@pytest.mark.parametrize("what", ANSWERS, ids=[one[0] for one in ANSWERS])
async def test_answers_of_every_kind(site: Site, what: Any) -> None:
    _, slug, method, path, more, body, status = what
    client = site.client(slug)
    async with client.request(method, path, headers=more, json=body, allow_redirects=False) as answer:
        assert (answer.status, wrong_with(answer.headers)) == (status, [])


async def test_answers_to_who_is_known(site: Site, api_key: Any) -> None:
    member = await site.signed_in("member")
    token = api_key("acme")
    async with member.get("/chat/") as page:
        assert (page.status, wrong_with(page.headers)) == (200, [])
    async with member.get("/api/v1/conversations") as rows:
        assert (rows.status, wrong_with(rows.headers)) == (200, [])
    for slug in ("acme", ""):
        async with site.client(slug, token=token).get("/v1/models") as models:
            assert (models.status, wrong_with(models.headers)) == (200, [])
    stream = {"Accept": "text/event-stream"}
    async with member.post("/api/v1/runs", json=DOOR_TURN, headers=stream) as events:
        assert events.content_type == "text/event-stream"
        assert wrong_with(events.headers) == []
        assert "no-transform" in events.headers["Cache-Control"], "no proxy may gather what is to arrive in pieces"
        await events.read()


async def test_the_console_is_the_only_exception(site: Site) -> None:
    async with site.client().get("/admin/login/") as answer:
        assert wrong_with(answer.headers, console=True) == []
        assert "'unsafe-inline'" in answer.headers["Content-Security-Policy"]
    async with site.client("acme").get("/admin/login/") as answer:
        assert answer.status == 404


async def test_static_files_may_be_kept_but_are_no_less_strict(site: Site) -> None:
    async with site.client("acme").get("/static/portal/portal.css") as answer:
        assert (answer.status, wrong_with(answer.headers, kept=True)) == (200, [])
        assert "max-age" in answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers
        same = {"If-Modified-Since": answer.headers["Last-Modified"]}
    async with site.client("acme").get("/static/portal/portal.css", headers=same) as answer:
        assert (answer.status, wrong_with(answer.headers, kept=True)) == (304, [])
    async with site.client("acme").get("/static/nothing.css") as answer:
        assert (answer.status, wrong_with(answer.headers)) == (404, [])


async def test_a_former_address_leads_on(db: Platform, site: Site) -> None:
    def retire() -> None:
        with scope.platform():
            RetiredSlug.objects.create(slug="acme-was", tenant_id=db.acme.id)

    def back() -> None:
        with scope.platform():
            RetiredSlug.objects.filter(slug="acme-was").delete()

    in_thread(retire)
    resolve.forget_all()
    try:
        async with site.client("acme-was").get("/chat/", headers=HTML, allow_redirects=False) as answer:
            assert (answer.status, wrong_with(answer.headers, kept=True)) == (301, [])
    finally:
        in_thread(back)
        resolve.forget_all()


async def test_a_page_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 says nothing of what happened, and is as strict as the rest."""

    def fails(*_: Any) -> str:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("portal.bundle.entry", fails)
    member = await site.signed_in("member")
    async with member.get("/chat/") as answer:
        assert (answer.status, wrong_with(answer.headers)) == (500, [])
        assert "secret" not in await answer.text()


# --- by themselves -----------------------------------------------------------------------------------


def test_what_an_answer_says_for_itself_stays() -> None:
    wanted = [(b"cache-control", b"no-store"), (b"x-frame-options", b"DENY")]
    assert headers.with_missing([(b"Cache-Control", b"max-age=60")], wanted) == [
        (b"Cache-Control", b"max-age=60"),
        (b"x-frame-options", b"DENY"),
    ]


@pytest.mark.parametrize(
    ("scheme", "forwarded", "secure"),
    [("https", None, True), ("http", b"https", True), ("http", b"http", False), ("http", None, False)],
)
def test_transport_security_is_for_who_came_by_tls(
    monkeypatch: pytest.MonkeyPatch, scheme: str, forwarded: bytes | None, secure: bool
) -> None:
    monkeypatch.setattr(settings, "SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https"), raising=False)
    given = [(b"x-forwarded-proto", forwarded)] if forwarded else []
    assert headers.is_secure({"scheme": scheme, "headers": given}) is secure


# --- production --------------------------------------------------------------------------------------

ASK = """
import asyncio, io, json
from paas.asgi import application
from django.conf import settings
from django.core.management import call_command

NAMES = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
FLAGS = ("SESSION_COOKIE_HTTPONLY", "LANGUAGE_COOKIE_HTTPONLY", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
         "LANGUAGE_COOKIE_SECURE")
checked = io.StringIO()
call_command("check", deploy=True, fail_level="INFO", stdout=checked, stderr=checked)

async def ask(path, proto):
    sent, parts = [], [{"type": "http.request", "body": b""}]
    async def receive():
        if parts:
            return parts.pop()
        await asyncio.Event().wait()
    async def send(message): sent.append(message)
    given = [(b"host", b"acme.localhost"), (b"x-forwarded-proto", proto), (b"accept", b"text/html")]
    connection = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                  "root_path": "", "scheme": "http", "headers": given, "http_version": "1.1", "asgi": {"version": "3.0"},
                  "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    await application(connection, receive, send)
    return [sent[0]["status"], [[name.decode(), value.decode()] for name, value in sent[0]["headers"]]]

async def main():
    print(json.dumps({"page": await ask("/login/", b"https"), "door": await ask("/v1/models", b"https"),
                      "plain": await ask("/login/", b"http"), "static": await ask("/static/nothing", b"https"),
                      "checked": checked.getvalue(), "names": [getattr(settings, name) for name in NAMES],
                      "flags": [getattr(settings, name) for name in FLAGS]}))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def production(platform: Platform, services: Services) -> Any:
    """What one process with the settings of production says of itself and answers."""
    environment = {
        **os.environ,
        **services.environment,
        "DJANGO_SETTINGS_MODULE": "paas.settings.prod",
        "SECRET_KEY": "yK3-0vXw9LqTz7_uRbN5hGf2JcD8sAe1PmVo4QiWx6Bt-6Zn1Hd9",
        "API_KEY_PEPPER": "pX5-2tZr7MnSd9_wQeH3kLf6GbC1vYa8",
        "DATABASE_LOGIN": "app",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.exhaustive
def test_the_deployment_check_finds_nothing(production: Any) -> None:
    assert "no issues (0 silenced)" in production["checked"]


@pytest.mark.exhaustive
def test_production_answers(production: Any) -> None:
    """HSTS on every answer that came by TLS; cookies that no sibling's page can set, send elsewhere or read (P18)."""
    assert [production[name][0] for name in ("page", "door", "plain", "static")] == [200, 401, 301, 404]
    for name in ("page", "door", "static"):
        found = dict(production[name][1])
        known = {header.lower(): value for header, value in found.items()}
        assert known["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload", name
    plain = {header.lower(): value for header, value in production["plain"][1]}
    assert plain["location"] == "https://acme.localhost/login/"
    cookies = [value for header, value in production["page"][1] if header.lower() == "set-cookie"]
    assert cookies
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "SameSite=Lax" in cookie
        assert "Domain" not in cookie


@pytest.mark.exhaustive
def test_cookies_of_production_are_named_for_their_host(production: Any) -> None:
    assert all(name.startswith("__Host-") for name in production["names"])
    assert production["flags"] == [True] * 5


async def test_the_session_cookie(site: Site) -> None:
    member = await site.signed_in_by_form("member")
    found = {cookie.key: cookie for cookie in member.cookie_jar}
    session = found[settings.SESSION_COOKIE_NAME]
    assert session["httponly"]
    assert session["samesite"] == "Lax"
    assert isinstance(member.cookie_jar, aiohttp.CookieJar)
