"""Puts locked packages into a virtual environment, quickly: with uv, which is itself fetched by pip.

uv installs the whole list in about 4 s where pip takes 40; fetching it takes 2 s, and it does not stay.
Where packages come from is the person's business: pip's own configuration (files and PIP_* variables) is used
by pip as it is and translated for uv.
"""

import ast
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from launch.errors import LaunchError

UV_REQUIREMENTS = Path(__file__).resolve().with_name("uv.txt")
# pip option -> uv variable, and how uv separates several values (pip: white space).
_TRANSLATION = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}


class Installer:
    """Installs requirement files into the environment whose interpreter is `python`.

    `scratch` is a directory on the environment's own disk (so that uv can link instead of copying); the
    caller removes it. `progress` is told what is being done, in words.
    """

    def __init__(self, python: Path, scratch: Path, progress: "Progress") -> None:
        self._python = python
        self._scratch = scratch
        self._progress = progress
        self._pip = pip_command()

    def install(self, requirements: Path) -> str:
        """Install a locked file (hashes required) and return the name of the tool that did it.

        Raises LaunchError when neither uv nor pip could.
        """
        uv = self._uv()
        options = ["--no-deps", "--require-hashes", "-r", str(requirements)]
        if uv is not None:
            command = [str(uv), "pip", "install", "--quiet", "--python", str(self._python), *options]
            environment = uv_environment(self._pip_configuration(), os.environ)
            # A cache of its own would stay behind with as much again; an existing one is used.
            if "UV_CACHE_DIR" not in environment and not Path("~/.cache/uv").expanduser().is_dir():
                environment["UV_CACHE_DIR"] = str(self._scratch / "cache")
            output = self._run("Installing packages", command, environment)
            if output is None:
                return "uv"
            if _is_full("\n".join(output), self._scratch):
                raise LaunchError(_why(output, self._scratch))
            self._progress.note("uv could not install the packages, so pip tries.")
        if self._pip is None:
            raise LaunchError(
                "There is no pip in this Python and no uv on PATH, so packages cannot be installed. "
                "Install one of them (Debian and Ubuntu: the package python3-venv), then run make again."
            )
        command = [*self._pip, "--python", str(self._python), "install", "-qq", "--no-input", *options]
        output = self._run("Installing packages with pip", command, pip_environment(os.environ))
        if output is not None:
            raise LaunchError(_why(output, self._scratch), output[-8:])
        return "pip"

    def _uv(self) -> Path | None:
        """The pinned uv, fetched by pip; the one on PATH where there is no pip; None where neither works."""
        if self._pip is None:
            found = shutil.which("uv")
            return None if found is None else Path(found)
        home = self._scratch / "uv"
        options = ["-qq", "--no-input", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        where = ["--retries", "1", "--target", str(home), "-r", str(UV_REQUIREMENTS)]
        command = [*self._pip, "install", *options, *where]
        output = self._run("Fetching the installer", command, pip_environment(os.environ))
        program = home / "bin" / "uv"
        return program if output is None and program.is_file() else None

    def _pip_configuration(self) -> dict[str, str]:
        if self._pip is None:
            return {}
        result = subprocess.run([*self._pip, "config", "list"], capture_output=True, text=True, check=False)
        return pip_configuration(result.stdout)

    def _run(self, what: str, command: list[str], environment: dict[str, str]) -> list[str] | None:
        """Run to the end under a progress line; None when it succeeded, else the lines it printed."""
        log = self._scratch / "output"
        with log.open("wb") as output, self._progress.during(what) as tick:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(1)
                        break
                    tick()
            except BaseException:
                process.kill()
                process.wait()
                raise
        return None if process.returncode == 0 else log.read_text(errors="replace").splitlines()


class Progress:
    """Lines that say what is being done and for how long: rewritten in place on a terminal."""

    def __init__(self, started: float) -> None:
        self._started = started

    def note(self, text: str) -> None:
        """One line, with the seconds since the start."""
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)

    @contextlib.contextmanager
    def during(self, what: str) -> Iterator["_Tick"]:
        """Inside, call the given function now and then; it shows that time passes."""
        yield _Tick(what, self, time.monotonic())
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)


class _Tick:
    def __init__(self, what: str, progress: Progress, started: float) -> None:
        self._what = what
        self._progress = progress
        self._started = started
        self._said = started

    def __call__(self) -> None:
        now = time.monotonic()
        if sys.stdout.isatty():
            print(f"\r\033[K          {self._what}, {now - self._started:.0f} s", end="", flush=True)
        elif now - self._said >= 10:
            self._said = now
            self._progress.note(f"{self._what}, {now - self._started:.0f} s so far.")


def pip_command() -> list[str] | None:
    """How to run pip without installing it: the installed Python's own, or the wheel inside ensurepip."""
    # Inside .venv, which has no pip, the Python that it was made from may have one.
    base = getattr(sys, "_base_executable", None) or sys.executable
    for python in dict.fromkeys([base, sys.executable]):
        if subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0:
            return [python, "-m", "pip"]
    bundled = importlib.util.find_spec("ensurepip")
    if bundled is not None and bundled.origin is not None:
        # Distributions may keep ensurepip's wheels in a directory of their own.
        places = [Path(bundled.origin).parent / "_bundled", Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/")]
        wheels = [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))]
        if wheels:
            return [sys.executable, str(wheels[-1] / "pip")]
    return None


def pip_environment(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """The person's environment without the settings that forbid what is done here."""
    return dict(environment) | {
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_USER": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def pip_configuration(listing: str) -> dict[str, str]:
    """What `pip config list` printed, as option -> value: a variable beats `install` beats `global`."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        name, found, value = line.partition("=")
        section, _, option = name.rpartition(".")
        rank = {"global": 1, "install": 2, ":env:": 3}.get(section)
        if not found or rank is None:
            continue
        try:
            text = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            continue
        if rank >= ranked.get(option, (0, ""))[0]:
            ranked[option] = (rank, text)
    return {option: text for option, (_, text) in ranked.items()}


def uv_environment(configuration: dict[str, str], environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """The environment in which uv takes packages from where pip would. The person's own UV_* settings win."""
    result = dict(environment)
    for option, (variable, separator) in _TRANSLATION.items():
        if configuration.get(option):
            result.setdefault(variable, separator.join(configuration[option].split()))
    # pip looks in all indexes alike. The hashes make that safe.
    result.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return result


def _is_full(text: str, place: Path) -> bool:
    return "No space left" in text or shutil.disk_usage(place).free < 20_000_000


def _why(output: list[str], place: Path) -> str:
    text = "\n".join(output)
    if _is_full(text, place):
        return f"The disk that holds {place.parent.parent} is full. Make room (about 1 GB) and run make again."
    if "hashes" in text.lower() and "do not match" in text.lower():
        return "A package differs from the one that was locked, so it was not installed. Try another index."
    return (
        "The packages could not be installed. Is the network up? pip uses your own configuration "
        "(`python3 -m pip config list` shows it)."
    )
