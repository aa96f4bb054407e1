"""`make reset`: forget everything that was stored, after asking."""

import os
import shutil
import sys
from collections.abc import Mapping

from launch.errors import LaunchError
from launch.layout import Layout
from launch.processes import Lock
from launch.settings import ROOT, Settings

# Only what is known to be ours: VAR_DIR may name a directory that holds other things too.
_OURS = ("postgres", "redis", "files", "log", "run", "secrets")


def reset(settings: Settings, environment: Mapping[str, str]) -> None:
    """Delete all data of this installation. Raises LaunchError while it runs, or without a yes."""
    layout = Layout(settings.var)
    if not settings.var.exists():
        print(f"There is nothing to wipe: {settings.var} does not exist.")
        return
    layout.run.mkdir(exist_ok=True)
    lock = Lock(layout.run / "supervisor.lock")
    lock.take(settings.port)
    try:
        if environment.get("FORCE") != "1":
            _ask(settings)
        found = (
            sorted(settings.var.iterdir()) if settings.var == ROOT / "var" else [settings.var / name for name in _OURS]
        )
        for entry in found:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except PermissionError as error:
        raise LaunchError(
            f"{error.filename} belongs to somebody else. Run `make reset` as the user who ran `make run`."
        ) from error
    finally:
        lock.release()
    left = [entry.name for entry in settings.var.iterdir()]
    if not left:
        settings.var.rmdir()
    print(f"All data in {settings.var} are gone." + (f" Not ours, so kept: {', '.join(left)}." if left else ""))
    if settings.database_url:
        print("The database that DATABASE_URL names was not touched.")


def _ask(settings: Settings) -> None:
    if not sys.stdin.isatty():
        raise LaunchError("Nothing was wiped, since there is nobody to ask. In a script: FORCE=1 make reset")
    print(f"This deletes all tenants, conversations, files and keys in {settings.var}, for good.")
    try:
        answer = input("Type yes to go on: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() != "yes":
        raise LaunchError(f"Nothing was wiped.{os.linesep if not answer else ''}")
