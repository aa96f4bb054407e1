"""A provider that goes wrong, or is not where it may be: one clear page each, nothing signed in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings

from accounts.models import IdentityProvider
from tenants import scope
from tests.accounts.idp import DISCOVERY, TOKEN, Idp
from tests.accounts.oidc_browser import (  # noqa: F401 - fixtures
    NEW,
    arrive,
    audited,
    connect,
    door,
    go,
    idp,
    of_platform,
    own,
    realm,
    refused,
    whoami,
)
from tests.conftest import Platform, in_thread
from tests.contracts.sampling import sampled, turn
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


Answer = dict[str, str]


def _answer(**parameters: str) -> Any:
    """The provider sends these instead of a code."""
    return lambda idp, given: {"state": given["state"], **parameters}


def _document(**changed: Any) -> Any:
    """The provider publishes something else meanwhile."""

    def do(idp: Idp, given: Answer) -> Answer:
        idp.tamper[DISCOVERY] = lambda document: {**document, **changed}
        return given

    return do


def _sends(path: str, status: int, body: bytes) -> Any:
    def do(idp: Idp, given: Answer) -> Answer:
        idp.plain[path] = status, body
        return given

    return do


def _no_id_token(idp: Idp, given: Answer) -> Answer:
    idp.tamper[TOKEN] = lambda tokens: {name: value for name, value in tokens.items() if name != "id_token"}
    return given


def _stalls(idp: Idp, given: Answer) -> Answer:
    idp.stall.add(TOKEN)
    return given


def _gone(idp: Idp, given: Answer) -> Answer:
    idp.__exit__()
    return given


INSIDE = "http://169.254.169.254/latest"
FAULTS: dict[str, tuple[int, str, Any]] = {
    "denied": (403, "identity_cancelled", _answer(error="access_denied")),
    "server_error": (502, "identity_provider_failed", _answer(error="server_error", error_description="<b>")),
    "no code": (502, "identity_provider_failed", _answer()),
    "endless": (502, "identity_provider_failed", _answer(code="x" * 5000)),
    "made up code": (502, "identity_provider_refused", _answer(code="guess")),
    "another's answer": (502, "identity_token_invalid", lambda idp, given: {**given, "iss": "https://evil.test"}),
    "silent about itself": (
        502, "identity_token_invalid", _document(authorization_response_iss_parameter_supported=True)
    ),
    "wrong nonce": (502, "identity_token_invalid", lambda idp, given: given),
    "no id token": (502, "identity_token_invalid", _no_id_token),
    "another issuer": (502, "identity_issuer_mismatch", _document(issuer="https://evil.test")),
    "nothing where it should be": (502, "identity_provider_failed", _document(token_endpoint=None)),
    "token endpoint inside": (502, "identity_address_forbidden", _document(token_endpoint=INSIDE)),
    "jwks inside": (502, "identity_address_forbidden", _document(jwks_uri=INSIDE)),
    "token endpoint in the clear": (502, "identity_address_forbidden", _document(token_endpoint="http://x.test/t")),
    "no address": (502, "identity_provider_unavailable", _document(token_endpoint="http://[")),
    "another scheme": (502, "identity_address_forbidden", _document(jwks_uri="file:///etc/passwd")),
    "a script": (502, "identity_provider_failed", _document(authorization_endpoint="javascript:alert(1)")),
    "no keys": (502, "identity_token_invalid", _sends("/jwks", 200, b'{"keys": []}')),
    "broken keys": (502, "identity_provider_failed", _sends("/jwks", 200, b'{"keys": ')),
    "deep": (502, "identity_provider_failed", _sends("/jwks", 200, b"[" * 200_000)),
    "not JSON": (502, "identity_provider_failed", _sends(TOKEN, 503, b"<h1>no</h1>")),
    "redirects": (502, "identity_provider_failed", _sends(TOKEN, 307, b"{}")),
    "stalls": (504, "identity_provider_timeout", _stalls),
    "too much": (502, "identity_provider_unavailable", _sends("/jwks", 200, b" " * 600_000)),
    "gone": (502, "identity_provider_unavailable", _gone),
}  # fmt: skip


@pytest.mark.parametrize("fault", sampled(FAULTS, lambda fault: turn(fault) % 3 == 0))
async def test_each_fault_of_a_provider_is_one_clear_page(
    door: Site, db: Platform, idp: Idp, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import oidc_wire

    key = own(db, idp)
    connect("member@acme.test", realm(db, key), "s-21")
    client = door.client("acme")
    idp.wrong_nonce = fault == "wrong nonce"
    address = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-21")
    status, code, happen = FAULTS[fault]
    given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    if fault == "stalls":
        monkeypatch.setattr(oidc_wire, "SECONDS", 0.3)
    found = await refused(client, f"{address.partition('?')[0]}?{urlencode(happen(idp, given))}")
    assert found[:2] == (status, code)
    assert "<b>" not in found[2]
    assert f'href="{door.url("acme")}/login/"' in found[2]
    assert await whoami(client) == 401
    assert audited(db)[-1][1]["reason"] == code


async def test_a_fault_on_the_way_out(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp)
    client = door.client("acme")
    for document, code in (
        ({"authorization_endpoint": "javascript:alert(1)"}, "identity_provider_failed"),
        ({"issuer": "https://evil.test"}, "identity_issuer_mismatch"),
        ({"authorization_endpoint": f"{idp.issuer}/page?tenant=7"}, ""),
    ):
        idp.tamper[DISCOVERY] = lambda found, changed=document: {**found, **changed}  # type: ignore[misc]
        if code:
            assert (await refused(client, f"/login/oidc/{key}/"))[:2] == (502, code)
        else:
            assert (await go(client, f"/login/oidc/{key}/")).startswith(
                f"{idp.issuer}/page?tenant=7&response_type=code"
            )


async def test_clocks_may_differ_by_a_minute(door: Site, db: Platform) -> None:
    for seconds, good in ((-30, True), (-90, False)):
        with Idp(lasts=timedelta(seconds=seconds)) as idp:
            key = own(db, idp, name=f"Clock {seconds}")
            connect("member@acme.test", realm(db, key), "s-22")
            client = door.client("acme")
            answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-22")
            if good:
                assert await go(client, await go(client, answer)) == "/chat/"
            else:
                assert (await refused(client, answer))[:2] == (502, "identity_clock")


async def test_a_tenants_issuer_inside_our_network_is_not_called(
    door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P49, P50: without the operator's leave nothing is dialled, and the page says nothing about what is there."""
    key = own(db, idp)
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [])
    client = door.client("acme")
    client.headers["Accept-Language"] = "zh-hans"
    status, code, text = await refused(client, f"/login/oidc/{key}/")
    assert (status, code) == (502, "identity_address_forbidden")
    assert "127.0.0.1" not in text
    assert "返回登录" in text
    assert idp.asked == []


async def test_what_is_switched_off_or_suspended_meanwhile(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="member")
    client = door.client("acme")
    answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-23")

    def off() -> None:
        with scope.bind(db.acme):
            IdentityProvider.objects.filter(pk=key).update(enabled=False)

    in_thread(off)
    assert (await refused(client, answer))[1] == "identity_state"
    assert (await refused(client, f"/login/oidc/{key}/"))[:2] == (404, "not_found")
    async with client.get("/login/") as page:
        assert key not in await page.text()


async def test_tries_are_counted(door: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal import oidc

    monkeypatch.setattr(oidc, "PER_NETWORK", (3, 600.0))
    client = door.client("acme")
    codes = [(await refused(client, "/login/oidc/nobody/"))[1] for _ in range(4)]
    assert codes == ["not_found"] * 3 + ["rate_limited"]
