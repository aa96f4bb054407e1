"""What API keys may do: each key's own limits, and how keys narrow one another. Pure rules.

A key's rights are worked out anew whenever it is recognised, from its own limits, from those of every key above it and
from the present role of each person who made one of them. Nothing is copied down when a child is made, so narrowing a
parent later narrows its children at once (A25).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TypeVar

from accounts.policies import KEY_ACTIONS, actions_of_scopes, unknown_scopes

MAX_DEPTH = 3  # a key, its child, its child's child; usage_reserve counts on it
MOST_ENTRIES = 100
MOST_TOKENS = 10**15

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T", int, datetime)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key is given. An empty agents, models or networks is no limit of its own; None likewise.

    networks: addresses and CIDR blocks as text. tokens_per_month: input and output together, a month in UTC.
    """

    scopes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    tokens_per_month: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key may really do. agents, models: None is any; an empty set is none.

    networks: the caller's address must lie in one network of each group.
    """

    actions: frozenset[str] = KEY_ACTIONS
    agents: frozenset[str] | None = None
    models: frozenset[str] | None = None
    networks: tuple[tuple[Network, ...], ...] = ()
    tokens_per_month: int | None = None
    expires_at: datetime | None = None


EVERYTHING = Rights()


def network_of(text: str) -> Network:
    """An address or CIDR block. Raises ValueError; so do host bits in a block, which are a slip of the pen."""
    found = ipaddress.ip_network(text.strip())
    if isinstance(found, ipaddress.IPv6Network) and (mapped := found.network_address.ipv4_mapped):
        # Clients' addresses are written as IPv4 (tenants.client), so a mapped block must be too.
        if found.prefixlen < 96:
            raise ValueError(f"{text} reaches beyond IPv4-mapped addresses")
        return ipaddress.ip_network((mapped, found.prefixlen - 96))
    return found


def narrowed(above: Rights, own: Limits) -> Rights:
    """The rights of a key with `own` limits under a key with the rights `above`: never more than either."""
    return Rights(
        actions=above.actions & actions_of_scopes(list(own.scopes)),
        agents=_both(above.agents, own.agents),
        models=_both(above.models, own.models),
        networks=above.networks + ((tuple(map(network_of, own.networks)),) if own.networks else ()),
        tokens_per_month=_least(above.tokens_per_month, own.tokens_per_month),
        expires_at=_least(above.expires_at, own.expires_at),
    )


def rights_of(chain: Sequence[Limits]) -> Rights:
    """The rights of the last key of a chain that begins with the one that has no parent."""
    return reduce(narrowed, chain, EVERYTHING)


def admits(networks: Iterable[tuple[Network, ...]], address: str) -> bool:
    """Whether a caller at `address` ("" when unknown) is in every group of networks."""
    groups = tuple(networks)
    if not groups:
        return True
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(any(caller in network for network in group) for group in groups)


def mistakes(own: Limits) -> dict[str, str]:
    """What is wrong with limits by themselves: field -> sentence."""
    found: dict[str, str] = {}
    if not own.scopes:
        found["scopes"] = "A key needs at least one scope."
    if wrong := unknown_scopes(list(own.scopes)):
        found["scopes"] = f"Unknown scopes: {', '.join(wrong)}."
    for field in ("scopes", "agents", "models", "networks"):
        if len(getattr(own, field)) > MOST_ENTRIES:
            found[field] = f"At most {MOST_ENTRIES} entries."
    for text in own.networks:
        try:
            network_of(text)
        except ValueError:
            found["networks"] = f"{text[:60]} is no address or network. Write 203.0.113.7 or 203.0.113.0/24."
            break
    if own.tokens_per_month is not None and not 1 <= own.tokens_per_month <= MOST_TOKENS:
        found["tokens_per_month"] = "A budget is at least 1 token."
    return found


def excess(own: Limits, above: Rights) -> dict[str, str]:
    """Where limits go beyond the key above: field -> sentence. What is left empty is taken over from it."""
    found: dict[str, str] = {}
    if more := sorted(actions_of_scopes(list(own.scopes)) - above.actions):
        found["scopes"] = f"The key above may not do this: {', '.join(more)}."
    for field, allowed in (("agents", above.agents), ("models", above.models)):
        if allowed is not None and (more := sorted(set(getattr(own, field)) - allowed)):
            found[field] = f"The key above may not use this: {', '.join(more)}."
    for text in own.networks:
        network = network_of(text)
        if not all(any(_within(network, outer) for outer in group) for group in above.networks):
            found["networks"] = f"The key above may not come from {text}."
    if _more(own.tokens_per_month, above.tokens_per_month):
        found["tokens_per_month"] = f"The key above has {above.tokens_per_month} tokens a month."
    if _more(own.expires_at, above.expires_at) and above.expires_at is not None:
        found["expires_at"] = f"The key above expires at {above.expires_at:%Y-%m-%d %H:%M} UTC."
    return found


def _both(above: frozenset[str] | None, own: tuple[str, ...]) -> frozenset[str] | None:
    if not own:
        return above
    return frozenset(own) if above is None else above & frozenset(own)


def _least(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _more(own: T | None, above: T | None) -> bool:
    return own is not None and above is not None and own > above


def _within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)
