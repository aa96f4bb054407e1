"""The peers that the platform is compared with, each installed in an environment of its own.

`python -m bench.peers install` makes VAR_DIR/bench/litellm-venv (0.6 GB), `install openwebui` VAR_DIR/bench/
openwebui-venv (1.7 GB). Nothing here imports them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BENCH_DIR, ROOT


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them: its name, how its package and its command are called."""

    name: str
    package: str
    command: str

    @property
    def home(self) -> Path:
        """Its environment."""
        return BENCH_DIR / f"{self.command.replace('-', '')}-venv"

    @property
    def program(self) -> Path:
        """Its command, installed or not."""
        return self.home / "bin" / self.command

    @property
    def version(self) -> str | None:
        """The installed version; None when it is not installed."""
        found = sorted(self.home.glob(f"lib/python3*/site-packages/{self.package}-*.dist-info"))
        return found[0].name.removeprefix(f"{self.package}-").removesuffix(".dist-info") if found else None

    def install(self) -> None:
        """Make the environment and install what is locked. Raises CalledProcessError.

        The lock names every package, so nothing is resolved: that keeps the numbers comparable, and it passes over
        pins of packages that are not used here (LiteLLM's database migrations and certifi; Open WebUI's torch).
        """
        venv.create(self.home, with_pip=True, clear=True)
        pip = [str(self.home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        locked = ROOT / "bench" / self.command.replace("-", "") / "requirements.txt"
        subprocess.run([*pip, "install", "--no-deps", "--only-binary", ":all:", "-r", str(locked)], check=True)


LITELLM = Peer("LiteLLM", "litellm", "litellm")
OPEN_WEBUI = Peer("Open WebUI", "open_webui", "open-webui")
PEERS = {"litellm": LITELLM, "openwebui": OPEN_WEBUI}


def main() -> int:
    """Install, or say what is installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["install", "status"])
    parser.add_argument("peer", nargs="?", choices=PEERS, default="litellm")
    options = parser.parse_args()
    peer = PEERS[options.peer]
    if options.action == "install":
        try:
            peer.install()
        except subprocess.CalledProcessError as error:
            print(f"{peer.name} could not be installed (status {error.returncode}); see above.", file=sys.stderr)
            return 1
    for one in PEERS.values():
        print(f"{one.name}: {one.version or 'not installed'} ({one.home})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
