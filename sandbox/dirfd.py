"""Directory descriptors: paths are walked one component at a time and no symlink is followed.

May touch: the files it is asked for, for reading. May not touch: anything by a whole path, because
a component could be swapped between the check and the use; a held descriptor cannot.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from sandbox.permit import SandboxError

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that replaced the file after lstat must not hang the open.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
HELD_OPEN = 48  # directories of one way: what lies beside is reached from the nearest
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs")  # characters a reader cannot see in a path


class PathRefusedError(SandboxError):
    """A path leaves its root, is not what it must be, or does not display as written."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file keeps besides its bytes."""

    mode: int
    uid: int
    gid: int
    xattrs: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class FileState:
    """One regular file as it was read; `stamp` tells whether it was touched since."""

    content: bytes
    metadata: Metadata
    links: int
    stamp: tuple[int, ...]


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced (a new link changes only ctime)."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def relative_parts(path: str) -> tuple[str, ...]:
    """Return the components of a relative path that stays below its root as written.

    Raises:
        PathRefusedError: the path is absolute, empty, or has `.`, `..`, empty or unprintable parts.
    """
    if path.startswith("/"):
        raise PathRefusedError(f"{path!r} is absolute; name it relative to the workspace")
    parts = tuple(path.split("/"))
    if ".." in parts:
        raise PathRefusedError(f"{path!r} climbs out with '..'; name the file below the workspace")
    if "" in parts or "." in parts:
        raise PathRefusedError(f"{path!r} has an empty or '.' component; write the plain path")
    if any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in path):
        raise PathRefusedError(f"{path!r} contains characters that do not display")
    return parts


@contextmanager
def directory(path: str) -> Iterator[int]:
    """Open an absolute directory path for listing, without following any symlink.

    Raises:
        PathRefusedError: a component is a symlink, or not a directory.
        OSError: a component is absent or not permitted.
    """
    if not path.startswith("/"):
        raise PathRefusedError(f"{path!r} is not absolute")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise PathRefusedError(f"{path!r} contains '..'; write the plain path")
    root = os.open("/", _STEP)
    try:
        with below(root, parts) as opened:
            yield opened
    finally:
        os.close(root)


@contextmanager
def below(root: int, parts: Sequence[str]) -> Iterator[int]:
    """Open the directory reached from `root` by `parts`, following no symlink.

    Raises:
        PathRefusedError: a component is a symlink, or not a directory.
        OSError: a component is absent or not permitted.
    """
    current = os.open(".", _STEP, dir_fd=root)
    try:
        for depth, part in enumerate(parts):
            following = step(current, part, "/".join(parts[: depth + 1]))
            os.close(current)
            current = following
        opened = os.open(".", _LIST, dir_fd=current)
    finally:
        os.close(current)
    try:
        yield opened
    finally:
        os.close(opened)


def step(current: int, part: str, shown: str) -> int:
    """Open one directory of another, as a place to go on from; `shown` names it in an error.

    Raises:
        PathRefusedError: it is a symlink, or not a directory.
        OSError: it is absent or not permitted.
    """
    try:
        return os.open(part, _STEP, dir_fd=current)
    except NotADirectoryError as error:
        with suppress(OSError):
            target = os.readlink(part, dir_fd=current)
            raise PathRefusedError(
                f"{shown!r} is a symbolic link to {target!r}; links are not followed, "
                "name the real path"
            ) from error
        raise PathRefusedError(f"{shown!r} is not a directory") from error


class Descent:
    """The directories below one, reached without following a link; the last few stay open.

    A path is relative, its parts separated by one slash; "" and "." are the base itself.
    """

    def __init__(self, base: int) -> None:
        self._base = base  # stays the caller's
        self._held: list[tuple[str, int]] = []  # on the way to the last one, the deepest last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:
            os.close(self._held.pop()[1])

    def at(self, path: str) -> int:
        """Return a directory; the descriptor is good until the next call.

        Raises:
            PathRefusedError: a component is a symlink, no directory, empty, or `..`.
            OSError: a component is absent or not permitted.
        """
        if self._held and self._held[-1][0] == path:
            return self._held[-1][1]
        path = "" if path == "." else path
        while self._held and not f"{path}/".startswith(f"{self._held[-1][0]}/"):
            os.close(self._held.pop()[1])
        above, here = self._held[-1] if self._held else ("", self._base)
        rest = path[len(above) :].lstrip("/") if above else path
        for part in rest.split("/") if rest else ():
            if part in {"", ".", ".."}:
                raise PathRefusedError(f"{path!r} is not a plain path below a directory")
            here = step(here, part, path)
            above = f"{above}/{part}" if above else part
            self._held.append((above, here))
            if len(self._held) > HELD_OPEN:
                os.close(self._held.pop(0)[1])
        return here

    def parent(self, path: str) -> tuple[int, str]:
        """Return the directory that holds a name, as `at` does, and the name."""
        above, _, name = path.rpartition("/")
        return self.at(above), name


def lstat(parent: int, name: str) -> os.stat_result | None:
    """Return the status of a name itself, never of what it links to; None when absent."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_regular(parent: int, name: str, shown: str) -> int:
    """Open a regular file for reading; a FIFO, device, socket, directory or link is refused.

    Raises:
        PathRefusedError: the name is not a regular file.
        OSError: it is absent or not permitted.
    """
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    _require_regular(found, shown)
    opened = os.open(name, _READ, dir_fd=parent)
    try:
        # The name may have been swapped since the lstat; the descriptor is what counts.
        _require_regular(os.fstat(opened), shown)
    except PathRefusedError:
        os.close(opened)
        raise
    return opened


def _require_regular(status: os.stat_result, shown: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISLNK(status.st_mode):
        raise PathRefusedError(
            f"{shown!r} is a symbolic link; links are not followed, name the real path"
        )
    if stat.S_ISDIR(status.st_mode):
        raise PathRefusedError(f"{shown!r} is a directory")
    raise PathRefusedError(f"{shown!r} is a device, FIFO or socket, not a regular file")


def read_state(parent: int, name: str, shown: str, *, max_bytes: int) -> FileState | None:
    """Return a file's bytes and metadata as one state, or None when it is absent.

    Raises:
        PathRefusedError: not a regular file, larger than `max_bytes`, or changing while read.
    """
    try:
        opened = open_regular(parent, name, shown)
    except FileNotFoundError:
        return None
    with os.fdopen(opened, "rb") as file:
        before = os.fstat(opened)
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise PathRefusedError(f"{shown!r} is larger than {max_bytes} bytes")
        metadata = Metadata(
            stat.S_IMODE(before.st_mode), before.st_uid, before.st_gid, _xattrs(opened)
        )
        after = os.fstat(opened)
    if stamp_of(before) != stamp_of(after) or len(content) != after.st_size:
        raise PathRefusedError(f"{shown!r} changed while it was read; try again")
    return FileState(content, metadata, after.st_nlink, stamp_of(after))


def _xattrs(opened: int) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(opened)
    except OSError:  # the filesystem has none
        return ()
    return tuple((name, os.getxattr(opened, name)) for name in sorted(names))
