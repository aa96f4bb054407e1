"""Ways to write an address so that somebody else reads another one (T17): 300 and more, all of them not public."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

PRIVATE = (
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
)
LOOPBACK = PRIVATE[0]
# Names whose owner has them lead to loopback; the tests' resolver says so.
NAMES = (
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "ip6-localhost", "127.0.0.1.nip.example", "evil.example",
    "evil.example.", "EVIL.example", "xn--bcher-kva.example", "bücher.example", "ｅｖｉｌ.example", "evil。example",
    "metadata.google.internal", "a" * 63 + ".example", "1.evil.example", "0x7f.evil.example", "evil-1.example",
)  # fmt: skip


def spellings(dotted: str) -> Iterator[str]:
    """An IPv4 address as hosts of URLs: in numbers of all bases and lengths, in other alphabets, inside IPv6."""
    address = ipaddress.ip_address(dotted)
    assert isinstance(address, ipaddress.IPv4Address)
    number, (a, b, c, d) = int(address), address.packed
    yield from (dotted, f"{dotted}.", f"{number}", f"0x{number:08x}", f"0X{number:X}", f"0{number:o}", f"000{number:o}")
    yield from (f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0{a:o}.{b}.0x{c:x}.{d}")
    yield from (f"{a}.{b}.{(c << 8) + d}", f"{a}.{(b << 16) + (c << 8) + d}", f"0x{a:x}.{number & 0xFFFFFF}")
    yield from (f"{a:03}.{b:03}.{c:03}.{d:03}", dotted.replace(".", "%2e"), dotted.replace(".", "%2E") + "%2e")
    yield from (dotted.replace(".", "。"), dotted.replace(".", "．"), dotted.replace(".", "｡"))
    yield dotted.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)})
    yield dotted.translate({ord(str(digit)): "⓪①②③④⑤⑥⑦⑧⑨"[digit] for digit in range(10)})
    high, low = number >> 16, number & 0xFFFF
    yield from (f"[::ffff:{dotted}]", f"[::ffff:{high:x}:{low:x}]", f"[0:0:0:0:0:FFFF:{high:04X}:{low:04X}]")
    yield from (f"[::ffff:0:{dotted}]", f"[::{dotted}]", f"[::{high:x}:{low:x}]", f"[64:ff9b::{dotted}]")
    yield from (f"[64:ff9b::{high:x}:{low:x}]", f"[64:ff9b:1::{high:x}:{low:x}]", f"[2002:{high:x}:{low:x}::]")
    # Teredo has the client's address inverted (RFC 4380 §4).
    yield f"[2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield from (f"[2a00:1450::5efe:{high:x}:{low:x}]", f"[fe80::5efe:{high:x}:{low:x}%25lo]", f"[::ffff:{dotted}%251]")


SIX = (
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::1%25lo]", "[fe80::1%25eth0]", "[fd00::1]", "[fc00::1]",
    "[fec0::1]", "[ff02::1]", "[100::1]", "[3fff::1]", "[5f00::1]", "[2001:db8::1]", "[fd00:ec2::254]", "[::1]."
)  # fmt: skip


def tricks(host: str, port: int) -> Iterator[str]:
    """URLs that show one host and mean another."""
    yield from (f"http://example.com@{host}:{port}/", f"http://example.com:80@{host}:{port}/")
    yield from (
        f"http://{host}:{port}#@example.com/",
        f"http://{host}:{port}?@example.com/",
        f"http://a:b@{host}:{port}/",
    )
    yield from (f"http://{host}:{port}\\@example.com/", f"http:\\\\{host}:{port}\\", f"http:/{host}:{port}/")
    yield from (
        f"http://example.com\\@{host}:{port}/",
        f"http://{host}%00.example.com:{port}/",
        f"http://{host}:{port}%2f@x/",
    )
    yield from (
        f" http://{host}:{port}/",
        f"http://{host} :{port}/",
        f"http://{host}\t:{port}/",
        f"\nhttp://{host}:{port}/",
    )
    yield from (
        f"HTTP://{host}:{port}/",
        f"http://{host}:{port:06}/",
        f"http://[{host}]:{port}/",
        f"http://{host},x:{port}/",
    )
    yield from (
        f"ftp://{host}:{port}/",
        f"file://{host}:{port}/etc/passwd",
        f"gopher://{host}:{port}/_x",
        f"//{host}:{port}/",
    )
    yield from (f"dict://{host}:{port}/", f"ws://{host}:{port}/", f"unix://{host}:{port}/", f"data://{host}:{port}/,x")


def payloads(port: int) -> list[str]:
    """All of them, at this port, as http and https where the scheme is not the trick itself."""
    hosts = [*NAMES, *SIX, *(host for one in PRIVATE for host in spellings(one))]
    urls = [f"{scheme}://{host}:{port}/v1" for host in hosts for scheme in ("http", "https")]
    return [*urls, *tricks(LOOPBACK, port), *tricks("localhost", port)]


LEGITIMATE = [
    "https://api.openai.com/v1",
    "https://api.anthropic.com/v1",
    "https://open.bigmodel.cn/api/paas/v4",
    "https://api.deepseek.com",
    "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "https://api.moonshot.cn/v1",
    "https://generativelanguage.googleapis.com/",
    "https://my-resource.openai.azure.com/openai",
    "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "https://api.mistral.ai/v1",
    "https://api.groq.com/openai/v1",
    "https://openrouter.ai/api/v1",
    "https://api.together.xyz/v1",
    "https://api.x.ai/v1",
    "https://api.github.com/repos",
    "http://example.com/",
    "http://example.com:80/",
    "https://example.com:443/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://例子.example/",
    "https://EXAMPLE.com./",
    "https://sub_domain.example.com/",
    "https://10-0-0-1.example.com/",
    "https://127.0.0.1.example.com/",
    "https://localhost.example.com/",
    "https://0x7f.example/",
    "https://1.1.1.1/",
    "https://8.8.8.8/",
    "https://93.184.215.14/",
    "https://172.15.255.255/",
    "https://172.32.0.1/",
    "https://100.63.0.1/",
    "https://[2606:4700:4700::1111]/",
    "https://[2a00:1450:4001:830::200e]/",
    "https://[2001:4860:4860::8888]:443/",
    "https://en.wikipedia.org/wiki/A?b=c#d",
    "https://example.com/127.0.0.1",
    "https://example.com/?url=http://127.0.0.1/",
]
