"""Which file a program name means, and which directories of PATH may say so.

May touch: directory entries, to look. Whether a command sees the file is toolchains.py's subject.
"""

import os
from pathlib import Path

from sandbox.profile import is_within

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt")


def resolve(name: str, path_entries: tuple[str, ...]) -> str | None:
    """Return the absolute path of the first executable file called `name`, as exec would find it.

    A name with a slash is not searched for: it is returned when absolute, else None.
    """
    if "/" in name:
        return name if name.startswith("/") and _is_executable(name) else None
    candidates = (f"{entry}/{name}" for entry in path_entries)
    return next((path for path in candidates if name and _is_executable(path)), None)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113  # hot, text only


def safe_entries(path: str, workspace: str = "") -> tuple[str, ...]:
    """Return the PATH entries that exist, are absolute, and that not everyone can write to."""
    return tuple(
        entry
        for entry in dict.fromkeys(path.split(":"))
        if entry.startswith("/")
        and not (workspace and is_within(entry, workspace))
        and _is_private(Path(entry))
    )


def _is_private(entry: Path) -> bool:
    try:
        return entry.is_dir() and not entry.stat().st_mode & 0o002
    except OSError:
        return False
