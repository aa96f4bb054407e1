"""Eight that use one refresh token at once: `python -m bench.refresh` (security.md T6, P34).

Over HTTP, a thousand races. Whoever is answered must be given the same successor: two different ones would be two
sign-ins out of one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from bench.crowd import stage
from bench.machine import describe


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.refresh", description=__doc__)
    parser.add_argument("--races", type=int, default=1000)
    parser.add_argument("--runners", type=int, default=8)
    options = parser.parse_args()
    where = describe()
    with stage(1) as (port, customers):
        started = time.perf_counter()
        doubles, answers = asyncio.run(_races(port, customers[0], _first_token(customers[0]), options))
        took = time.perf_counter() - started
    print(
        f"`python -m bench.refresh` at {where['commit']}: {where['processor']}, {where['cores']} cores, "
        f"load {where['load_average'][0]} before.\n\n"
        f"{options.races} races of {options.runners} in {took:.0f} s; answers {dict(answers)}; "
        f"races with two different successors: {doubles} - {'PASS' if not doubles else 'MISSED'}: 0"
    )
    return 0 if not doubles else 1


def _first_token(customer: Any) -> str:
    from accounts import selectors, tokens
    from accounts.models import User
    from tenants import scope

    with scope.bind(customer.ref):
        actor = selectors.actor_of_user(User.objects.get(email=customer.email).pk)
        assert actor is not None
        return str(tokens.family_begin(actor=actor, method="password").refresh)


async def _races(port: int, customer: Any, token: str, options: argparse.Namespace) -> tuple[int, Counter[int]]:
    """Each race is about the token that the one before was given."""
    doubles, answers = 0, Counter[int]()
    async with aiohttp.ClientSession() as client:

        async def run(refresh: str) -> str:
            async with client.post(
                f"http://127.0.0.1:{port}/api/auth/refresh",
                json={"refresh_token": refresh},
                headers={"Host": customer.host},
            ) as answer:
                answers[answer.status] += 1
                return str((await answer.json()).get("refresh_token", ""))

        for _ in range(options.races):
            given = {one for one in await asyncio.gather(*(run(token) for _ in range(options.runners))) if one}
            doubles += len(given) > 1
            if not given:
                raise RuntimeError(f"nobody was given a successor: {dict(answers)}")
            token = given.pop()
    return doubles, answers


if __name__ == "__main__":
    sys.exit(main())
