"""The peers that the platform is compared with, each installed in an environment of its own.

`python -m bench.peers install` makes VAR_DIR/bench/litellm-venv (0.6 GB). Nothing here imports them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

from bench.processes import BENCH_DIR, ROOT

LITELLM_HOME = BENCH_DIR / "litellm-venv"
REQUIREMENTS = ROOT / "bench" / "litellm" / "requirements.txt"


def litellm_program() -> Path:
    """The proxy's command, installed or not."""
    return LITELLM_HOME / "bin" / "litellm"


def litellm_version() -> str | None:
    """The installed version; None when it is not installed."""
    found = sorted(LITELLM_HOME.glob("lib/python3*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if found else None


def install() -> None:
    """Make the environment and install what is locked. Raises CalledProcessError.

    The lock names every package, so nothing is resolved: that keeps the numbers comparable, and it passes
    over two exact pins of litellm (its database migrations and certifi), which are not used here.
    """
    venv.create(LITELLM_HOME, with_pip=True, clear=True)
    pip = [str(LITELLM_HOME / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--only-binary", ":all:", "-r", str(REQUIREMENTS)], check=True)


def main() -> int:
    """Install, or say what is installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["install", "status"])
    if parser.parse_args().action == "install":
        try:
            install()
        except subprocess.CalledProcessError as error:
            print(f"LiteLLM could not be installed (status {error.returncode}); see above.", file=sys.stderr)
            return 1
    print(f"LiteLLM: {litellm_version() or 'not installed'} ({LITELLM_HOME})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
