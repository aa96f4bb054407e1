"""`python -m launch run`, `cluster`, `replace` and `reset`; `make` calls them inside .venv."""

import asyncio
import os
import sys
import time

from launch.cluster import ClusterParts
from launch.console import Console
from launch.errors import LaunchError
from launch.parts import Parts
from launch.replacing import replace
from launch.reset import reset
from launch.settings import Settings
from launch.supervisor import Supervisor


async def _run(settings: Settings, console: Console, make_parts: type[Parts] = Parts) -> int:
    return await Supervisor(settings, console, os.environ, make_parts).run()


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    started = float(os.environ.pop("LAUNCH_STARTED", "0")) or time.monotonic()
    console = Console(sys.stdout, os.environ, started)
    try:
        settings = Settings.read(os.environ, cluster=arguments == ["cluster"])
        if arguments == ["run"]:
            return asyncio.run(_run(settings, console))
        if arguments == ["cluster"]:
            return asyncio.run(_run(settings, console, ClusterParts))
        if arguments == ["replace"]:
            replace(settings)
            return 0
        if arguments == ["reset"]:
            reset(settings, os.environ)
            return 0
    except LaunchError as error:
        console.failure(error)
        return 1
    print("Say `python -m launch run`, `cluster`, `replace` or `reset`.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
