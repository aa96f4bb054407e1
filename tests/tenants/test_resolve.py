"""Host -> tenant: what is a host, what is remembered and for how long (P63)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from core import remembered
from core.errors import PaasError
from tenants import resolve, scope
from tenants.models import Domain, Tenant
from tests.conftest import Platform, in_thread


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`clock(2.1)`: let that many seconds pass."""
    now = 1000.0

    def pass_(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(remembered, "clock", lambda: now)
    return pass_


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    resolve.forget_all()
    yield
    resolve.forget_all()


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were looked up in the database."""
    seen: list[str] = []
    original = resolve.lookup

    def lookup(host: str) -> Any:
        seen.append(host)
        return original(host)

    monkeypatch.setattr(resolve, "lookup", lookup)
    return seen


def as_platform(work: Callable[[], Any]) -> Any:
    def run() -> Any:
        with scope.platform():
            return work()

    return in_thread(run)


async def code(host: str) -> str:
    """The refusal's code, or "ok"."""
    try:
        await resolve.tenant_of_host(host)
    except PaasError as error:
        return error.code
    return "ok"


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("acme.localhost", "acme.localhost"),
        ("acme.localhost:8000", "acme.localhost"),
        ("ACME.LocalHost:443", "acme.localhost"),
        ("  acme.localhost ", "acme.localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("a", "a"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_of_a_header(header: str, host: str) -> None:
    assert resolve.host_name(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        ":8000",
        "acme.localhost.",
        ".acme.localhost",
        "-acme.localhost",
        "acme_1.localhost",
        "[::1]",
        "[::1]:8000",
        "::1",
        "acme.localhost:",
        "acme.localhost:80:80",
        "acme.localhost:80a",
        "acme.localhost:²",
        "acme.localhost/..",
        "acme.localhost\\",
        "acme@globex.localhost",
        "acme.localhost,globex.localhost",
        "acme.localhost globex.localhost",
        "acme.localhost\x00",
        "acme\n.localhost",
        "acmé.localhost",
        "a" * 254,
        "http://acme.localhost",
    ],
)
def test_what_is_no_host_is_no_tenant(header: str) -> None:
    with pytest.raises(PaasError) as caught:
        resolve.host_name(header)
    assert caught.value.code == "tenant_not_found"
    assert caught.value.status == 404


@given(st.text(max_size=300))
def test_no_text_gets_through_as_anything_but_a_plain_name(header: str) -> None:
    try:
        host = resolve.host_name(header)
    except PaasError:
        return
    assert host == host.lower()
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert 1 <= len(host) <= 253


def test_the_platforms_own_hosts() -> None:
    assert resolve.is_platform_host("localhost")
    assert resolve.is_platform_host("127.0.0.1")
    assert not resolve.is_platform_host("acme.localhost")
    assert not resolve.is_platform_host("localhost.evil.example")


# --- resolution --------------------------------------------------------------------------------------


async def test_a_slug_below_the_base_domain(platform: Platform) -> None:
    assert (await resolve.tenant_of_host("acme.localhost")).id == platform.acme.id
    assert (await resolve.tenant_of_host("globex.localhost")).id == platform.globex.id


@pytest.mark.parametrize(
    "host",
    [
        "nobody.localhost",
        "acme.acme.localhost",
        "acme.example",
        "acme",
        "acme.localhost.example",
        "t_template.localhost",
    ],
)
async def test_other_hosts_are_nobodys(platform: Platform, host: str) -> None:
    assert await code(host) == "tenant_not_found"


async def test_a_domain_of_its_own(db: Platform) -> None:
    as_platform(lambda: Domain.objects.create(domain="chat.acme.example", tenant_id=db.acme.id))
    try:
        assert (await resolve.tenant_of_host("chat.acme.example")).id == db.acme.id
        assert await code("other.acme.example") == "tenant_not_found"
    finally:
        as_platform(lambda: Domain.objects.all().delete())


async def test_it_is_found_whoever_is_bound(platform: Platform) -> None:
    with scope.bind(platform.globex):
        assert (await resolve.tenant_of_host("acme.localhost")).id == platform.acme.id
        assert scope.current_tenant().id == platform.globex.id


# --- memory ------------------------------------------------------------------------------------------


async def test_a_host_is_looked_up_once_in_two_seconds(
    platform: Platform, clock: Callable[[float], None], lookups: list[str]
) -> None:
    for _ in range(5):
        await resolve.tenant_of_host("acme.localhost")
    clock(1.9)
    await resolve.tenant_of_host("acme.localhost")
    assert lookups == ["acme.localhost"]
    clock(0.2)
    await resolve.tenant_of_host("acme.localhost")
    assert lookups == ["acme.localhost"] * 2


async def test_many_at_once_are_one_look_up(platform: Platform, lookups: list[str]) -> None:
    import asyncio

    found = await asyncio.gather(*(resolve.tenant_of_host("acme.localhost") for _ in range(50)))
    assert {tenant.id for tenant in found} == {platform.acme.id}
    assert lookups == ["acme.localhost"]


async def test_unknown_hosts_are_remembered_in_a_bounded_table(
    platform: Platform, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await code("nobody.localhost") == await code("nobody.localhost") == "tenant_not_found"
    assert lookups == ["nobody.localhost"]
    monkeypatch.setattr(resolve._hosts, "most", 20)
    monkeypatch.setattr(resolve, "lookup", lambda host: None)
    for number in range(100):
        assert await code(f"nobody{number}.localhost") == "tenant_not_found"
    assert len(resolve._hosts) == 20


async def test_a_suspension_holds_within_two_seconds(db: Platform, clock: Callable[[float], None]) -> None:
    def set_status(status: str) -> None:
        as_platform(lambda: Tenant.objects.filter(pk=db.acme.id).update(status=status))

    assert await code("acme.localhost") == "ok"
    try:
        set_status("suspended")
        clock(2.1)
        assert await code("acme.localhost") == "tenant_suspended"
        assert await code("globex.localhost") == "ok"
        set_status("deleting")
        clock(2.1)
        assert await code("acme.localhost") == "tenant_deleted", "one that is going is already gone"
        set_status("deleted")
        clock(2.1)
        assert await code("acme.localhost") == "tenant_not_found"
    finally:
        set_status("active")
    clock(2.1)
    assert await code("acme.localhost") == "ok"


async def test_a_look_up_that_fails_is_not_remembered(
    platform: Platform, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, broken = resolve.lookup, True

    def lookup(host: str) -> Any:
        if broken:
            raise PaasError("database_unavailable")
        return original(host)

    monkeypatch.setattr(resolve, "lookup", lookup)
    assert await code("acme.localhost") == "database_unavailable"
    broken = False
    assert await code("acme.localhost") == "ok"


def test_each_loop_looks_up_for_itself(platform: Platform) -> None:
    """A memory outlives an event loop; a look-up does not."""
    import asyncio

    for _ in range(3):
        assert asyncio.run(code("acme.localhost")) == "ok"
        resolve.forget_all()


def test_a_look_up_is_one_query(platform: Platform) -> None:
    from django.test.utils import CaptureQueriesContext

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            resolve.lookup("acme.localhost")
        return len(queries)

    assert as_platform(count) == 1


def test_addresses_of_tenants() -> None:
    assert resolve.tenant_url("acme") == "http://acme.localhost:8000"
