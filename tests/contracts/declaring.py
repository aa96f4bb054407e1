"""How a route is declared: for whom it is (`Access`) and what it does with the ids of others (`Declared`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from accounts.policies import AGENTS_EXECUTE, CHAT_READ, CHAT_WRITE, KNOWLEDGE_READ, KNOWLEDGE_WRITE

# Who a route is for:
#   public   everybody, also nobody at all
#   page     people of the tenant with a session; anybody else is sent to sign in
#   api      people and programs of the tenant; anybody else is told so with 401
#   signed   whoever is signed in on the platform's host
#   console  operators, on the platform's host
ACCESS_KINDS = ("public", "page", "api", "signed", "console")
ANY = ""  # any member, or any key
OPERATOR = "operator"  # on the platform's host, in an action's place: an operator with a session
PERSON = "person"  # beside actions: who asks is a person; a key is refused, whatever its scopes are
KNOWLEDGE = f"{KNOWLEDGE_WRITE} {KNOWLEDGE_READ}"
ASKING = f"{CHAT_READ} {CHAT_WRITE} {AGENTS_EXECUTE} {PERSON}"


@dataclass(frozen=True)
class Access:
    """kind: as above. needs: method -> the actions that it takes, as words (and PERSON). leads: hosts a redirect may lead to besides
    its own ("platform", "tenant", "elsewhere"). skip: methods that nobody who may use them tries here (each has a test
    of its own), because they would end the very identity that asks. proof: writing asks for the password too; without it, 401.
    """

    kind: str
    needs: dict[str, str] = field(default_factory=dict)
    leads: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    proof: bool = False

    def allows(self, method: str, who: Identity) -> bool:
        """Whether `who` gets past the door with `method`."""
        if self.kind == "public":
            return True
        if who.actions is None or (self.kind in ("page", "signed") and not who.browser):
            return False
        return set(self.needs[method].split()) <= who.actions


@dataclass(frozen=True)
class Identity:
    """Somebody who knocks. actions: with PERSON for people; None for who is nobody here. browser: comes with a session,
    so may open pages. token: an API key, or an access token of a person."""

    name: str
    actions: frozenset[str] | None = None
    browser: bool = False
    session: str = ""
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request, CSRF token included: nobody is refused for the lack of one."""
        cookies = [f"{settings.CSRF_COOKIE_NAME}={CSRF}"]
        if self.session:
            cookies.append(f"{settings.SESSION_COOKIE_NAME}={self.session}")
        found = {"Cookie": "; ".join(cookies), "X-CSRFToken": CSRF, "Accept": "text/html, application/json"}
        return found | ({"Authorization": f"Bearer {self.token}"} if self.token else {})


CSRF = "c" * 32


def public(*methods: str, leads: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Access:
    return Access("public", dict.fromkeys(methods or ("GET",), ANY), leads, skip)


def page(skip: tuple[str, ...] = (), proof: bool = False, **needs: str) -> Access:
    return Access("page", needs, (), skip, proof)


def api(skip: tuple[str, ...] = (), **needs: str) -> Access:
    return Access("api", needs, (), skip)


def signed(skip: tuple[str, ...] = (), proof: bool = False, **needs: str) -> Access:
    return Access("signed", needs, (), skip, proof)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a route does:
#   own    no id in it: everybody gets their own rows and nobody else's; nobody at all: 401, or to sign-in
#   by_id  a foreign id is not found, in the same words as an id that never was
#   shell  a page without any row in it: the same whatever id is asked for
#   public no row of anybody's, for everybody
TENANCY_KINDS = ("own", "by_id", "shell", "public")


@dataclass(frozen=True)
class Declared:
    """What is expected of a route. ids: what its parameters are ids of. body: what a write sends. people: of the API,
    but a key is told that it is no person. lacks: what who may see it is told, by 404, because the fixture's thing has
    nothing to show there."""

    kind: str
    methods: tuple[str, ...] = ("GET",)
    ids: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    page: bool = False
    of_tenant: bool = False  # what the id names is the tenant's, not one person's: colleagues find it too
    people: bool = False
    lacks: str = ""
