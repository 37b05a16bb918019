"""State only its owner can reach: directories 0700, files 0600, never through a symlink.

May touch: the modes of what it creates. A path that others could have prepared is refused, with
the command that mends it; nothing is chmod-ed behind the owner's back.
"""

import os
import stat
from pathlib import Path

from approvals.request import ApprovalError


def private_directory(path: Path) -> None:
    """Create `path` with mode 0700, or check that it is a directory only we can enter.

    Raises:
        ApprovalError: a symlink, another owner, or a mode that lets others in.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}. No approval can be given.") from error
    _check(path, found, "directory" if stat.S_ISDIR(found.st_mode) else "", 0o700)


def private_file(path: Path) -> None:
    """Create an empty file with mode 0600, or check that it is a regular file only we can open.

    Raises:
        ApprovalError: a symlink, another owner, or a mode that lets others in.
    """
    try:
        created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(created)
        found = path.lstat()
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}. No approval can be given.") from error
    _check(path, found, "file" if stat.S_ISREG(found.st_mode) else "", 0o600)


def _check(path: Path, found: os.stat_result, kind: str, mode: int) -> None:
    if not kind:
        raise ApprovalError(
            f"{path}: a symlink or special file stands where our state belongs. "
            "Nothing was read or written; move it away."
        )
    if found.st_uid != os.geteuid():
        raise ApprovalError(
            f"{path}: the {kind} belongs to uid {found.st_uid}, not to uid {os.geteuid()}. "
            "Nothing was read or written; give it to the right owner or move it away."
        )
    if found.st_mode & 0o077:
        raise ApprovalError(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others in. "
            f"Nothing was read or written; run: chmod {mode:04o} {path}"
        )
