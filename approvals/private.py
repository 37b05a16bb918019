"""State only its owner can reach: directories 0700, files 0600, never through a symlink.

May touch: the modes of what it creates. A path that others could have prepared is refused, with
the command that mends it; nothing is chmod-ed behind the owner's back.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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


def read_private(path: Path, max_bytes: int) -> bytes:
    """Return what a regular file that only we can open begins with, up to `max_bytes`.

    Raises:
        ApprovalError: it is missing, a symlink, another owner's, or lets others in.
    """
    try:
        # A FIFO would keep us waiting for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ApprovalError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        found = os.fstat(descriptor)
        _check(path, found, "file" if stat.S_ISREG(found.st_mode) else "", 0o600)
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def replace_private(path: Path, text: str) -> None:
    """Write a file with mode 0600; a crash leaves the old one or the new one.

    Raises:
        OSError: it could not be written; the old one is still there.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Hold the lock on a private file for the block; None where another process holds it.

    Raises:
        ApprovalError: the file or its directory is not private.
    """
    private_directory(path.parent)
    private_file(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)


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
