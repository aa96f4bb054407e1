"""What a body must not be able to set (A4): whose a row is, who is an operator, what a tenant may use."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import ApiKey, IdentityProvider, Invitation, Membership, User
from chat.models import Conversation
from tenants import scope
from tenants.models import Plan, Tenant
from tests.conftest import Platform, in_thread
from tests.site import Site

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", "/api/v1/me", {"name": "Rival"}),
    ("POST", "/api/v1/keys", {"name": "made", "scopes": ["chat:read"]}),
    ("POST", "/api/v1/invitations", {"email": "new@globex.test", "role": "member"}),
    (
        "POST",
        "/api/v1/identity-providers",
        {"name": "made", "issuer": "https://login.example.com", "client_id": "x", "client_secret": "y"},
    ),
    ("POST", "/api/v1/runs", {"agent": "assistant", "message": "x"}),
    ("POST", "/api/v1/owner-transfer", {"user_id": "00000000-0000-0000-0000-000000000000"}),
]
OWNED = (ApiKey, Invitation, IdentityProvider, Membership)


def state(db: Platform) -> Any:
    """What nothing of it may change: acme's rows, who is who on the platform, plans and statuses."""

    def read() -> Any:
        with scope.platform():
            shared = [
                [model.objects.filter(tenant_id=db.acme.id).count() for model in OWNED],
                sorted(map(str, User.objects.values_list("id", "email", "is_staff", "is_superuser", "is_active"))),
                sorted(map(str, Tenant.objects.values_list("id", "slug", "plan_id", "status", "schema_name"))),
                sorted(map(str, Plan.objects.values_list())),
            ]
        with scope.bind(db.acme):
            return shared, Conversation.objects.count()

    return in_thread(read)


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[path for _, path, _ in WRITES])
async def test_a_body_sets_nothing_beyond_itself(
    db: Platform, site: Site, method: str, path: str, body: dict[str, Any]
) -> None:
    """The owner of globex adds to each write what only the platform decides; it is refused or ignored."""
    client = await site.signed_in("rival", "globex")
    acme, before = str(db.acme.id), state(db)
    more = {
        "tenant": acme, "tenant_id": acme, "schema_name": db.acme.schema, "owner": "owner@acme.test", "user": 1,
        "is_staff": True, "is_superuser": True, "is_active": False, "token_version": 99, "plan": "enterprise",
        "plan_id": "enterprise", "status": "active", "quota": 10**12, "allowance": 10**12, "created_by": "x",
        "revoked_at": None, "digest": "00", "id": "00000000-0000-0000-0000-000000000001",
    }  # fmt: skip
    headers = {"X-CSRFToken": site.csrf(client, "globex")}
    async with client.request(method, path, json=more | body, headers=headers) as answer:
        said = await answer.text()
        assert answer.status < 500, said
        assert acme not in said
    assert state(db) == before
