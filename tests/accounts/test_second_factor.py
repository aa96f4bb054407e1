"""The second factor: codes that work once, no door around it, and what a tenant may ask of everybody (A16)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.models import Authenticator

from accounts import second_factor, selectors, sign_in, tokens
from accounts.models import AuditEvent, User
from core.errors import PaasError
from tenants import resolve, scope
from tests.accounts.factors import (
    app_code,
    codes_in,
    first_step,
    is_in,
    one_half_minute,  # noqa: F401 - a fixture
    secret_in,
    send,
    set_up_app,
)
from tests.accounts.test_impersonation import ask, code_of, operator  # noqa: F401 - a fixture
from tests.accounts.test_tokens import me, pair, post  # noqa: F401 - a fixture
from tests.chat.conftest import ledger  # noqa: F401 - a fixture
from tests.chat.sockets import close_of, impatient, opened, refused  # noqa: F401 - a fixture
from tests.conftest import PASSWORD, Platform, forget_caches, in_thread

pytestmark = pytest.mark.usefixtures("one_half_minute")
EMAIL = "member@acme.test"


def person(email: str = EMAIL) -> User:
    with scope.platform():
        return User.objects.get(email=email)


def attempt(db: Platform, code: str, email: str = EMAIL) -> str:
    """What code_use says on acme's host: a method, or an error's code."""
    with scope.bind(db.acme):
        try:
            return second_factor.code_use(user=person(email), code=code)
        except PaasError as error:
            return error.code


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of something else than the throttle."""
    monkeypatch.setattr(second_factor, "TRIES", 10_000)


def actions(tenant: Any) -> list[str]:
    def read() -> list[str]:
        with scope.platform():
            return list(AuditEvent.objects.filter(tenant_id=tenant.id).order_by("seq").values_list("action", flat=True))

    return in_thread(read)  # type: ignore[no-any-return]


# --- codes -------------------------------------------------------------------------------------------


def test_a_code_works_once(db: Platform, unhurried: None) -> None:
    secret, _ = set_up_app(EMAIL, db.acme)
    assert attempt(db, app_code(secret, -1)) == "mfa_code_invalid", "the one that set the app up"
    now = app_code(secret)
    assert attempt(db, f" {now[:3]} {now[3:]} ") == "totp"
    assert attempt(db, now) == "mfa_code_invalid"
    assert attempt(db, app_code(secret, 1)) == "totp", "a phone whose clock is ahead"
    assert attempt(db, app_code(secret)) == "mfa_code_invalid", "nothing from before the last one"
    assert attempt(db, app_code(secret, 5)) == "mfa_code_invalid"


@pytest.mark.parametrize(
    "code", ["", "0", "abcdef", "000000000000", "1" * 40, "１２３４５６", "\u2028", "0000-0000-0000"]
)
def test_codes_that_are_none(db: Platform, unhurried: None, code: str) -> None:
    set_up_app(EMAIL, db.acme)
    assert attempt(db, code) == "mfa_code_invalid"


def test_a_recovery_code_works_once(db: Platform, unhurried: None) -> None:
    _, codes = set_up_app(EMAIL, db.acme)
    assert len(set(codes)) == 10
    assert attempt(db, codes[3]) == "recovery"
    assert attempt(db, codes[3]) == "mfa_code_invalid"
    assert attempt(db, codes[4].replace("-", "")) == "recovery"
    assert second_factor.factors_of(person()).recovery_left == 8


def test_codes_of_others(db: Platform, unhurried: None) -> None:
    secret, codes = set_up_app("viewer@acme.test", db.acme)
    set_up_app(EMAIL, db.acme)
    assert attempt(db, app_code(secret)) == "mfa_code_invalid"
    assert attempt(db, codes[0]) == "mfa_code_invalid"


@pytest.mark.parametrize("kind", ["totp", "recovery"])
def test_racing_with_one_code(db: Platform, unhurried: None, kind: str) -> None:
    """A16: of 8 at once, one gets in."""
    secret, codes = set_up_app(EMAIL, db.acme)
    with ThreadPoolExecutor(8) as racers:
        for number in range(10 if kind == "recovery" else 1):
            code = codes[number] if kind == "recovery" else app_code(secret)
            found = list(racers.map(lambda code: in_thread(lambda: attempt(db, code)), [code] * 8))
            assert sorted(found) == ["mfa_code_invalid"] * 7 + [kind]


def test_five_tries_in_five_minutes(db: Platform) -> None:
    """For a person, on all hosts together; without Redis nobody is let through."""
    assert (second_factor.TRIES, second_factor.TRIES_SECONDS) == (5, 300)
    secret, _ = set_up_app(EMAIL)
    assert [attempt(db, "000000") for _ in range(5)] == ["mfa_code_invalid"] * 5
    assert attempt(db, app_code(secret)) == "rate_limited"
    with scope.platform(), pytest.raises(PaasError, match="Too many"):
        second_factor.code_use(user=person(), code=app_code(secret))


def test_without_redis_nobody_is_let_through(db: Platform, monkeypatch: Any) -> None:
    from redis.exceptions import ConnectionError as Away

    from tenants import ratelimit

    secret, _ = set_up_app(EMAIL)

    def away() -> Any:
        raise Away

    monkeypatch.setattr(ratelimit, "_clients", away)
    assert attempt(db, app_code(secret)) == "redis_unavailable"


def test_secrets_are_encrypted_at_rest(db: Platform, ledger: Any) -> None:
    secret, codes = set_up_app(EMAIL, db.acme)
    stored = " ".join(str(row) for row in ledger.rows("SELECT data FROM mfa_authenticator"))
    assert secret not in stored
    assert codes[0].replace("-", "") not in stored
    assert stored.count("gAAAA") == 2, "both are Fernet's"


def test_tenants_cannot_see_the_rows(db: Platform) -> None:
    from django.db import ProgrammingError

    with scope.bind(db.acme), pytest.raises(ProgrammingError, match="permission denied"):
        Authenticator.objects.count()


# --- the second step of a sign-in --------------------------------------------------------------------


async def test_sign_in_with_an_app(site: Any, db: Platform) -> None:
    secret, _ = set_up_app(EMAIL, db.acme)
    client = await first_step(site)
    assert not await is_in(client), "a password alone is no session"
    status, said, _ = await send(client, "/login/code/", code="000000")
    assert status == 401
    assert "This code is not right" in said
    status, _, there = await send(client, "/login/code/", code=app_code(secret))
    assert (status, there) == (302, "/chat/")
    assert await is_in(client)
    assert [action for action in actions(db.acme) if action.startswith(("session", "mfa.refused"))] == [
        "mfa.refused",
        "session.created",
    ]
    assert in_thread(lambda: _method(db)) == "password+totp"


def _method(db: Platform) -> Any:
    with scope.bind(db.acme):
        return AuditEvent.objects.filter(action="session.created").latest("seq").data["method"]


async def test_sign_in_with_a_recovery_code(site: Any, db: Platform) -> None:
    _, codes = set_up_app(EMAIL, db.acme)
    client = await first_step(site)
    assert (await send(client, "/login/code/", code=codes[0]))[0] == 302
    assert await is_in(client)
    again = await first_step(site)
    assert (await send(again, "/login/code/", code=codes[0]))[0] == 401


async def test_what_waits_for_a_code_waits_ten_minutes(site: Any, db: Platform, monkeypatch: Any) -> None:
    secret, _ = set_up_app(EMAIL, db.acme)
    assert sign_in.PENDING_SECONDS == 600
    monkeypatch.setattr(sign_in, "PENDING_SECONDS", -1)
    client = await first_step(site)
    assert (await send(client, "/login/code/", code=app_code(secret)))[2] == "/login/?next=%2Fchat%2F"
    assert not await is_in(client)


async def test_nobody_comes_to_the_second_step_without_the_first(site: Any, db: Platform) -> None:
    secret, _ = set_up_app(EMAIL, db.acme)
    client = site.client("acme")
    async with client.get("/login/") as page:
        await page.text()
    assert (await send(client, "/login/code/", to="/login/code/", code=app_code(secret)))[2] == "/login/"
    # What waits on one host is nothing on another.
    ours = await first_step(site)
    cookie = ours.cookie_jar.filter_cookies(ours._base_url)["sessionid"].value
    other = site.client("globex")
    async with other.get("/login/code/", headers={"Cookie": f"sessionid={cookie}"}, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/login/"


async def test_who_was_removed_meanwhile_is_not_let_in(site: Any, db: Platform, ledger: Any) -> None:
    secret, _ = set_up_app("viewer@acme.test", db.acme)
    client = await first_step(site, "viewer")
    change = "UPDATE accounts_user SET is_active = %s WHERE email = 'viewer@acme.test'"
    ledger.rows(change, False)
    try:
        assert (await send(client, "/login/code/", code=app_code(secret)))[2].startswith("/login/")
        assert not await is_in(client)
    finally:
        ledger.rows(change, True)


async def test_tokens_ask_for_it(site: Any, db: Platform) -> None:
    """A16: on tenants' hosts and on the platform's."""
    secret, codes = set_up_app(EMAIL, db.acme)
    body = {"email": EMAIL, "password": PASSWORD}
    for slug, code in (("acme", app_code(secret)), ("", codes[0])):
        client = site.client(slug)
        status, said = await post(client, "/api/auth/login", body)
        assert (status, said["error"], said["code"]) == (401, "MFA_REQUIRED", "auth_004")
        status, said = await post(client, "/api/auth/login", body | {"code": code})
        assert status == 200, said
        status, said = await post(client, "/api/auth/login", body | {"code": code})
        assert (status, said["error"]) == (401, "MFA_CODE_INVALID")
    tenant = {"tenant_id": str(db.acme.id)}
    assert (await post(site.client(), "/api/auth/login/tenant", body | tenant))[1]["error"] == "MFA_REQUIRED"


async def test_the_console_asks_for_it(site: Any, db: Platform, operator: Any) -> None:
    """An operator who is in no workspace sets it up on the platform host; then the console asks."""
    client = site.client()
    following = "/admin/accounts/user/"
    status, _, there = await send(client, f"/admin/login/?next={following}", email=operator.email, password=PASSWORD)
    assert (status, there) == (302, following)
    home = "/accounts/profile/security/"
    assert (await send(client, home, to=f"{home}app/start/", proof=PASSWORD))[2] == f"{home}app/"
    async with client.get(f"{home}app/") as page:
        secret = secret_in(await page.text())
    assert (await send(client, f"{home}app/", code=app_code(secret, -1)))[0] == 200

    again = site.client()
    status, _, there = await send(again, f"/admin/login/?next={following}", email=operator.email, password=PASSWORD)
    assert (status, there) == (302, "/accounts/login/code/")
    for path in ("/admin/", home, "/workspaces/"):
        async with again.get(path, allow_redirects=False) as answer:
            assert answer.status == 302, f"{path}: not yet"
    status, _, there = await send(again, "/accounts/login/code/", code=app_code(secret))
    assert (status, there) == (302, following)
    async with again.get(following) as answer:
        assert (answer.status, "App" in await answer.text()) == (200, True), "who has one is shown"


# --- to set it up ------------------------------------------------------------------------------------

HOME = "/profile/security/"


def letters() -> list[str]:
    """Letters that wait for the worker; they are sealed there."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    with scope.platform():
        return [job.args["sealed"] for job in ProcrastinateJob.objects.filter(task_name="mail.send")]


async def test_setting_an_app_up(site: Any, db: Platform) -> None:
    client = await site.signed_in("member")
    status, said, _ = await send(client, HOME, to=f"{HOME}app/start/", proof="wrong")
    assert status == 401
    assert "This is not your password" in said
    assert (await send(client, HOME, to=f"{HOME}app/start/", proof=PASSWORD))[2] == f"{HOME}app/"
    async with client.get(f"{HOME}app/") as page:
        html = await page.text()
        assert "no-store" in page.headers["Cache-Control"]
    assert "<svg" in html
    assert "style=" not in html, "the policy allows none inline"
    secret = secret_in(html)
    assert secret == secret_in(html)
    status, said, _ = await send(client, f"{HOME}app/", code="000000")
    assert status == 401
    assert secret_in(said) == secret, "the same one may be tried again"
    status, said, _ = await send(client, f"{HOME}app/", code=app_code(secret))
    assert status == 200
    codes = codes_in(said)
    assert len(codes) == 10
    async with client.get(HOME) as page:
        html = await page.text()
    assert "Codes left: 10." in html
    assert not any(code in html for code in codes), "shown once"
    assert "mfa.totp_added" in actions(db.acme)
    assert await is_in(client), "who set it up stays signed in"
    await first_step(site)


async def test_in_chinese(site: Any, db: Platform) -> None:
    client = await site.signed_in("member")
    client.headers["Accept-Language"] = "zh-CN"
    async with client.get(HOME) as page:
        assert "身份验证器应用" in await page.text()
    _, said, _ = await send(client, HOME, to=f"{HOME}app/start/", proof="wrong")
    assert "这不是你的密码" in said
    set_up_app(EMAIL, db.acme)
    other = await first_step(site)
    other.headers["Accept-Language"] = "zh-CN"
    _, said, _ = await send(other, "/login/code/", code="000000")
    assert "第二步验证" in said
    assert "验证码不正确" in said


async def test_codes_are_made_anew(site: Any, db: Platform, unhurried: None) -> None:
    client = await site.signed_in("member")
    secret, old = set_up_app(EMAIL, db.acme)
    assert (await send(client, HOME, to=f"{HOME}codes/", proof=""))[0] == 401
    status, said, _ = await send(client, HOME, to=f"{HOME}codes/", proof=app_code(secret))
    assert status == 200
    new = codes_in(said)
    assert len(new) == 10
    assert not set(new) & set(old)
    assert in_thread(lambda: attempt(db, old[0])) == "mfa_code_invalid"
    assert in_thread(lambda: attempt(db, new[0])) == "recovery"


async def test_removing_the_app(site: Any, db: Platform) -> None:
    client = await site.signed_in("member")
    set_up_app(EMAIL, db.acme)
    assert (await send(client, HOME, to=f"{HOME}app/remove/", proof="000000"))[0] == 401
    status, _, there = await send(client, HOME, to=f"{HOME}app/remove/", proof=PASSWORD)
    assert (status, there) == (302, HOME)
    found = in_thread(lambda: second_factor.factors_of(person()))
    assert (found.enrolled, found.recovery_left) == (False, 0), "and its recovery codes with it"
    assert (await send(client, HOME, to=f"{HOME}app/remove/", proof=PASSWORD))[0] == 404
    assert (await send(client, HOME, to=f"{HOME}codes/", proof=PASSWORD))[0] == 403
    assert actions(db.acme)[-1] == "mfa.removed"
    assert len(in_thread(letters)) == 2, "for the app that was set up, and for its end"


@pytest.mark.exhaustive
async def test_bad_answers_of_a_passkey(site: Any, db: Platform, unhurried: None) -> None:
    client = await site.signed_in("member")
    for credential in ("", "{", "[]", "{}", '{"id": 1}', '{"id":"AA","rawId":"AA","response":{}}', "x" * 20_000):
        async with client.get(HOME) as page:
            await page.text()
        status, said, _ = await send(client, HOME, to=f"{HOME}passkeys/start/", proof=PASSWORD)
        assert (status, "challenge" in said) == (200, True)
        status, said, _ = await send(client, HOME, to=f"{HOME}passkeys/", name="key", credential=credential)
        assert status in (400, 401), credential
    status, said, _ = await send(client, HOME, to=f"{HOME}passkeys/start/", proof="wrong")
    assert (status, "challenge" in said) == (401, False)
    for row in ("", "x", "1", "9" * 30, "²"):
        assert (await send(client, HOME, to=f"{HOME}passkeys/remove/", proof=PASSWORD, passkey=row))[0] == 404


async def test_passkeys_of_others(site: Any, db: Platform, unhurried: None) -> None:
    """A foreign row is not found, whatever it is of."""
    set_up_app("viewer@acme.test", db.acme)

    def ids() -> list[int]:
        with scope.platform():
            return list(Authenticator.objects.values_list("pk", flat=True))

    client = await site.signed_in("member")
    for row in in_thread(ids):
        sent = {"proof": PASSWORD, "passkey": str(row)}
        assert (await send(client, HOME, to=f"{HOME}passkeys/remove/", **sent))[0] == 404
    assert len(in_thread(ids)) == 2


async def test_an_operator_who_acts_as_somebody_sees_nothing_of_it(site: Any, operator: Any) -> None:
    """A67."""
    client = site.client("acme")
    async with client.get(f"/impersonate/?code={code_of(in_thread(lambda: ask(operator)))}") as answer:
        assert answer.status == 200
    async with client.get(HOME) as answer:
        assert answer.status == 403


# --- a tenant that asks everybody --------------------------------------------------------------------


@pytest.fixture
def strict(db: Platform, ledger: Any) -> Iterator[None]:
    """acme requires a second factor."""

    def ask_for(it: bool) -> None:
        ledger.rows("UPDATE tenants_tenant SET require_mfa = %s WHERE slug = 'acme'", it)
        forget_caches()

    ask_for(True)
    yield
    ask_for(False)


async def test_whoever_has_none_may_only_set_one_up(site: Any, db: Platform, strict: None, api_key: Any) -> None:
    client = await site.signed_in("member")
    for path in ("/chat/", "/settings/audit/"):
        async with client.get(path, allow_redirects=False) as answer:
            assert (answer.status, answer.headers.get("Location")) == (302, HOME), path
    for path in ("/api/v1/me", "/api/v1/conversations", "/v1/models"):
        async with client.get(path) as answer:
            assert answer.status == 403, path
            assert (await answer.json())["error"]["code"] == "mfa_enrolment_required"
    async with client.post("/api/v1/runs", json={"agent": "assistant", "message": "hi"}) as answer:
        assert answer.status == 403
    assert await refused(client, headers={"Origin": site.url("acme")}) == (4403, "mfa_enrolment_required")
    status, said = await post(site.client("acme"), "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert (status, said["error"]) == (403, "MFA_ENROLMENT_REQUIRED")
    async with site.client("acme", token=api_key()).get("/v1/models") as answer:
        assert answer.status == 200, "programs are not concerned"
    async with client.get(HOME) as answer:
        assert "Acme asks everybody for a second factor" in await answer.text()
    assert (await send(client, HOME, to=f"{HOME}app/start/", proof=PASSWORD))[2] == f"{HOME}app/"
    async with client.get(f"{HOME}app/") as page:
        secret = secret_in(await page.text())
    assert (await send(client, f"{HOME}app/", code=app_code(secret)))[0] == 200
    assert await is_in(client)
    async with client.get("/chat/", allow_redirects=False) as answer:
        assert answer.status == 200


async def test_globex_is_not_concerned(site: Any, strict: None) -> None:
    assert await is_in(await site.signed_in("rival", "globex"))


async def test_what_is_open_when_it_begins(site: Any, db: Platform, pair: Any, ledger: Any, impatient: None) -> None:
    """Sockets and tokens from before it was asked for end, or may do nothing."""
    both = pair()
    client = await site.signed_in("member")
    async with opened(client, headers={"Origin": site.url("acme")}) as socket:
        ledger.rows("UPDATE tenants_tenant SET require_mfa = true WHERE slug = 'acme'")
        forget_caches()
        try:
            assert (await close_of(socket))[0] in (4401, 4403)
            assert await me(site.client("acme"), both.access) == 403
            status, said = await post(site.client("acme"), "/api/auth/refresh", {"refresh_token": both.refresh})
            assert (status, said["error"]) == (403, "MFA_ENROLMENT_REQUIRED")
        finally:
            ledger.rows("UPDATE tenants_tenant SET require_mfa = false WHERE slug = 'acme'")
            forget_caches()


def test_an_actor_that_must_enrol_may_do_nothing(db: Platform, strict: None) -> None:
    """Whatever asks an Actor anything gets the same answer."""
    with scope.platform():
        tenant = resolve.lookup("acme.localhost")
    assert tenant is not None
    with scope.bind(tenant):
        actor = selectors.actor_of_user(person("owner@acme.test").pk)
        assert actor is not None
        assert (actor.must_enrol, actor.actions) == (True, frozenset())
        for action in ("chat:read", "admin:owner"):
            with pytest.raises(PaasError) as caught:
                actor.require(action)
            assert caught.value.code == "mfa_enrolment_required"
        assert tokens.is_token("a.b.c")


# --- operators ---------------------------------------------------------------------------------------


async def test_an_operator_resets_a_lost_factor(site: Any, db: Platform, operator: Any) -> None:
    set_up_app(EMAIL, db.acme)
    client = site.client()
    await send(client, "/admin/login/", email=operator.email, password=PASSWORD)
    page = f"/admin/accounts/user/{in_thread(person).pk}/reset-factors/"
    status, said, _ = await send(client, page, reason="short")
    assert status == 200
    assert in_thread(lambda: second_factor.is_enrolled(person()))
    status, said, _ = await send(client, page, reason="Phone lost; called back on the known number")
    assert status == 302, said
    assert not in_thread(lambda: second_factor.is_enrolled(person()))

    def row() -> Any:
        with scope.platform():
            return AuditEvent.objects.get(action="mfa.reset")

    found = in_thread(row)
    assert (found.actor, found.data["removed"]) == (f"operator:{operator.pk}", 2)
    assert found.data["reason"].startswith("Phone lost")


def test_only_operators_reset(db: Platform) -> None:
    set_up_app(EMAIL)
    with scope.platform():
        for reason in ("", "short", "x" * 400):
            with pytest.raises(PaasError, match="reason"):
                second_factor.factors_reset(user=person(), operator=person(), reason=reason)
        with pytest.raises(PaasError, match="allow"):
            second_factor.factors_reset(user=person(), operator=person(), reason="because I want it")
        assert second_factor.is_enrolled(person())
