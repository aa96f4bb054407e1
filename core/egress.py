"""Which addresses may be dialled on a tenant's behalf, and an aiohttp connector that holds to it.

A tenant chooses the host (a model's base URL, a webhook, a tool), so the name is looked up once, every
address it has is checked, and exactly those are dialled; nothing is looked up again in between. Three
places check, because aiohttp asks no resolver for a host that looks like an address:

1. `GuardedConnector.connect`: scheme, port and literal addresses, for each request, pooled or not;
2. `GuardedResolver`: all addresses of a name; one bad one refuses the name;
3. the socket factory: the address of each socket, whichever way it came.

Addresses that the operator allows are an `EgressPolicy`. Hosts that a tenant sets are reached on ports 80
and 443 only, so that the platform cannot be made to scan or to talk to other protocols; an allow-listed
host or network may be reached on any port, or on the one that the entry names.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from core.errors import PaasError

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

PUBLIC_PORTS = frozenset({80, 443})

# IANA's special-purpose registries (RFC 6890 and its updates), written out because ipaddress.is_global
# of Python 3.11 calls several of them global. What is not 2000::/3 is not global unicast in IPv6 at all.
_DENIED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "cloud metadata"),  # Azure's platform address, public in form only
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),  # also Oracle's metadata address
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarking
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
)
_DENIED_NETWORKS = tuple((ipaddress.ip_network(network), reason) for network, reason in _DENIED)
_GLOBAL_UNICAST_6 = ipaddress.ip_network("2000::/3")
# An IPv4 address inside an IPv6 one reaches what the IPv4 one reaches, so wrapped forms are refused
# whatever they wrap; none of them is how a public vendor is published.
_WRAPPED_6: tuple[tuple[IPNetwork, str], ...] = (
    (ipaddress.ip_network("::ffff:0:0/96"), "IPv4-mapped"),
    (ipaddress.ip_network("::ffff:0:0:0/96"), "IPv4-translated"),
    (ipaddress.ip_network("64:ff9b::/96"), "NAT64"),
    (ipaddress.ip_network("64:ff9b:1::/48"), "NAT64"),
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def forbidden_reason(address: IPAddress) -> str | None:
    """Why this address is not public ("private", "loopback", "NAT64" ...), or None when it is."""
    for network, reason in _DENIED_NETWORKS:
        if address in network:
            return reason
    if address.version == 6:
        for network, reason in _WRAPPED_6:
            if address in network:
                return reason
        if address not in _GLOBAL_UNICAST_6:
            return "not global unicast"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "ISATAP"
    if address.is_multicast or not address.is_global:
        return "not global unicast"
    return "our own address" if is_own(address) else None


def is_own(address: IPAddress) -> bool:
    """Whether this machine answers at the address.

    A UDP socket is connected to it, which sends nothing: the kernel picks the source address, and for
    an address of its own it picks that very address.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # no route to it, or no such protocol here: then it is not ours either


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What the operator allows beyond the public internet.

    hosts: (name, port or None for any); the name only, not what else has its address. networks:
    (network, port or None). denied: public addresses that are ours behind a NAT or balancer; denied_hosts: our own
    names, with all below them, wherever they lead.
    """

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPNetwork, int | None], ...] = ()
    denied: tuple[IPNetwork, ...] = ()
    denied_hosts: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, allowed: Iterable[str], denied: Iterable[str] = (), denied_hosts: Iterable[str] = ()
    ) -> EgressPolicy:
        """From settings: `ollama.lan`, `ollama.lan:11434`, `10.1.2.0/24`, `192.168.1.5`, `[fd00::5]:8080`.

        Raises ValueError with the entry that cannot be read.
        """
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[IPNetwork, int | None]] = []
        for entry in allowed:
            name, port = _split_port(entry.strip())
            network = _as_network(name)
            if network is not None:
                networks.append((network, port))
            elif _host_of(name):
                hosts.add((_host_of(name), port))
            else:
                raise ValueError(f"{entry!r} is neither a host, an address nor a network.")
        return cls(
            frozenset(hosts),
            tuple(networks),
            tuple(ipaddress.ip_network(item) for item in denied),
            tuple(_host_of(name) for name in denied_hosts),
        )

    def allows_host(self, host: str, port: int | None) -> bool:
        """Whether the operator allows this name, whatever its addresses."""
        return (host, None) in self.hosts or (host, port) in self.hosts

    def denies_host(self, host: str) -> bool:
        """Whether the name is one of ours."""
        return any(host == name or host.endswith(f".{name}") for name in self.denied_hosts)

    def allows_address(self, address: IPAddress, port: int | None) -> bool:
        """Whether the operator allows this address although it is not public."""
        return any(address in network and wanted in (None, port) for network, wanted in self.networks)


PUBLIC_ONLY = EgressPolicy()


def check_address(address: str, policy: EgressPolicy = PUBLIC_ONLY, *, port: int | None = None) -> None:
    """Refuse an address that may not be dialled.

    `address` is what `ipaddress` reads: any other spelling (decimal, octal, hexadecimal, shortened) is
    refused, not interpreted. Raises PaasError provider_address_forbidden, which does not repeat the address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise _forbidden("it is not written as an IP address") from None
    if policy.allows_address(parsed, port):
        return
    if any(parsed in network for network in policy.denied):
        raise _forbidden("it is one of our own addresses")
    if reason := forbidden_reason(parsed):
        raise _forbidden(f"it is not a public address ({reason})")


def check_url(url: str | URL, policy: EgressPolicy = PUBLIC_ONLY) -> None:
    """Refuse a URL by its scheme, port, user info or literal address; names are not looked up here.

    Raises PaasError provider_address_forbidden.
    """
    try:
        parsed = URL(url) if isinstance(url, str) else url
        host, port = _host_of(parsed.raw_host or ""), parsed.port
    except ValueError:
        raise _forbidden("it is not a URL") from None
    if parsed.scheme not in ("http", "https"):
        raise _forbidden("it must begin with http:// or https://")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise _forbidden("it must not hold a user name or password")
    if not host:
        raise _forbidden("it names no host")
    if policy.allows_host(host, port):
        return
    if policy.denies_host(host):
        raise _forbidden("it is one of our own addresses")
    literal = _literal(host)
    if literal is not None and policy.allows_address(literal, port):
        return
    if port not in PUBLIC_PORTS:
        raise _forbidden(f"port {port} is not allowed, only 80 and 443")
    if literal is not None or _is_numeric(host):
        check_address(host, policy, port=port)


class GuardedResolver(AbstractResolver):
    """Looks a name up once and gives back its addresses only if every one of them may be dialled.

    `approved` collects the addresses of allow-listed hosts, for the socket factory, which sees no names.
    """

    def __init__(self, policy: EgressPolicy = PUBLIC_ONLY, resolver: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._resolver = resolver or ThreadedResolver()
        self.approved: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises PaasError: forbidden when one may not be dialled or none exists."""
        try:
            found = await self._resolver.resolve(host, port, family)
        except OSError as error:
            raise _lookup_failure(host, error) from None
        if not found:
            raise _unresolved(host)
        if self._policy.allows_host(_host_of(host), port):
            self.approved.update(result["host"] for result in found)
            return found
        for result in found:
            check_address(result["host"], self._policy, port=port)
        return found

    async def close(self) -> None:
        """Close the resolver underneath."""
        await self._resolver.close()


class GuardedConnector(TCPConnector):
    """An aiohttp connector that dials only what the policy allows. Takes TCPConnector's other options."""

    def __init__(
        self, policy: EgressPolicy = PUBLIC_ONLY, *, resolver: AbstractResolver | None = None, **options: Any
    ) -> None:
        self._policy = policy
        self._guard = GuardedResolver(policy, resolver)
        super().__init__(resolver=self._guard, socket_factory=self._checked_socket, **options)

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 (aiohttp's own signature)
    ) -> Connection:
        """A connection for the request, after its URL was checked."""
        check_url(req.url, self._policy)
        return await super().connect(req, traces, timeout)

    def _checked_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = info
        address, port = str(target[0]), int(target[1])
        if address not in self._guard.approved:
            check_address(address, self._policy, port=port)
        return socket.socket(family=family, type=kind, proto=protocol)


def _forbidden(why: str) -> PaasError:
    return PaasError("provider_address_forbidden", f"This address may not be called from here: {why}.")


def _unresolved(host: str) -> PaasError:
    # The same code as for a private address, so that names inside our network cannot be guessed by trying.
    return PaasError(
        "provider_address_forbidden",
        f"The host {host[:253]!r} does not lead to a public address. Check its name.",
    )


def _lookup_failure(host: str, error: OSError) -> PaasError:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return PaasError("provider_unavailable", f"The host {host[:253]!r} could not be looked up. Try again.")
    return _unresolved(host)


def _host_of(name: str) -> str:
    """A host as it is compared: lower case, without the final dot and the brackets of IPv6."""
    return name.strip("[]").rstrip(".").lower()


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_numeric(host: str) -> bool:
    """Whether the C library would read the host as an address: 2130706433, 0x7f.1, 0177.0.0.1, 127.1."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _as_network(name: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(name.strip("[]"))
    except ValueError:
        if "/" in name:
            raise ValueError(f"{name!r} is not a network.") from None
        return None


def _split_port(entry: str) -> tuple[str, int | None]:
    head, colon, tail = entry.rpartition(":")
    if colon and tail.isdigit() and (head.endswith("]") or ":" not in head):
        return head, int(tail)
    return entry, None
