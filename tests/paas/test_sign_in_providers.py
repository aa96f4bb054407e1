"""Providers of the platform from the environment: whole, or an error that names what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from paas.sign_in_providers import from_environment

NAMES = (
    "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "GITHUB_URL", "OIDC_NAME",
    "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_none_by_default() -> None:
    assert from_environment() == ()


def test_all_three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    set_all(
        monkeypatch, GOOGLE_CLIENT_ID="g", GOOGLE_CLIENT_SECRET_FILE=str(secret), GITHUB_CLIENT_ID="h",
        GITHUB_CLIENT_SECRET="hs", OIDC_ISSUER="https://login.example.com/realms/x", OIDC_CLIENT_ID="o",
        OIDC_CLIENT_SECRET="os",
    )  # fmt: skip
    google, github, oidc = from_environment()
    assert (google["issuer"], google["client_secret"]) == ("https://accounts.google.com", "from-a-file")
    assert (github["kind"], github["issuer"]) == ("github", "https://github.com")
    assert (oidc["key"], oidc["name"], oidc["client_id"]) == ("oidc", "login.example.com", "o")
    set_all(monkeypatch, OIDC_NAME="Our SSO", GITHUB_URL="https://git.example.com")
    assert [one["name"] for one in from_environment()] == ["Google", "GitHub", "Our SSO"]
    assert from_environment()[1]["issuer"] == "https://git.example.com"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"GOOGLE_CLIENT_ID": "g"}, "GOOGLE_CLIENT_SECRET"),
        ({"GITHUB_CLIENT_SECRET": "s"}, "GITHUB_CLIENT_ID"),
        ({"OIDC_ISSUER": "https://x.test"}, "OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"),
        ({"OIDC_CLIENT_ID": "o", "OIDC_CLIENT_SECRET": "s"}, "OIDC_ISSUER"),
    ],
)
def test_half_set(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: str) -> None:
    set_all(monkeypatch, **values)
    with pytest.raises(ImproperlyConfigured, match=named):
        from_environment()


@pytest.mark.parametrize(
    "issuer",
    [
        "login.example.com",
        "http://login.example.com",
        "ftp://x.test",
        "https://",
        "https://x.test/?a=1",
        "https://u:p@x.test",
    ],
)
def test_an_issuer_that_is_no_address(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    set_all(monkeypatch, OIDC_ISSUER=issuer, OIDC_CLIENT_ID="o", OIDC_CLIENT_SECRET="s")
    with pytest.raises(ImproperlyConfigured, match="OIDC_ISSUER"):
        from_environment()


def test_allauth_connects_nobody_by_address() -> None:
    from django.conf import settings

    assert settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION is False
    assert settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT is False
