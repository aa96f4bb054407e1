"""People who are signed in, made inside the platform's own shell (`Stage.code`)."""

from __future__ import annotations


def signed_in(slug: str, count: int) -> list[str]:
    """`count` new members of a tenant; the session of each, as its cookie holds it."""
    from accounts.models import User
    from accounts.services import member_set
    from bench.leaks.world import session_of
    from tenants import scope
    from tenants.models import Tenant

    sessions = []
    with scope.platform():
        tenant = Tenant.objects.get(slug=slug)
    for number in range(count):
        email = f"person{number}@{slug}.test"
        with scope.platform():
            member_set(tenant=tenant, email=email, role="member", password=None, actor="bench", name="Person")
        with scope.bind(tenant.ref()):
            sessions.append(session_of(User.objects.get(email=email), "bench"))
    return sessions
