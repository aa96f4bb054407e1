"""`python -m launch run` and `python -m launch reset`; `make` calls them inside .venv."""

import asyncio
import os
import sys
import time

from launch.console import Console
from launch.errors import LaunchError
from launch.reset import reset
from launch.settings import Settings
from launch.supervisor import Supervisor


async def _run(settings: Settings, console: Console) -> int:
    return await Supervisor(settings, console, os.environ).run()


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    started = float(os.environ.pop("LAUNCH_STARTED", "0")) or time.monotonic()
    console = Console(sys.stdout, os.environ, started)
    try:
        settings = Settings.read(os.environ)
        if arguments == ["run"]:
            return asyncio.run(_run(settings, console))
        if arguments == ["reset"]:
            reset(settings, os.environ)
            return 0
    except LaunchError as error:
        console.failure(error)
        return 1
    print("Say `python -m launch run` or `python -m launch reset`.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
