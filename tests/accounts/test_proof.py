"""Operators and who they are: a second factor where the platform asks for one, and proof anew after a while (P61)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings

from accounts import proof
from accounts.models import User
from core import clock
from tenants import scope
from tenants.models import Tenant
from tests.accounts.factors import app_code, one_half_minute, set_up_app  # noqa: F401 - a fixture
from tests.conftest import PASSWORD, Platform
from tests.console import Console, console  # noqa: F401 - the fixture

SET_UP = "/accounts/profile/security/"


def old(console: Console) -> None:
    """The operator's session has not been proven for a quarter of an hour."""
    session = console.client.session
    session[proof.PROVEN_AT] = clock.now().timestamp() - proof.SECONDS - 1
    session.save()


def proves(console: Console, following: str, **fields: Any) -> Any:
    return console.client.post(f"/admin/proof/?{urlencode({'next': following})}", fields)


def dangerous(db: Platform) -> list[str]:
    with scope.platform():
        person = User.objects.get(email="owner@acme.test").pk
    return [
        f"/admin/tenants/tenant/{db.acme.id}/delete-with-grace", f"/admin/accounts/user/{person}/act-as",
        f"/admin/accounts/user/{person}/reset-factors", "/admin/usage/price/set", "/admin/usage/margin/set",
        "/admin/tenants/plan/add", "/admin/tenants/plan/free/change", "/admin/tenants/plan/free/delete",
    ]  # fmt: skip


def test_dangerous_acts_ask_again(db: Platform, console: Console) -> None:
    paths = dangerous(db)
    with scope.platform():
        for path in paths:
            assert console.get(path).status_code == 200, f"{path}: just signed in"
        old(console)
        for path in paths:
            sent = console.post(path, confirm="acme", reason="because I want to")
            for answer, status in ((console.get(path), 302), (sent, 307)):
                assert answer.status_code == status, path
                assert answer["Location"].startswith(f"{proof.PAGE}?next=%2Fadmin%2F"), path
        assert console.get("/admin/tenants/tenant").status_code == 200, "to look is not dangerous"
        assert console.get(f"/admin/tenants/tenant/{db.acme.id}/suspend").status_code == 200, "nor what is undone"

        wrong = proves(console, f"{paths[0]}/", proof="no")
        assert (wrong.status_code, console.get(paths[0]).status_code) == (400, 302)
        right = proves(console, f"{paths[0]}/", proof=PASSWORD)
        assert (right.status_code, right["Location"]) == (302, f"{paths[0]}/")
        for path in paths:
            assert console.get(path).status_code == 200, path
        away = proves(console, "https://elsewhere.test/", proof=PASSWORD)
        assert away["Location"] == "/admin/", "no way off the site"


def test_what_was_sent_when_the_proof_had_grown_old_is_done_when_it_is_given(db: Platform, console: Console) -> None:
    """Nothing that was typed is lost, and a mistake in the password costs no more than another try."""
    path = "/admin/usage/price/set/"
    typed = {"provider_kind": "openai", "model": "<made> up", "tags": ["a", "b"]}
    with scope.platform():
        assert console.get(path).status_code == 200
        old(console)
        sent = console.client.post(path, typed)
        assert sent.status_code == 307
        asked = console.client.post(sent["Location"], typed)
        assert asked.status_code == 200, "nothing is wrong yet"
        wrong = console.client.post(sent["Location"], typed | {"proof": "no"})
        for page in (asked, wrong):
            content = page.content.decode()
            assert '<input type="hidden" name="model" value="&lt;made&gt; up">' in content
            assert [f'name="tags" value="{one}"' in content for one in "ab"] == [True, True]
        assert "What you have sent is done then." in asked.content.decode()
        assert wrong.status_code == 400
        done = console.client.post(sent["Location"], typed | {"proof": PASSWORD})
        content = done.content.decode()
        assert done.status_code == 200
        assert f'action="{path}" data-send-on' in content
        assert 'name="model" value="&lt;made&gt; up"' in content
        assert PASSWORD not in content, "which is not sent on"
        filled = console.client.post(path, typed).content.decode()
        assert 'value="&lt;made&gt; up"' in filled, "the form has it, and says what is missing"


def test_the_api_asks_again_before_it_deletes_a_tenant(db: Platform, console: Console) -> None:
    def deleted(**fields: Any) -> tuple[int, dict[str, Any]]:
        answer: Any = console.client.delete(f"/api/v1/tenants/{db.globex.id}", fields, "application/json")
        return answer.status_code, answer.json()

    with scope.platform():
        old(console)
        for wrong in (
            deleted(),
            deleted(proof=""),
            console.client.delete(f"/api/v1/tenants/{db.globex.id}", [], "application/json"),
        ):
            status, found = wrong if isinstance(wrong, tuple) else (wrong.status_code, wrong.json())
            assert (status, found["error"]["code"]) == (403, "permission_denied")
            assert found["error"]["details"] == {"param": "proof"}
        assert deleted(proof="no")[1]["error"]["code"] == "invalid_credentials"
        assert Tenant.objects.get(pk=db.globex.id).status == Tenant.Status.ACTIVE
        assert deleted(proof=PASSWORD)[0] == 202
        assert deleted()[0] == 202, "good for fifteen minutes"


def test_a_code_is_a_proof_and_tries_are_counted(db: Platform, console: Console, one_half_minute: None) -> None:
    with scope.platform():
        secret, _codes = set_up_app(console.user.email)
        old(console)
        assert proves(console, "/admin/", proof=app_code(secret)).status_code == 302
        assert console.get("/admin/usage/price/set").status_code == 200
        old(console)
        for _try in range(6):
            assert proves(console, "/admin/", proof="wrong").status_code == 400
        assert proves(console, "/admin/", proof=PASSWORD).status_code == 400


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "OPERATORS_NEED_SECOND_FACTOR", True)
    yield


def test_no_console_without_a_second_factor(
    db: Platform, console: Console, strict: None, one_half_minute: None
) -> None:
    with scope.platform():
        for path in ("/admin", "/admin/tenants/tenant", "/admin/usage/price/set", "/admin/proof"):
            answer = console.get(path)
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/"), path
        assert console.get("/admin/login")["Location"] == SET_UP, "which leads to where it is set up"
        assert 'data-testid="console-waits"' in console.get(SET_UP).content.decode()
        api: Any = console.client.get("/api/v1/tenants")
        assert (api.status_code, api.json()["error"]["code"]) == (403, "mfa_enrolment_required")
        set_up_app(console.user.email)
        assert 'data-testid="console-waits"' not in console.get(SET_UP).content.decode()
        assert console.get("/admin/tenants/tenant").status_code == 200
        assert console.client.get("/api/v1/tenants").status_code == 200


def test_production_insists_on_it() -> None:
    """By what the settings say; to load them here would change those of the tests."""
    source = (settings.ROOT / "paas" / "settings" / "prod.py").read_text()
    assert 'OPERATORS_NEED_SECOND_FACTOR = env.flag("OPERATORS_NEED_SECOND_FACTOR", True)' in source
    assert settings.OPERATORS_NEED_SECOND_FACTOR is False
