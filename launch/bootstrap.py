"""`make` starts here, with whatever Python 3.11 or newer there is: makes .venv, then becomes a program in it.

    python3 -m launch.bootstrap requirements.txt -- -m launch run
    python3 -m launch.bootstrap --uv pip compile ...            # the pinned uv, once

A stamp in .venv holds the hash of what was installed, so that a later start goes straight on (0.1 s) and
needs no network. Standard library only.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before the imports: they need it
    sys.exit(
        f"Agent PaaS needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. "
        "Install one and run `make PYTHON=/path/to/python3.11 ...`."
    )

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path

from launch.errors import LaunchError
from launch.packages import (
    Installer,
    Progress,
    pip_command,
    pip_configuration,
    pip_environment,
    uv_environment,
)

ROOT = Path(__file__).resolve().parent.parent
NEEDED_BYTES = 1_000_000_000  # measured: 0.5 GB installed, and what uv unpacks meanwhile


class Environment:
    """The virtual environment in `home`, and the record of what is in it."""

    def __init__(self, home: Path, progress: Progress) -> None:
        home = home.resolve()  # one that several checkouts share by a link is where it is, and is not made anew
        self.home = home
        self.python = home / "bin" / "python"
        self._stamp = home / "agent-paas.json"
        self._unfinished = home / "unfinished"
        self._progress = progress

    def ensure(self, requirements: Path) -> None:
        """Make the environment hold `requirements`. Raises LaunchError."""
        if self._holds(requirements):
            return
        self.home.mkdir(exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            self._wait_for(lock.fileno())
            if not self._holds(requirements):
                self._install(requirements)

    def _wait_for(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._progress.note("Waiting for another make to finish installing into .venv.")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def _holds(self, requirements: Path) -> bool:
        try:
            stamp = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return False
        # The place counts because scripts in bin/ name it: a directory that was moved is made anew.
        return bool(
            self.python.exists()
            and stamp.get("place") == str(self.home)
            and stamp.get(requirements.name) == _digest(requirements)
        )

    def _install(self, requirements: Path) -> None:
        free = shutil.disk_usage(self.home).free
        if free < NEEDED_BYTES:
            raise LaunchError(
                f"Installing needs about {NEEDED_BYTES // 10**6} MB on the disk that holds "
                f"{self.home.parent}, and {free // 10**6} MB are free. Make room and run make again."
            )
        os.umask(0o022)  # another uid (PostgreSQL's, when root starts it) must be able to run what is installed
        self._make()
        # Until it is removed, whatever is in the directory is not to be trusted.
        self._unfinished.touch()
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.home))
        try:
            tool = Installer(self.python, scratch, self._progress).install(requirements)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._stamp.write_text(json.dumps(self._now_holds(requirements)))
        self._unfinished.unlink()
        count = len(_pins(requirements))
        self._progress.note(f"{count} packages installed with {tool}.")

    def _make(self) -> None:
        """An empty environment, unless there is a sound one that can be added to."""
        sound = self.python.exists() and not self._unfinished.exists()
        if sound and self._place() in (None, str(self.home)):
            return
        for entry in self.home.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        base = getattr(sys, "_base_executable", "") or sys.executable
        result = subprocess.run(
            [base, "-m", "venv", "--without-pip", str(self.home)], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise LaunchError(
                f"{base} could not make a virtual environment. Debian and Ubuntu need the package python3-venv for it.",
                (result.stdout + result.stderr).splitlines()[-5:],
            )
        self._progress.note("Virtual environment made in .venv.")

    def _place(self) -> str | None:
        try:
            place = json.loads(self._stamp.read_text()).get("place")
        except (OSError, ValueError):
            return None
        return str(place)

    def _now_holds(self, requirements: Path) -> dict[str, str]:
        stamp = {"place": str(self.home), requirements.name: _digest(requirements)}
        smaller = requirements.with_name("requirements.txt")
        if smaller.is_file() and _pins(smaller) <= _pins(requirements):
            stamp[smaller.name] = _digest(smaller)
        return stamp


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pins(requirements: Path) -> set[str]:
    return set(re.findall(r"^[A-Za-z0-9][^\s;]*==[^\s;]+", requirements.read_text(), re.MULTILINE))


def keep_bytecode(variables: MutableMapping[str, str], home: Path) -> None:
    """Let programs keep their bytecode: without, each start of each process compiles Django anew (4 s).

    A person who asked for no bytecode files among the sources gets them inside .venv.
    """
    if variables.pop("PYTHONDONTWRITEBYTECODE", ""):
        variables.setdefault("PYTHONPYCACHEPREFIX", str(home / "bytecode"))


def run_uv(arguments: list[str]) -> int:
    """Run the pinned uv once with the person's package sources; returns its exit code."""
    pip = pip_command()
    if pip is None:
        raise LaunchError("There is no pip in this Python to fetch uv with.")
    with tempfile.TemporaryDirectory() as place:
        options = ["-qq", "--no-deps", "--require-hashes", "--target", place]
        requirements = str(Path(__file__).resolve().with_name("uv.txt"))
        subprocess.run([*pip, "install", *options, "-r", requirements], env=pip_environment(os.environ), check=True)
        listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True).stdout
        environment = uv_environment(pip_configuration(listing), os.environ)
        return subprocess.run([f"{place}/bin/uv", *arguments], env=environment, check=False).returncode


def main(arguments: list[str]) -> None:
    """Make the environment hold a requirements file, then become its Python with the arguments after `--`."""
    started = time.monotonic()
    if arguments[:1] == ["--uv"]:
        sys.exit(run_uv(arguments[1:]))
    requirements, separator, program = arguments[0], arguments[1:2], arguments[2:]
    environment = Environment(ROOT / ".venv", Progress(started))
    environment.ensure(ROOT / requirements)
    if separator == ["--"] and program:
        os.environ["LAUNCH_STARTED"] = str(started)  # CLOCK_MONOTONIC is the machine's, so it goes on counting
        keep_bytecode(os.environ, environment.home)
        sys.stdout.flush()
        os.execv(environment.python, [str(environment.python), *program])  # noqa: S606


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LaunchError as error:
        sys.exit("\n".join(["", error.message, *(f"  {line}" for line in error.details)]))
    except OSError as error:
        sys.exit(
            f"\n{error.strerror}: {error.filename}. " + ("Make room and run make again." if error.errno == 28 else "")
        )
    except KeyboardInterrupt:
        sys.exit(130)
