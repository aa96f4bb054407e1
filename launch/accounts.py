"""Which system account PostgreSQL runs under: it refuses to run as root.

As a person: the person's own. As root: a number that no passwd entry has (60800, in the range that systemd
leaves free between its own allocations: 60578-61183), so that nothing else on the machine shares it and
nothing has to be created. Only `initdb` insists on a passwd entry; it runs as `nobody` for half a second.
"""

import os
import pwd
from pathlib import Path

from launch.errors import LaunchError

UNPRIVILEGED = 60800


def server_uid(data: Path) -> int | None:
    """The uid to run the server under, None for the caller's own.

    As root an existing directory keeps its owner, for whoever made it before. Raises LaunchError when the
    data belongs to somebody else than the caller.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() == 0:
        return UNPRIVILEGED if owner in (None, 0) else owner
    if owner not in (None, os.geteuid()):
        raise LaunchError(
            f"{data} belongs to uid {owner}, and you are uid {os.geteuid()}. Start as the user who made it, "
            "or choose another place with VAR_DIR."
        )
    return None


def initdb_uid() -> int | None:
    """The uid to run initdb under, None for the caller's own."""
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise LaunchError(
                f"You are uid {os.geteuid()}, which has no entry in /etc/passwd, and PostgreSQL's initdb "
                "insists on one. Add it, start as another user, or set DATABASE_URL."
            ) from None
        return None
    for name in ("nobody", "daemon", "bin"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise LaunchError(
        "PostgreSQL will not run as root, and /etc/passwd has no user nobody, daemon or bin to run as. "
        "Start as an ordinary user, or set DATABASE_URL."
    )


def give(directory: Path, uid: int) -> None:
    """Make `uid` the owner of everything in a directory; symbolic links are changed, not followed."""
    for parent, directories, files in os.walk(directory):
        os.lchown(parent, uid, uid)
        for name in (*directories, *files):
            os.lchown(os.path.join(parent, name), uid, uid)
