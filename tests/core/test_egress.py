"""The address policy: a table of address forms, and a connector that must not dial them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from core.egress import (
    EgressPolicy,
    GuardedConnector,
    GuardedResolver,
    check_address,
    check_url,
    forbidden_reason,
    is_own,
)
from core.errors import PaasError


def words(text: str) -> list[str]:
    """A table that is easier to read as a block."""
    return text.split()


FORBIDDEN_ADDRESSES = words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.1.2.3
168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.0.170
192.0.2.7 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.9 203.0.113.5
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:8.8.8.8
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1::7f00:1 100::1 2001::1
2001:0:7f00:1:: 2001:10::1 2001:20::1 2001:2::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 3fff::1 5f00::1
fc00::1 fd00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 2a00:1450::5efe:7f00:1
2a00:1450::200:5efe:7f00:1
""")

# What the C library, a browser or a proxy reads as 127.0.0.1 or as nothing: none is interpreted.
FORBIDDEN_SPELLINGS = words("""
2130706433 0x7f000001 017700000001 0177.0.0.1 0x7f.0.0.1 0x7f.1 127.1 127.0.1 0 1 127.0.0.01 127.0.0.1.
127.0.0.256 ①②⑦.0.0.1 [::1] ::1%lo: localhost 8.8.8
""")
FORBIDDEN_SPELLINGS += ["127.0.0.1 ", ""]

PUBLIC_ADDRESSES = words("""
8.8.8.8 1.1.1.1 93.184.215.14 172.15.0.1 172.32.0.1 192.0.1.1 100.63.255.255 2606:4700:4700::1111
2a00:1450:4001:830::200e 2001:4860:4860::8888
""")

FORBIDDEN_URLS = words("""
http://127.0.0.1/v1 http://127.0.0.1./v1 https://[::1]/v1 http://2130706433/ http://0x7f000001/
http://017700000001/ http://0177.0.0.1/ http://127.1/ http://0/ http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/ http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://169.254.169.254/
http://①②⑦.⓪.⓪.①/ http://127。0。0。1/ http://[fe80::1%25eth0]/ http://[fd00::1]/ http://10.1/
http://user@8.8.8.8/ http://user:pw@example.com/ http://127.0.0.1#@example.com/ http://8.8.8.8:22/
http://example.com:6379/ https://example.com:8443/ ftp://example.com/ file:///etc/passwd
gopher://example.com/ //example.com/ example.com http:// http:///v1 http://[::1/
""")
FORBIDDEN_URLS += ["", "http://exa mple.com:99999/"]


def code_of(error: pytest.ExceptionInfo[PaasError]) -> str:
    return error.value.code


def test_the_tables_are_as_long_as_the_attack_asks_for() -> None:
    assert len(FORBIDDEN_ADDRESSES) + len(FORBIDDEN_SPELLINGS) >= 60


@pytest.mark.parametrize("address", [*FORBIDDEN_ADDRESSES, *FORBIDDEN_SPELLINGS])
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(PaasError) as error:
        check_address(address)
    assert code_of(error) == "provider_address_forbidden"
    assert not address.strip() or len(address) < 4 or address not in error.value.message


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_a_url_is_refused_without_any_look_up(url: str) -> None:
    with pytest.raises(PaasError) as error:
        check_url(url)
    assert code_of(error) == "provider_address_forbidden"


@pytest.mark.parametrize(
    "url",
    ["https://api.openai.com/v1", "http://example.com", "https://8.8.8.8/", "https://bücher.example/v1"],
)
def test_a_public_url_is_allowed(url: str) -> None:
    check_url(url)


def test_our_own_addresses_are_found_without_sending_anything() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("8.8.8.8"))


def test_a_public_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.egress.is_own", lambda address: str(address) == "8.8.4.4")
    assert forbidden_reason(ipaddress.ip_address("8.8.4.4")) == "our own address"
    assert forbidden_reason(ipaddress.ip_address("8.8.8.8")) is None


# --- what the operator allows ---------------------------------------------------------------------


def test_an_allowed_host_opens_no_other_private_host() -> None:
    policy = EgressPolicy.parse(["ollama.lan"])
    check_url("http://ollama.lan:11434/v1", policy)
    check_url("http://OLLAMA.lan./v1", policy)
    for other in ("http://127.0.0.1/", "http://192.168.1.5/", "http://ollama.lan.evil.example:11434/"):
        with pytest.raises(PaasError):
            check_url(other, policy)


def test_an_allowed_network_or_address_with_and_without_a_port() -> None:
    policy = EgressPolicy.parse(["10.1.2.0/24", "192.168.1.5:8080", "[fd00::5]:8080"])
    check_url("http://10.1.2.9:9999/", policy)
    check_address("10.1.2.9", policy, port=1)
    check_url("http://192.168.1.5:8080/", policy)
    check_url("http://[fd00::5]:8080/", policy)
    for other in (
        "http://10.1.3.1/",
        "http://192.168.1.5/",
        "http://192.168.1.5:8081/",
        "http://[fd00::6]:8080/",
    ):
        with pytest.raises(PaasError):
            check_url(other, policy)


def test_denied_networks_are_refused_although_they_are_public() -> None:
    policy = EgressPolicy.parse([], denied=["8.8.4.0/24"])
    with pytest.raises(PaasError):
        check_address("8.8.4.4", policy)
    check_address("8.8.8.8", policy)


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "10.0.0.1/8", "", ":80", "a/b"])
def test_an_entry_that_cannot_be_read_is_refused_loudly(entry: str) -> None:
    with pytest.raises(ValueError, match=r"network|neither"):
        EgressPolicy.parse([entry])


# --- names ----------------------------------------------------------------------------------------


class Names(AbstractResolver):
    """A resolver with fixed answers: a list of addresses for each look-up of a name, or an error."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        queue = self.answers[host]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, OSError):
            raise answer
        return [_result(host, address, port) for address in answer]

    async def close(self) -> None:
        return None


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


class Canary:
    """A server on loopback that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Canary:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    async with Canary() as server:
        yield server


async def fetch(connector: aiohttp.TCPConnector, urls: Iterable[str]) -> list[str | None]:
    """The error code of each request (None: it went through), all over one session."""
    outcomes: list[str | None] = []
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        for url in urls:
            try:
                async with session.get(url, allow_redirects=False) as response:
                    await response.read()
                outcomes.append(None)
            except PaasError as error:
                outcomes.append(error.code)
    return outcomes


FORBIDDEN = "provider_address_forbidden"


async def test_no_spelling_of_loopback_reaches_the_canary(canary: Canary) -> None:
    """Through aiohttp itself, at the canary's own port, which the policy allows for another host only."""
    names = Names(**{name: [["127.0.0.1"]] for name in ("evil.example", "localhost", "localhost.")})
    policy = EgressPolicy.parse([f"friend.example:{canary.port}", "10.9.9.9"])
    hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "0",
    ]
    hosts += [
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "localhost.",
    ]
    hosts += ["evil.example", "127。0。0。1", "①②⑦.0.0.1", "user@127.0.0.1"]
    connector = GuardedConnector(policy, resolver=names)
    outcomes = await fetch(connector, [f"http://{host}:{canary.port}/" for host in hosts])
    assert outcomes == [FORBIDDEN] * len(hosts)
    outcomes = await fetch(GuardedConnector(resolver=names), [f"http://{host}/" for host in hosts[:14]])
    assert outcomes == [FORBIDDEN] * 14
    assert canary.connections == 0


async def test_the_canary_would_have_been_reached(canary: Canary) -> None:
    """The same requests without the guard: the test above can fail."""
    outcomes = await fetch(aiohttp.TCPConnector(), [f"http://127.0.0.1:{canary.port}/"])
    assert outcomes == [None]
    assert canary.connections == 1


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    resolver = GuardedResolver(resolver=Names(mixed_example=[["8.8.8.8", "2606:4700::1111", "10.0.0.1"]]))
    with pytest.raises(PaasError) as error:
        await resolver.resolve("mixed.example", 443)
    assert code_of(error) == FORBIDDEN


async def test_what_was_checked_is_dialled_and_a_new_connection_is_checked_again(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A62, and DNS rebinding: one look-up for each connection, and no second one behind the check."""
    monkeypatch.setattr("core.egress.PUBLIC_PORTS", {canary.port})
    names = Names(rebind_example=[["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]])
    policy = EgressPolicy.parse(["127.0.0.1"])
    connector = GuardedConnector(policy, resolver=names, force_close=True, use_dns_cache=False)
    url = f"http://rebind.example:{canary.port}/"
    assert await fetch(connector, [url] * 3) == [None, FORBIDDEN, None]
    assert len(names.asked) == 3
    assert canary.connections == 2


async def test_an_allowed_host_is_reached_and_only_under_its_name(canary: Canary) -> None:
    names = Names(friend_example=[["127.0.0.1"]], evil_example=[["127.0.0.1"]])
    connector = GuardedConnector(EgressPolicy.parse([f"friend.example:{canary.port}"]), resolver=names)
    urls = [f"http://{host}:{canary.port}/" for host in ("friend.example", "evil.example", "127.0.0.1")]
    assert await fetch(connector, urls) == [None, FORBIDDEN, FORBIDDEN]
    assert canary.connections == 1


async def test_the_socket_factory_refuses_what_slipped_through(canary: Canary) -> None:
    """The last of the three places, alone: a resolver that was swapped for one that checks nothing."""
    connector = GuardedConnector(resolver=Names(evil_example=[["127.0.0.1"]]))
    connector._resolver = Names(evil_example=[["127.0.0.1"]])
    assert await fetch(connector, ["http://evil.example/"]) == [FORBIDDEN]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), FORBIDDEN),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "provider_unavailable"),
        (OSError("no resolver"), FORBIDDEN),
    ],
)
async def test_a_name_that_does_not_resolve_is_never_connected(failure: OSError, code: str) -> None:
    """A60: an error is no pass, and the private address of the second look-up is checked like any other."""
    names = Names(gone_example=[failure, ["10.0.0.1"]])
    connector = GuardedConnector(resolver=names)
    assert await fetch(connector, ["http://gone.example/"] * 2) == [code, FORBIDDEN]


async def test_a_name_without_addresses_is_refused() -> None:
    resolver = GuardedResolver(resolver=Names(empty_example=[[]]))
    with pytest.raises(PaasError) as error:
        await resolver.resolve("empty.example", 443)
    assert code_of(error) == FORBIDDEN
    await resolver.close()
