"""Every credential becomes one frozen Actor; below this room nobody asks how somebody signed in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from core.errors import PaasError
from tenants.scope import TenantRef


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is speaking, in which tenant, and what they may do.

    Exactly one of user_id and key_id is set. role is "key" for an API key. impersonator: the operator who acts as this
    person; `actions` are then what may be read only. token_version: the person's, when the credential was judged.
    session_id: what the credential rests on, where it has to be asked again later: `Session.public_id` or the id of a
    RefreshFamily.
    """

    tenant: TenantRef
    user_id: uuid.UUID | None
    key_id: uuid.UUID | None
    role: str
    actions: frozenset[str]
    email: str = ""
    name: str = ""
    impersonator: uuid.UUID | None = None
    token_version: int = 0
    session_id: uuid.UUID | None = None

    @property
    def label(self) -> str:
        """`user:<id>` or `key:<id>`, as audit rows name the actor."""
        return f"key:{self.key_id}" if self.key_id else f"user:{self.user_id}"

    def require(self, action: str) -> None:
        """Raise permission_denied unless the actor may do `action`."""
        if action not in self.actions:
            raise PaasError("permission_denied", details={"action": action})
