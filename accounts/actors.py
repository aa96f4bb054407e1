"""Every credential becomes one frozen Actor; below this room nobody asks how somebody signed in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from accounts.key_limits import Network
from core.errors import PaasError
from tenants.scope import TenantRef


@dataclass(frozen=True, slots=True)
class TokenSession:
    """The sign-in by JSON Web Token behind an Actor: its refresh family, and until when its access token is good."""

    family_id: uuid.UUID
    version: int
    until: int


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is speaking, in which tenant, and what they may do.

    Exactly one of user_id and key_id is set. role is "key" for an API key. impersonator: the operator who acts as this
    person; `actions` are then what may be read only. must_enrol: the tenant asks for a second factor that the person
    has not set up yet, so `actions` is empty. token: set where an access token speaks. token_version: the person's,
    when the credential was judged. session_id: `Session.public_id` of the session that a ticket was asked for with.
    agents, models: the slugs and the models' names that may be used, None is any. networks: as
    `accounts.key_limits.Rights`. root_key_id: the key at the top, above key_id. token_mark:
    another one after the key got a new token. rates: requests a minute that limits of the person's own,
    or of the key's and of those above it, allow: (`user:<id>` or `key:<id>`, how many).
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
    must_enrol: bool = False
    token: TokenSession | None = None
    agents: frozenset[str] | None = None
    models: frozenset[str] | None = None
    networks: tuple[tuple[Network, ...], ...] = ()
    root_key_id: uuid.UUID | None = None
    token_mark: str = ""
    rates: tuple[tuple[str, int], ...] = ()

    @property
    def label(self) -> str:
        """`user:<id>` or `key:<id>`, as audit rows name the actor."""
        return f"key:{self.key_id}" if self.key_id else f"user:{self.user_id}"

    def require(self, action: str) -> None:
        """Raise permission_denied (or mfa_enrolment_required) unless the actor may do `action`."""
        self.require_factor()
        if action not in self.actions:
            raise PaasError("permission_denied", details={"action": action})

    def require_factor(self) -> None:
        """Raise mfa_enrolment_required while the tenant waits for this person's second factor."""
        if self.must_enrol:
            raise PaasError("mfa_enrolment_required")

    def may_use(self, agent: str, model: str) -> bool:
        """Whether nothing keeps the actor from this agent (its slug) and the model behind it."""
        return (self.agents is None or agent in self.agents) and (self.models is None or model in self.models)
