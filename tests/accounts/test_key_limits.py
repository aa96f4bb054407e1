"""How keys narrow one another: the rules alone, over generated chains (A25)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts import key_limits, policies
from accounts.key_limits import Limits, Rights, admits, excess, mistakes, narrowed, rights_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NETWORKS = ["203.0.113.7", "203.0.113.0/24", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "2001:db8:1::5", "0.0.0.0/0"]
ADDRESSES = ["203.0.113.7", "203.0.113.9", "10.1.2.3", "10.200.0.1", "2001:db8:1::5", "2001:db9::1", "8.8.8.8", ""]

words = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple)
limits = st.builds(
    Limits,
    scopes=st.lists(st.sampled_from(sorted(policies.SCOPES)), min_size=1, unique=True).map(tuple),
    agents=words,
    models=words,
    networks=st.lists(st.sampled_from(NETWORKS), unique=True).map(tuple),
    tokens_per_month=st.none() | st.integers(1, 1000),
    expires_at=st.none() | st.integers(1, 100).map(lambda days: NOW + timedelta(days=days)),
)
chains = st.lists(limits, min_size=1, max_size=key_limits.MAX_DEPTH)


def within(inner: Rights, outer: Rights) -> bool:
    """Whether whatever `inner` allows, `outer` allows too: asked of every single thing."""
    things = ["a", "b", "c", "another"]

    def may(rights: Rights, field: str, thing: str) -> bool:
        allowed = getattr(rights, field)
        return allowed is None or thing in allowed

    def ends(rights: Rights) -> datetime:
        return rights.expires_at or datetime.max.replace(tzinfo=UTC)

    return (
        inner.actions <= outer.actions
        and all(may(outer, field, one) for field in ("agents", "models") for one in things if may(inner, field, one))
        and all(admits(outer.networks, one) for one in ADDRESSES if admits(inner.networks, one))
        and (outer.tokens_per_month is None or (inner.tokens_per_month or 10**9) <= outer.tokens_per_month)
        and ends(inner) <= ends(outer)
    )


@given(chains, limits)
def test_a_child_never_has_more_than_its_parent(chain: list[Limits], child: Limits) -> None:
    """Whatever a child asks for: also where nobody had looked whether it fits."""
    parent = rights_of(chain)
    assert within(narrowed(parent, child), parent)
    assert within(narrowed(parent, child), rights_of([child])), "nor more than it was itself given"


@given(chains, st.integers(0, key_limits.MAX_DEPTH - 1), limits)
def test_narrowing_a_parent_later_narrows_what_is_below(chain: list[Limits], place: int, later: Limits) -> None:
    """And widening it gives a child no more than the child was given."""
    place %= len(chain)
    changed = [*chain[:place], later, *chain[place + 1 :]]
    for depth in range(1, len(chain) + 1):
        rights = rights_of(changed[:depth])
        assert all(within(rights, rights_of([one])) for one in changed[:depth])
        assert depth == 1 or within(rights, rights_of(changed[: depth - 1]))


@given(chains, limits)
@settings(max_examples=300)
def test_what_is_admitted_as_a_child_gets_what_it_says(chain: list[Limits], child: Limits) -> None:
    """`excess` says nothing exactly where the child's own words go nowhere beyond the parent's."""
    parent = rights_of(chain)
    alone = rights_of([child])
    told = excess(child, parent)
    assert ("scopes" in told) == (not alone.actions <= parent.actions)
    for field in ("agents", "models"):
        above, own = getattr(parent, field), getattr(alone, field)
        assert (field in told) == (own is not None and above is not None and not own <= above)
    if not told:
        assert narrowed(parent, child).actions == alone.actions
        inside = all(
            admits(parent.networks, one) for one in ADDRESSES if child.networks and admits(alone.networks, one)
        )
        assert inside


def test_limits_without_anything_in_common_allow_nothing() -> None:
    """An empty rest is none, never all."""
    rights = rights_of([Limits(scopes=("*",), agents=("a",)), Limits(scopes=("*",), agents=("b",))])
    assert rights.agents == frozenset()
    far = rights_of([Limits(scopes=("*",), networks=("10.0.0.0/8",)), Limits(scopes=("*",), networks=("8.8.8.8",))])
    assert not any(admits(far.networks, address) for address in ADDRESSES)


@pytest.mark.parametrize(
    ("networks", "address", "admitted"),
    [
        ((), "", True),
        ((), "8.8.8.8", True),
        (("203.0.113.7",), "203.0.113.7", True),
        (("203.0.113.7",), "203.0.113.8", False),
        (("203.0.113.0/24",), "203.0.113.255", True),
        (("203.0.113.0/24", "2001:db8::/32"), "2001:db8:ffff::1", True),
        (("2001:db8::/32",), "2001:db9::1", False),
        (("::ffff:203.0.113.0/120",), "203.0.113.5", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("0.0.0.0/0", "::/0"), "", False),  # who comes from nowhere comes from none of them
        (("0.0.0.0/0",), "nonsense", False),
    ],
)
def test_addresses(networks: tuple[str, ...], address: str, admitted: bool) -> None:
    assert admits(rights_of([Limits(scopes=("*",), networks=networks)]).networks, address) is admitted


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("chat:everything",)}, "scopes"),
        ({"scopes": ("admin:owner",)}, "scopes"),
        ({"networks": ("203.0.113.7/24",)}, "networks"),
        ({"networks": ("example.com",)}, "networks"),
        ({"networks": ("",)}, "networks"),
        ({"networks": ("::ffff:0:0/90",)}, "networks"),
        ({"agents": tuple(map(str, range(101)))}, "agents"),
        ({"tokens_per_month": 0}, "tokens_per_month"),
        ({"tokens_per_month": -1}, "tokens_per_month"),
        ({"tokens_per_month": 10**16}, "tokens_per_month"),
    ],
)
def test_what_is_no_limit(own: dict[str, Any], field: str) -> None:
    assert set(mistakes(Limits(**({"scopes": ("*",)} | own)))) == {field}


def test_every_key_action_can_be_given_and_no_other() -> None:
    assert rights_of([Limits(scopes=("*",))]).actions == policies.KEY_ACTIONS
    assert policies.ADMIN_OWNER not in rights_of([Limits(scopes=tuple(policies.SCOPES))]).actions
    assert key_limits.network_of("::ffff:203.0.113.7") == ipaddress.ip_network("203.0.113.7")
