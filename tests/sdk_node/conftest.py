"""Clients that run in Node, each as one process against the real server. `npm ci` here first; `.ci/run` does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.embeddings import vector_of
from tests.chat.conftest import agent, agents, embedder, ledger, vendor  # noqa: F401  # the fixtures
from tests.sdk.asking import PICTURE
from tests.sdk.conftest import able, base, busy_once  # noqa: F401

HERE = Path(__file__).parent
# What a script calls an agent, and the stand-in vendor's model behind it.
MODELS = {
    "words": "bench-0-0-4",
    "thinks": "reasoning-3",
    "tools": "tools-lookup",
    "limited": "fault-429-9",
    "failing": "fault-500",
    "cut": "fault-cut-2",
    "stalls": "fault-stall-2",
}


@pytest.fixture
def node(base: str, api_key: Any, agent: Any, able: Any, embedder: None) -> Callable[..., Any]:
    """`await node("openai.mjs")`: {feature: "" or what went wrong} of a script."""
    slugs = {name: agent(model) for name, model in MODELS.items()} | {"able": able("echo")}
    given = {
        "PATH": os.environ["PATH"],
        "NODE_NO_WARNINGS": "1",
        "BASE_URL": base,
        "KEY": api_key(),
        "AGENTS": json.dumps(slugs),
        "PICTURE": PICTURE,
        "VECTORS": json.dumps([vector_of("a", 4), vector_of("b", 4)]),
    }

    async def run(script: str, *features: str) -> dict[str, str]:
        process = await asyncio.create_subprocess_exec(
            *("node", script, *features), cwd=HERE, env=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )  # fmt: skip
        try:
            out, errors = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, errors.decode()
        lines = [json.loads(line) for line in out.decode().splitlines()]
        return {line["feature"]: line["said"] for line in lines}

    return run
