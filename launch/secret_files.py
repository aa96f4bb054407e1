"""The secrets of an installation in containers, one file each: `python3 -m launch.secret_files deploy/secrets`.

What is there stays as it is, so it may be run again (after an upgrade, say). Standard library only. The folder is for
its owner alone; the files in it can be read by everybody, because in a container another uid reads them.
"""

import argparse
import sys
from pathlib import Path

from launch.keys import fernet_key, token

DATABASE = "paas"
_FILE_MODE = 0o444


class Folder:
    """Files of one value each in a directory that only its owner can enter."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        self.directory = directory
        self.made: list[str] = []

    def kept(self, name: str, value: str) -> str:
        """What the file says; `value`, written into it, where there is none."""
        path = self.directory / name
        if not path.exists():
            unfinished = path.with_name(f".{name}.unfinished")
            unfinished.write_text(value)
            unfinished.chmod(_FILE_MODE)
            unfinished.rename(path)
            self.made.append(name)
        return path.read_text().strip()


def make(directory: Path, *, postgres: str, redis: str) -> list[str]:
    """Make what is missing; returns the names of what was made.

    postgres, redis: host and port of both, as `postgres:5432`.
    """
    folder = Folder(directory)
    folder.kept("field_keys", fernet_key())
    folder.kept("backup_key", fernet_key())
    for name in ("secret_key", "api_key_pepper", "grafana_password"):
        folder.kept(name, token())
    admin = folder.kept("postgres_password", token())
    folder.kept("database_admin_url", _url("postgres", admin, postgres, "postgres"))
    folder.kept("database_owner_url", _url("paas_owner", token(), postgres, DATABASE))
    folder.kept("database_url", _url("paas_app", token(), postgres, DATABASE))
    url = folder.kept("redis_url", f"redis://:{token()}@{redis}/0")
    folder.kept("redis_conf", _redis_conf(url))
    for name in ("email_password", "secret_key_fallbacks"):
        folder.kept(name, "")
    return folder.made


def _url(user: str, password: str, where: str, database: str) -> str:
    return f"postgresql://{user}:{password}@{where}/{database}"


def _redis_conf(url: str) -> str:
    """Nothing in it must last (docs/operations.md), and nothing may be evicted."""
    password = url.partition("://:")[2].partition("@")[0]
    lines = [f"requirepass {password}", 'save ""', "appendonly no", "maxmemory 512mb", "maxmemory-policy noeviction"]
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m launch.secret_files", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--postgres", default="postgres:5432", help="host:port (default %(default)s)")
    parser.add_argument("--redis", default="redis:6379", help="host:port (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        made = make(options.directory, postgres=options.postgres, redis=options.redis)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.directory}: {', '.join(made) or 'everything is there'}")
    if made:
        print(
            "Keep a copy elsewhere: without field_keys, stored keys of model vendors cannot be read again; "
            "without backup_key, no backup can."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
