"""Who may change the programs a command starts, and which of them take rights when started.

May touch: files and directories, to look at their owners and modes.
"""

import os
import stat
from pathlib import Path

from sandbox.profile import Programs

CAPABILITIES = "security.capability"


def examine(
    argv: tuple[str, ...] | None, names: tuple[str, ...], entries: tuple[str, ...]
) -> Programs:
    """Return what is known of the programs of one command.

    A name is looked for in `entries`, the PATH of the profile that would run it; one that is
    nowhere starts nothing. `argv` is the lone vector, None where there is a script.
    """
    found = {name: path for name in names if (path := _find(name, entries))}
    return Programs(
        argv=argv or (),
        names=names,
        foreign=tuple(sorted({path for path in found.values() if not is_roots(path)})),
        set_id=tuple(sorted({Path(n).name for n, path in found.items() if takes_rights(path)})),
    )


def _find(name: str, entries: tuple[str, ...]) -> str:
    candidates = [name] if "/" in name else [f"{entry}/{name}" for entry in entries]
    return next((path for path in candidates if name and Path(path).is_file()), "")


def is_roots(path: str) -> bool:
    """Return whether root alone can change a file and every directory on the way to it."""
    real = Path(path).resolve()
    try:
        for each in (real, *real.parents):
            status = each.stat()
            by_group = status.st_mode & stat.S_IWGRP and status.st_gid != 0
            if status.st_uid != 0 or by_group or status.st_mode & stat.S_IWOTH:
                return False
    except OSError:
        return False
    return True


def takes_rights(path: str) -> bool:
    """Return whether starting a file would give its process rights the caller has not."""
    try:
        if Path(path).stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
            return True
        return CAPABILITIES in os.listxattr(path)
    except OSError:
        return False
