"""How long what was revoked still works: `python -m bench.revocation` (security.md T5).

A session that is ended and a key that is revoked, asked again and again over REST, and an open websocket and a stream
that were opened with the key. The act is done in another process than the web process, as the console does it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aiohttp

from bench.crowd import stage
from bench.leaks.world import session_of as session_new
from bench.load import percentile
from bench.machine import describe

TARGETS = {"session, REST": 2.0, "key, REST": 5.0, "key, websocket": 5.0}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    where = describe()
    with stage(1) as (port, customers):
        found = asyncio.run(_measured(port, customers[0], options.rounds))
    lines = []
    for name, seconds in found.items():
        p99 = percentile(seconds, 0.99)
        met = "PASS" if p99 <= TARGETS[name] else "MISSED"
        lines.append(
            f"| {name} | {percentile(seconds, 0.5):.2f} s | {p99:.2f} s | {met}: at most {TARGETS[name]:.0f} s |"
        )
    print(
        f"`python -m bench.revocation --rounds {options.rounds}` at {where['commit']}: {where['processor']}, "
        f"{where['cores']} cores, load {where['load_average'][0]} before.\n\n"
        "| revoked | median | p99 | |\n|---|--:|--:|---|\n" + "\n".join(lines)
    )
    return 0 if all(percentile(seconds, 0.99) <= TARGETS[name] for name, seconds in found.items()) else 1


async def _measured(port: int, customer: Any, rounds: int) -> dict[str, list[float]]:
    """Name -> seconds from the end of the act until it holds."""
    base, found = f"http://127.0.0.1:{port}", {name: list[float]() for name in TARGETS}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def refused_after(headers: dict[str, str], revoke: Callable[[], Awaitable[None]]) -> float:
            async def status() -> int:
                async with client.get(f"{base}/api/v1/me", headers={"Host": customer.host, **headers}) as answer:
                    return answer.status

            if await status() != 200:
                raise RuntimeError("the credential was no good before")
            await revoke()
            started = time.perf_counter()
            while await status() != 401:
                await asyncio.sleep(0.02)
            return time.perf_counter() - started

        async def socket_closed_after(token: str, revoke: Callable[[], Awaitable[None]]) -> float:
            headers = {"Host": customer.host, "Authorization": f"Bearer {token}"}
            async with client.ws_connect(f"{base}/ws/chat/", headers=headers) as socket:
                await socket.receive_json(timeout=5)
                await revoke()
                started = time.perf_counter()
                while (await socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
                    continue
                return time.perf_counter() - started

        for _ in range(rounds):
            session = await _apart(_session_of, customer)
            found["session, REST"].append(
                await refused_after({"Cookie": f"sessionid={session}"}, partial(_apart, _end, customer, session))
            )
            first, second = await _apart(_key, customer), await _apart(_key, customer)
            rest, socket = await asyncio.gather(
                refused_after({"Authorization": f"Bearer {first}"}, partial(_apart, _revoke, customer, first)),
                socket_closed_after(second, partial(_apart, _revoke, customer, second)),
            )
            found["key, REST"].append(rest)
            found["key, websocket"].append(socket)
    return found


_thread = ThreadPoolExecutor(1)


async def _apart(work: Callable[..., Any], *of: Any) -> Any:
    """The ORM's work, off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *of)


def _session_of(customer: Any) -> str:
    from accounts.models import User
    from tenants import scope

    with scope.bind(customer.ref):
        return session_new(User.objects.get(email=customer.email), customer.canary)


def _end(customer: Any, key: str) -> None:
    """As the list of sessions does it: the row, and what Redis remembers."""
    from accounts.models import Session
    from accounts.sessions import forget
    from tenants import scope

    with scope.bind(customer.ref):
        Session.objects.filter(session_key=key).delete()
        forget([key])


def _key(customer: Any) -> str:
    import uuid

    from accounts.keys import key_create
    from tenants import scope

    with scope.bind(customer.ref):
        return key_create(name=uuid.uuid4().hex, scopes=["chat:read"], actor="bench")[1]


def _revoke(customer: Any, token: str) -> None:
    from accounts.keys import digest, key_revoke
    from accounts.models import ApiKey
    from tenants import scope

    with scope.bind(customer.ref):
        key_revoke(key=ApiKey.objects.get(digest=digest(token)), actor="bench")


if __name__ == "__main__":
    sys.exit(main())
