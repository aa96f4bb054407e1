"""The operator's own model accounts: plans that may use them, and a key that no tenant comes near (T4)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import ProgrammingError, connection

from accounts.models import AuditEvent
from core.errors import PaasError
from llm import selectors, services
from llm.models import ProviderAccount
from llm.platform_accounts import platform_account_set
from tenants import scope
from tenants.models import PlatformProvider, Tenant
from tests.conftest import Platform, forget_caches, in_thread
from tests.site import Site

KEY = "sk-platform-0123456789-nobodys"
MODEL = "bench-0-0-20"
MODELS = {
    MODEL: {"input_price": "1", "output_price": "2", "currency": "USD"},
    "vectors": {"embeddings": True, "embedding_price": "1", "currency": "USD"},
}


def offered(base_url: str = "http://127.0.0.1:9/v1", **fields: Any) -> str:
    """The operator's account `shared`, for the plan pro, on which both tenants are."""
    wanted: dict[str, Any] = {
        "name": "shared", "kind": "openai_compatible", "base_url": base_url, "api_key": KEY, "models": MODELS,
        "plans": ["pro"], "enabled": True, "actor": "operator:test",
    }  # fmt: skip

    def make() -> str:
        with scope.platform():
            return platform_account_set(**wanted | fields)

    found = str(in_thread(make))
    forget_caches()
    return found


def on_plan(tenant: Any, plan: str) -> None:
    def move() -> None:
        with scope.platform():
            Tenant.objects.filter(pk=tenant.id).update(plan=plan)

    in_thread(move)
    forget_caches()


def in_acme(db: Platform, work: Callable[[], Any]) -> Any:
    def run() -> Any:
        with scope.bind(db.acme):
            return work()

    return in_thread(run)


def agent_on(slug: str = "shared-agent", model: str = MODEL) -> None:
    from agents.services import agent_set

    account = selectors.provider_named("shared")
    assert account is not None
    agent_set(slug=slug, provider=account, model=model, actor="test", fields={"name": slug})


def test_rows_follow_the_plan(db: Platform) -> None:
    """A tenant's row has neither key nor address; it goes with the plan, or stays where a version points to it."""

    def rows() -> list[tuple[str, str, str]]:
        return [(one.name, one.api_key, one.base_url) for one in selectors.providers() if one.of_platform]

    offered()
    offered(name="other", plans=["free"])
    assert in_acme(db, rows) == [("shared", "", "")]
    in_acme(db, lambda: ProviderAccount.objects.filter(of_platform=False).update(name="taken"))
    offered(name="taken")
    assert [name for name, _, _ in in_acme(db, rows)] == ["shared", "taken (platform)"]
    in_acme(db, agent_on)
    on_plan(db.acme, "free")
    assert [name for name, _, _ in in_acme(db, rows)] == ["other", "shared"]
    on_plan(db.acme, "pro")


def test_a_tenant_changes_nothing_of_it(db: Platform) -> None:
    """Above all not its address: the key would go there."""
    offered()

    def attempts() -> None:
        account = selectors.provider_named("shared")
        assert account is not None
        for attempt in (
            lambda: services.provider_update(account, actor="a", base_url="https://evil.example/v1"),
            lambda: services.provider_update(account, actor="a", enabled=False),
            lambda: services.provider_test(actor="a", account=account, base_url="https://evil.example/v1"),
            lambda: services.provider_delete(account, actor="a"),
        ):
            with pytest.raises(PaasError, match="only its operator"):
                attempt()
        # Even a row that says so itself does not move the key.
        ProviderAccount.objects.filter(pk=account.pk).update(base_url="https://evil.example/v1")
        account.refresh_from_db()
        assert selectors.provider_ref(account, MODEL).base_url == "http://127.0.0.1:9/v1"

    in_acme(db, attempts)


@pytest.mark.parametrize("statement", ["SELECT sealed_key FROM", "SELECT count(*) FROM", "DELETE FROM"])
def test_no_tenants_role_has_any_right_on_the_table(db: Platform, statement: str) -> None:
    """T3, P8."""
    offered()

    def read() -> None:
        with connection.cursor() as cursor, pytest.raises(ProgrammingError, match="permission denied"):
            cursor.execute(f"{statement} public.tenants_platformprovider")

    in_acme(db, read)


async def test_no_route_tells_the_key_or_the_address(db: Platform, site: Site, api_key: Any) -> None:
    """T4: what an owner can read of it, and files that are made of it."""
    offered("http://vendor.private.lan:9/v1")
    in_acme(db, agent_on)
    owner = await site.signed_in("owner")
    async with owner.get("/api/v1/providers") as answer:
        (shown,) = [one for one in (await answer.json())["providers"] if one["platform"]]
    assert (shown["name"], shown["has_api_key"], shown["base_url"]) == ("shared", False, "")
    paths = [
        f"/api/v1/providers/{shown['id']}", f"/api/v1/providers/{shown['id']}/models", "/settings/providers/",
        "/api/v1/agents/shared-agent", "/api/v1/agents/shared-agent/export", "/api/v1/audit", "/v1/models",
    ]  # fmt: skip
    for path in paths:
        async with owner.get(path) as answer:
            text = await answer.text()
            assert answer.status == 200, f"{path}: {text}"
            assert "sk-platform" not in text, path
            assert "private.lan" not in text, path
    key = site.client("acme", token=api_key())
    for method, path, body in (
        ("PATCH", paths[0], {"base_url": "https://evil.example/v1"}),
        ("POST", f"{paths[0]}/test", {}),
        ("DELETE", paths[0], None),
    ):
        async with key.request(method, path, json=body) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "permission_denied"), path
    async with owner.get(f"/settings/providers/{shown['id']}/") as answer:
        assert answer.status == 403
    rival = site.client("globex", token=api_key("globex"))
    async with rival.get(f"/api/v1/providers/{shown['id']}") as answer:
        assert "sk-platform" not in await answer.text()


def test_a_file_declares_it(db: Platform, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    account = {"name": "shared", "kind": "openai", "api_key": KEY, "plans": ["pro"], "allowed_models": ["gpt-4o"]}
    tenant = {"slug": "acme", "agents": [{"slug": "of-file", "provider": "shared", "model": "gpt-4o"}]}
    path.write_text(json.dumps({"platform": {"providers": [account]}, "tenants": [tenant]}))
    for what in ("created", "unchanged"):
        out = io.StringIO()
        call_command("apply", file=path, json=True, stdout=out)
        assert [one["change"] for one in json.loads(out.getvalue())] == [what, "unchanged", what]
        assert KEY not in out.getvalue()
    with scope.platform():
        kept = PlatformProvider.objects.get()
        assert KEY not in kept.sealed_key
        assert KEY not in str(list(AuditEvent.objects.values_list("data", flat=True)))
        for wrong in ({"plans": ["gold"]}, {"kind": "zhipu"}, {"base_url": "ftp://x"}, {"models": []}):
            with pytest.raises(ValidationError):
                platform_account_set(**{"name": "shared", "kind": "openai", "actor": "x"} | wrong)


async def test_the_console_takes_a_key_and_shows_none(db: Platform, site: Site) -> None:
    from tests.attack.knocking import session_of

    def operator() -> None:
        from accounts.models import User

        with scope.platform():
            User.objects.create_superuser("root@platform.test", "long enough words")

    in_thread(operator)
    cookies = {"sessionid": session_of(None, "root@platform.test"), "csrftoken": "c" * 32}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Origin": site.url()}
    client = site.client()
    form = {
        "csrfmiddlewaretoken": "c" * 32, "name": "shared", "kind": "openai", "base_url": "", "api_key": KEY,
        "models": "{}", "allowed_models": "gpt-4o\ngpt-4o-mini", "plans": "pro", "enabled": "on",
    }  # fmt: skip
    here = "/admin/tenants/platformprovider/"
    async with client.post(f"{here}add/", data=form | {"plans": "gold"}, headers=headers) as answer:
        assert (answer.status, "gold" in await answer.text()) == (200, True)
    async with client.post(f"{here}add/", data=form, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 302, re.findall(r"errorlist.*", await answer.text())
    account = in_thread(read_one)
    assert (account.allowed_models, account.plans) == (["gpt-4o", "gpt-4o-mini"], ["pro"])
    page = f"{here}{account.pk}/change/"
    async with client.get(page, headers=headers) as answer:
        text = await answer.text()
        assert (answer.status, KEY in text, account.sealed_key in text) == (200, False, False)
    changed = {name: value for name, value in form.items() if name not in ("name", "kind")}
    async with client.post(
        page, data=changed | {"api_key": "", "enabled": ""}, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == 302, re.findall(r"errorlist.*", await answer.text())
    kept = in_thread(read_one)
    assert (kept.enabled, kept.sealed_key) == (False, account.sealed_key)
    async with client.post(
        f"{here}{account.pk}/delete/", data={"csrfmiddlewaretoken": "c" * 32, "post": "yes"}, headers=headers
    ) as answer:
        assert answer.status == 200

    def said() -> list[str]:
        with scope.platform():
            assert not PlatformProvider.objects.exists()
            rows = AuditEvent.objects.filter(action__startswith="platform_provider").order_by("seq")
            assert KEY not in str(list(rows.values_list("data", flat=True)))
            return [row.action.partition(".")[2] for row in rows]

    assert in_thread(said) == ["created", "updated", "deleted"]


def read_one() -> PlatformProvider:
    with scope.platform():
        return PlatformProvider.objects.get()


def test_fallbacks_of_the_platform_are_passed_over_with_the_plan(db: Platform) -> None:
    from agents.fallbacks import fallbacks_checked, fallbacks_of
    from llm.catalog import ModelInfo

    offered()

    def fallbacks() -> list[str]:
        kept = fallbacks_checked([{"provider": "shared", "model": MODEL}])
        return [one.model for one in fallbacks_of({"fallbacks": kept}, ModelInfo(currency="USD"))]

    assert in_acme(db, fallbacks) == [MODEL]

    def gone() -> list[Any]:
        kept = fallbacks_checked([{"provider": "shared", "model": MODEL}])
        with scope.platform():
            PlatformProvider.objects.update(enabled=False)
        return list(fallbacks_of({"fallbacks": kept}, ModelInfo(currency="USD")))

    assert in_acme(db, gone) == []
