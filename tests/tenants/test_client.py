"""Whose address counts: what a client writes into X-Forwarded-For does not (P38, P40, A17)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from tenants import client
from tests.services import Services
from tests.site import Site


def seen(forwarded: list[str], peer: str = "203.0.113.9") -> str:
    """The address behind these header lines."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return client.client_of({"headers": headers, "client": (peer, 1)}).address


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda number: monkeypatch.setattr(settings, "TRUSTED_PROXIES", number)


def spoofed() -> str:
    return ".".join(str(random.randrange(1, 255)) for _ in range(4))


def test_without_a_proxy_the_peer_counts(proxies: Any) -> None:
    proxies(0)
    assert {seen([spoofed()]) for _ in range(100)} == {"203.0.113.9"}
    assert {seen([f"{spoofed()}, {spoofed()}", spoofed()]) for _ in range(100)} == {"203.0.113.9"}


def test_behind_a_proxy_what_it_appended_counts(proxies: Any) -> None:
    """One proxy appends the address that it saw; a hundred inventions before that are one client (P40)."""
    proxies(1)
    assert {seen([f"{spoofed()}, 198.51.100.7"]) for _ in range(100)} == {"198.51.100.7"}
    assert {seen([spoofed(), "198.51.100.7"]) for _ in range(100)} == {"198.51.100.7"}
    assert seen(["198.51.100.7"]) == "198.51.100.7"
    assert seen([]) == "203.0.113.9", "who comes past the proxy is its own address"


def test_behind_two_proxies(proxies: Any) -> None:
    proxies(2)
    assert {seen([f"{spoofed()}, 198.51.100.7, 10.0.0.2"]) for _ in range(100)} == {"198.51.100.7"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("not an address", ""),
        ("198.51.100.7; drop table", ""),
    ],
)
def test_an_address_has_one_form(proxies: Any, written: str, read: str) -> None:
    proxies(1)
    assert seen([written]) == read


def test_one_party_is_one_network() -> None:
    assert client.network_of("2001:db8::1") == client.network_of("2001:db8::ffff:1")
    assert client.network_of("2001:db8::1") != client.network_of("2001:db8:0:1::1")
    assert client.network_of("198.51.100.7") == "198.51.100.7"


async def test_invented_addresses_share_a_bucket(site: Site, services: Services) -> None:
    """P40, A17: over a real socket, each request with another invented address; all count as one party's."""
    stranger = site.client()
    for _ in range(20):
        headers = {"X-Forwarded-For": spoofed(), "X-Real-IP": spoofed(), "Forwarded": f"for={spoofed()}"}
        async with stranger.get("/signup/slug/?slug=x", headers=headers) as answer:
            assert answer.status == 200
    with Redis.from_url(services.redis.url) as redis:
        assert redis.keys("*:rate:slug:*") == [b"platform:rate:slug:127.0.0.1"]
