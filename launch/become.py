"""A script that turns into another program: `become.py PARENT DEATH_SIGNAL UID PROGRAM ARGUMENTS...`.

Run as its own small process (with -I -S: 15 ms) by launch.spawn, because `preexec_fn` would run Python
between fork and exec of a process with threads, which may deadlock. Imports little, to start fast.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def become(parent: int, death_signal: int, uid: int | None, argv: list[str]) -> None:
    """Make a session, drop to `uid`, ask for `death_signal` when `parent` dies (Linux), and exec `argv`."""
    os.setsid()
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid: changing credentials clears the death signal.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above, so no signal will ever come
            raise SystemExit(1)
    os.execvpe(argv[0], argv, os.environ)  # noqa: S606


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3] else None, sys.argv[4:])
