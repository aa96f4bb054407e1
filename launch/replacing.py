"""`make replace`: the running supervisor replaces its web processes and workers, one after the other."""

import os

from launch.errors import LaunchError
from launch.layout import Layout
from launch.processes import Lock
from launch.settings import Settings
from launch.supervisor import REPLACE


def replace(settings: Settings) -> None:
    """Tell the supervisor of this VAR_DIR. Raises LaunchError when there is none."""
    holder = Lock(Layout(settings.var).run / "supervisor.lock").holder()
    if holder is None:
        raise LaunchError(f"Nothing runs with the data in {settings.var}. Start it with `make run`.")
    os.kill(holder, REPLACE)
    print("The web processes and workers are being replaced; the log of `make run` says how far that is.")
