"""Configuration as code: what a file makes, twice, wrongly, and only for show."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import ApiKey, AuditEvent, Membership, User
from agents.models import Agent
from llm.models import ProviderAccount
from paas.declaration import DeclarationError, parse
from tenants import provisioning, scope
from tenants.models import Limit, Tenant
from tenants.selectors import tenant_by_slug

FILE = """
tenants:
- slug: {slug}
  name: Initech
  plan: pro
  members: [{{email: Boss@{slug}.test, role: owner, password: "long enough words"}}]
  providers: [{{name: vendor, kind: openai_compatible, base_url: "http://127.0.0.1:9900/v1", api_key: sk-secretsecret}}]
  agents:
  - {{slug: bench, name: Bench, provider: vendor, model: bench-0-0-200, instructions: "Be brief."}}
  - {{slug: crew, team: {{mode: parallel, members: [bench, {{agent: bench, role: "Doubt it."}}]}}}}
  api_keys: [{{name: ci, scopes: ["*"]}}]
"""


@pytest.fixture
def apply(db: Any, tmp_path: Path) -> Iterator[Any]:
    def run(text: str, **options: Any) -> str:
        path = tmp_path / "file.yaml"
        path.write_text(text)
        out = io.StringIO()
        call_command("apply", file=path, stdout=out, **options)
        return out.getvalue()

    yield run
    with scope.platform():
        made = list(Tenant.objects.exclude(slug__in=["acme", "globex"]))
        for tenant in made:
            tenant.delete()
        User.objects.filter(email__startswith="boss@").delete()
    for tenant in made:
        provisioning.drop_schema(tenant.schema_name)


def changes(apply: Any, text: str, **options: Any) -> list[tuple[str, str, str]]:
    found = json.loads(apply(text, json=True, **options))
    return [(one["kind"], one["name"], one["change"]) for one in found]


def test_a_file_makes_a_tenant_and_the_second_time_nothing(apply: Any) -> None:
    text = FILE.format(slug="initech")
    first = json.loads(apply(text, json=True))
    assert {one["change"] for one in first} == {"created"}
    token = next(one["token"] for one in first if one["kind"] == "api_key")
    assert token.startswith("ak_")
    assert {change for _, _, change in changes(apply, text)} == {"unchanged"}
    assert token not in apply(text)
    with scope.platform():
        tenant = tenant_by_slug("initech")
        assert Membership.objects.get(tenant__slug="initech").user.email == "boss@initech.test"
    assert tenant is not None
    with scope.bind(tenant):
        account = ProviderAccount.objects.get()
        assert (account.api_key, account.allow_private) == ("sk-secretsecret", True)
        assert AuditEvent.objects.filter(action="tenant.created").count() == 1


def test_what_is_left_out_stays_as_it_is(apply: Any) -> None:
    apply(FILE.format(slug="hooli"))
    short = """
tenants:
- slug: hooli
  agents: [{slug: bench, provider: vendor, model: bench-0-0-100}]
"""
    assert changes(apply, short) == [("tenant", "hooli", "unchanged"), ("agent", "bench", "updated")]
    with scope.platform():
        tenant = Tenant.objects.get(slug="hooli")
        assert (tenant.name, tenant.plan_id) == ("Initech", "pro")
    with scope.bind(tenant.ref()):
        agent = Agent.objects.select_related("current").get(slug="bench")
        assert agent.current is not None
        assert (agent.name, agent.current.number, agent.current.instructions) == ("Bench", 2, "Be brief.")


def test_dry_run_says_the_same_and_leaves_nothing(apply: Any, admin_url: str) -> None:
    assert "ak_" not in apply(FILE.format(slug="pied"), dry_run=True)
    said = changes(apply, FILE.format(slug="pied"), dry_run=True)
    assert {change for _, _, change in said} == {"created"}
    with scope.platform():
        assert tenant_by_slug("pied") is None
        assert not User.objects.filter(email="boss@pied.test").exists()
    assert said == changes(apply, FILE.format(slug="pied"))


def test_a_key_with_a_new_token_replaces_the_old_one(apply: Any) -> None:
    text = "tenants: [{slug: acme, api_keys: [{name: own, scopes: ['chat:read'], token: %s}]}]"
    assert changes(apply, text % "ak_aaaaaaaaaaaa")[1] == ("api_key", "own", "created")
    assert changes(apply, text % "ak_aaaaaaaaaaaa")[1] == ("api_key", "own", "unchanged")
    assert changes(apply, text % "ak_bbbbbbbbbbbb")[1] == ("api_key", "own", "updated")


def test_a_mistake_in_one_tenant_undoes_all_of_it(apply: Any) -> None:
    text = FILE.format(slug="vandelay").replace("provider: vendor", "provider: nobody")
    with pytest.raises(CommandError, match=r"vandelay: Agent bench: there is no provider 'nobody'"):
        apply(text)
    with scope.platform():
        assert tenant_by_slug("vandelay") is None
        assert not User.objects.filter(email="boss@vandelay.test").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenants: [{slug: admin}]", "reserved"),
        ("tenants: [{slug: Bad_Slug}]", "small letters"),
        ("tenants: [{slug: acme, plan: gold}]", "no plan 'gold'"),
        ("tenants: [{slug: acme, members: [{email: nobody, role: owner}]}]", "valid email"),
        ("tenants: [{slug: acme, members: [{email: a@b.test, role: king}]}]", "king"),
        ("tenants: [{slug: acme, api_keys: [{name: x, scopes: [fly]}]}]", "Unknown scopes: fly"),
        ("tenants: [{slug: acme, providers: [{name: x, kind: nothing}]}]", "nothing"),
        ("tenants: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said(apply: Any, text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        apply(text)


def test_every_mistake_of_a_file_is_named_with_its_place() -> None:
    with pytest.raises(DeclarationError) as found:
        parse({"tenants": [{"members": [{"role": 3, "mail": "x"}], "agents": {}}, "x"], "tenant": 1})
    assert sorted(str(found.value).splitlines()) == [
        "tenant: is not known here",
        "tenants[0].agents: must be a list",
        "tenants[0].members[0].email: is needed",
        "tenants[0].members[0].mail: is not known here",
        "tenants[0].members[0].role: must be a text",
        "tenants[0].slug: is needed",
        "tenants[1]: must be a mapping",
    ]
    supervisor = {"slug": "b", "provider": "p", "team": {"mode": "supervisor", "members": ["a"]}}
    with pytest.raises(DeclarationError) as found:
        parse({"tenants": [{"slug": "x", "agents": [{"slug": "a", "model": "m"}, supervisor]}]})
    assert str(found.value).splitlines() == [
        "tenants[0].agents[0].provider: is needed",
        "tenants[0].agents[1].model: is needed",
    ]


KEYS = """
  - {{name: top, scopes: ["chat:*", "agents:execute"], agents: [bench], networks: [203.0.113.0/24],
     tokens_per_month: 5000, expires_at: 2999-01-01}}
  - {{name: below, scopes: ["chat:read"], parent: top{more}}}
"""


def _with_keys(more: str = "") -> str:
    text = FILE.format(slug="initech").replace('  api_keys: [{name: ci, scopes: ["*"]}]', "  api_keys:")
    return text.rstrip() + KEYS.format(more=more)


def test_a_file_limits_keys(apply: Any) -> None:
    """Below one another too; the second time nothing changes, and what is left out stays."""
    made = changes(apply, _with_keys())
    assert [one for one in made if one[0] == "api_key"] == [
        ("api_key", "top", "created"),
        ("api_key", "below", "created"),
    ]
    assert {what for _, _, what in changes(apply, _with_keys())} == {"unchanged"}
    tenant = _tenant("initech")
    with scope.bind(tenant):
        top, below = ApiKey.objects.get(name="top"), ApiKey.objects.get(name="below")
        assert (top.allowed_agents, top.allowed_networks, top.tokens_per_month) == (["bench"], ["203.0.113.0/24"], 5000)
        assert top.expires_at.isoformat().startswith("2999-01-01T23:59:59")
        assert (below.parent_id, below.created_by_id) == (top.pk, None)
    changed = changes(apply, _with_keys().replace("tokens_per_month: 5000, ", ""))
    assert {what for _, _, what in changed} == {"unchanged"}
    changed = changes(apply, _with_keys().replace("5000", "null"))
    assert ("api_key", "top", "updated") in changed
    with scope.bind(tenant):
        assert ApiKey.objects.get(name="top").tokens_per_month is None


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (", agents: [bench, other]", "The key above may not use this: other"),
        (", networks: [203.0.113.0/24, 8.8.8.8]", "The key above may not come from 8.8.8.8"),
        (", networks: [203.0.113.1/24]", "no address or network"),
        (", tokens_per_month: 6000", "The key above has 5000"),
        (", expires_at: 2999-01-02", "The key above expires"),
        (", tokens_per_month: true", "must be a whole number"),
        (", expires_at: tomorrow", "must be a date"),
    ],
)
def test_a_file_cannot_make_a_key_wider_than_the_one_above(apply: Any, more: str, problem: str) -> None:
    with pytest.raises(CommandError, match=re.escape(problem)):
        apply(_with_keys(more))
    assert _tenant("initech") is None, "all of the file or nothing"


def test_a_key_needs_the_one_above_to_be_there(apply: Any) -> None:
    with pytest.raises(CommandError, match="there is no key 'nobody' above it"):
        apply(_with_keys().replace("parent: top", "parent: nobody"))


def _tenant(slug: str) -> Any:
    with scope.platform():
        return tenant_by_slug(slug)


LIMITS = """
  limits:
  - {{metric: cost, period: month, currency: USD, limit: "12.50"}}
  - {{metric: users, limit: 7}}
  - {{member: boss@{slug}.test, metric: tokens, period: day, limit: {tokens}}}
  - {{agent: bench, metric: requests, period: minute, limit: 30}}
  - {{api_key: ci, metric: tokens, period: month, limit: 5000}}
"""


def test_a_file_sets_limits(apply: Any) -> None:
    """Of the workspace and of those in it; the second time nothing, and another amount is an update."""
    text = FILE + LIMITS
    first = [change for kind, _, change in changes(apply, text.format(slug="limited", tokens=1000)) if kind == "limit"]
    assert first == ["created"] * 5
    assert {what for _, _, what in changes(apply, text.format(slug="limited", tokens=1000))} == {"unchanged"}
    again = [one for one in changes(apply, text.format(slug="limited", tokens=900)) if one[2] != "unchanged"]
    assert again == [("limit", "boss@limited.test tokens day", "updated")]
    with scope.platform():
        rows = Limit.objects.filter(tenant__slug="limited").order_by("level", "metric")
        found = [(one.level, one.metric, one.period, one.currency, str(one.amount.normalize())) for one in rows]
        assert found == [
            ("agent", "requests", "minute", "", "3E+1"), ("tenant", "cost", "month", "USD", "12.5"),
            ("tenant", "users", "", "", "7"), ("user", "tokens", "day", "", "9E+2"),
        ]  # fmt: skip
        assert ApiKey.objects.get(tenant__slug="limited").tokens_per_month == 5000
        assert AuditEvent.objects.filter(tenant__slug="limited", action="limit.set").count() == 5


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("{metric: tokens, period: year, limit: 1}", "no such limit"),
        ("{member: nobody@x.test, metric: tokens, period: day, limit: 1}", "no member"),
        ("{metric: tokens, period: day, limit: 1.5}", "must be a whole number"),
    ],
)
def test_a_limit_that_is_none(apply: Any, limit: str, said: str) -> None:
    with pytest.raises((CommandError, DeclarationError), match=said):
        apply(FILE.format(slug="limited") + f"  limits: [{limit}]\n", dry_run=True)
