"""Which hosts a proxy may get certificates for, and who is told (P63)."""

from __future__ import annotations

from typing import Any

import pytest

from paas import certificates
from tenants import resolve, scope
from tenants.models import Domain, RetiredSlug, Tenant
from tenants.ratelimit import Limit
from tests.conftest import Platform, in_thread


async def asked(client: Any, host: str, **headers: str) -> int:
    async with client.get(certificates.PATH, params={"domain": host}, headers=headers) as answer:
        return int(answer.status)


async def test_hosts_of_ours_and_of_nobody(site: Any, db: Platform) -> None:
    def prepare() -> None:
        with scope.platform():
            Domain.objects.create(domain="chat.acme.example", tenant_id=db.acme.id)
            RetiredSlug.objects.create(slug="acme-of-old", tenant_id=db.acme.id)
            Tenant.objects.filter(pk=db.globex.id).update(status="suspended")

    in_thread(prepare)
    try:
        client = site.client()
        for host in ("localhost", "acme.localhost", "ACME.localhost", "chat.acme.example", "acme-of-old.localhost"):
            assert await asked(client, host) == 200, host
        assert await asked(client, "globex.localhost") == 200, "who is suspended is told so, over TLS"
        for host in ("nobody.localhost", "a.acme.localhost", "evil.example", "", "a b", "localhost.evil.example"):
            assert await asked(client, host) == 404, host
        async with client.get(f"{certificates.PATH}?domain=acme.localhost&domain=evil.example") as answer:
            assert answer.status == 404
        # Asked of any host, because a proxy knows the process by its address.
        assert await asked(client, "acme.localhost", Host="10.0.0.7:8000") == 200
    finally:
        in_thread(lambda: back(db))


def back(db: Platform) -> None:
    with scope.platform():
        Domain.objects.all().delete()
        Tenant.objects.filter(pk=db.globex.id).update(status="active")


async def test_no_visitor_is_told_and_nobody_asks_for_ever(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.client()
    assert await asked(client, "acme.localhost", **{"X-Forwarded-For": "203.0.113.7"}) == 404
    monkeypatch.setattr(certificates, "QUESTIONS", Limit("certificate", rate=3, period=60.0))
    found = []
    for number in range(5):
        found.append(await asked(client, f"nobody-{number}.localhost"))
    assert found == [404, 404, 404, 429, 429]
    assert await asked(client, "localhost") == 200, "the platform's own host is not counted"
    resolve.forget_all()
