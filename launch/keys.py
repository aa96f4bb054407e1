"""The generated secrets of one installation: made once, kept in VAR_DIR/secrets with mode 0600."""

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from launch.errors import LaunchError
from launch.settings import secret


def token() -> str:
    """A secret of 64 characters that stand in URLs and files as they are."""
    return secrets.token_urlsafe(48)


def fernet_key() -> str:
    """A key for FIELD_KEYS."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


# What the platform reads, and what only this room uses.
PLATFORM_KEYS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": token,
    "FIELD_KEYS": fernet_key,
    "API_KEY_PEPPER": token,
}
_PASSWORDS = ("POSTGRES_SUPERUSER_PASSWORD", "PAAS_OWNER_PASSWORD", "PAAS_APP_PASSWORD")


class Keys:
    """Reads secrets and makes the missing ones. Values given in the environment win and are not stored."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._given = {name: value for name in PLATFORM_KEYS if (value := secret(environment, name))}

    def platform(self) -> dict[str, str]:
        """SECRET_KEY, FIELD_KEYS and API_KEY_PEPPER."""
        return {name: self._given.get(name) or self._kept(name, make) for name, make in PLATFORM_KEYS.items()}

    def password(self, name: str) -> str:
        """One of the database passwords."""
        if name not in _PASSWORDS:
            raise KeyError(name)
        return self._kept(name, token)

    def check(self, database: Path) -> None:
        """Raise LaunchError when there are data whose keys are gone: new keys could not open them."""
        wanted = ["POSTGRES_SUPERUSER_PASSWORD", *(name for name in PLATFORM_KEYS if name not in self._given)]
        missing = [name.lower() for name in wanted if not self._path(name).exists()]
        if missing and (database / "PG_VERSION").exists():
            raise LaunchError(
                f"There is a database in {database}, but its keys are missing from {self._directory}: "
                f"{', '.join(missing)}. Put them back from a backup, or run `make reset` to start afresh."
            )

    def _path(self, name: str) -> Path:
        return self._directory / name.lower()

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self._path(name)
        try:
            value = path.read_text().strip()
        except FileNotFoundError:
            value = ""
        if not value:
            value = make()
            # Written beside and renamed: a full disk must not leave half a key that is then believed.
            unfinished = path.with_suffix(".unfinished")
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        return value
