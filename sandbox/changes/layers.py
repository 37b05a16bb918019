"""A workspace as a command left it: its upper layer over the root, as the overlay showed both.

May touch: files of both, for reading, by descriptors that follow no symbolic link. Nothing is
mounted. Paths are relative to the root, as `os.fsdecode` gives them.
Source: Linux Documentation/filesystems/overlayfs.rst (whiteouts, opaque directories, userxattr).
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

from sandbox import dirfd
from sandbox.permit import SandboxError

EntryKind = Literal["file", "directory", "symlink", "other"]
OPAQUE, WHITEOUT, ELSEWHERE = (
    f"user.overlay.{name}" for name in ("opaque", "whiteout", "redirect")
)
_KINDS: dict[int, EntryKind] = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
}  # fmt: skip
MAX_DEPTH = 64  # components of a path; what lies deeper is not looked at
_ABSENT = (errno.ENODATA, errno.ENOTSUP)  # the attribute, or attributes altogether


class UnreadableError(SandboxError):
    """What is there cannot be told from the two layers, so nothing is concluded from it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name is."""

    kind: EntryKind
    mode: int  # permission bits with set-id and sticky
    size: int


@dataclass(frozen=True, slots=True)
class View:
    """A workspace after a command and before it."""

    now: "Tree"
    before: "Tree"
    root: str  # absolute, as the command saw it


@contextmanager
def layers(upper: str, root: str) -> Iterator[View]:
    """Give both views of a workspace while their directories are open.

    Raises:
        PathRefusedError: a component of one of the paths is a symbolic link.
        OSError: one of them cannot be opened.
    """
    with dirfd.directory(upper) as top, dirfd.directory(root) as bottom:
        yield View(Tree(top, bottom), Tree(bottom), root)


class Tree:
    """Directories laid over one another, the top one first.

    Every method raises OSError or SandboxError where a layer cannot be read.
    """

    def __init__(self, *layers: int) -> None:
        self._held: dict[tuple[str, ...], tuple[int, ...]] = {(): layers}
        self._entries: dict[str, Entry | None] = {"": Entry("directory", 0, 0)}

    def entry(self, path: str) -> Entry | None:
        """Return what a path is, as it was when it was first asked for; None when nothing."""
        if path not in self._entries:
            self._entries[path] = self._looked_up(path)
        return self._entries[path]

    def _looked_up(self, path: str) -> Entry | None:
        *above, name = _parts(path)
        for layer in self._holding(tuple(above)):
            with dirfd.below(layer, above) as opened:
                status = dirfd.lstat(opened, name)
                if status is not None:
                    return None if _is_whiteout(opened, name, status) else _entry(status)
        return None

    def children(self, path: str) -> dict[str, Entry]:
        """Return every name of a directory; none where there is no directory."""
        parts = _parts(path)
        seen: dict[str, Entry | None] = {}
        for layer in self._holding(parts):
            with dirfd.below(layer, parts) as opened:
                with os.scandir(opened) as entries:
                    names = {entry.name for entry in entries} - seen.keys()
                for name in names:
                    status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                    hides = _is_whiteout(opened, name, status)
                    seen[name] = None if hides else _entry(status)
        return {name: entry for name, entry in seen.items() if entry is not None}

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Return the bytes of a regular file; None when nothing is there.

        Raises:
            UnreadableError: it is larger than `max_bytes`, or grew while it was read.
        """
        opened = self.open(path)
        if opened is None:
            return None
        with opened as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise UnreadableError(f"{path!r} is larger than {max_bytes} bytes")
            content = file.read(size + 1)
        if len(content) > size:
            raise UnreadableError(f"{path!r} grew while it was read")
        return content

    def open(self, path: str) -> BinaryIO | None:
        """Open a regular file for reading; None when nothing is there."""
        *above, name = _parts(path)
        for layer in self._holding(tuple(above)):
            with dirfd.below(layer, above) as opened:
                status = dirfd.lstat(opened, name)
                if status is None:
                    continue
                if _is_whiteout(opened, name, status):
                    return None
                return os.fdopen(dirfd.open_regular(opened, name, path), "rb")
        return None

    def _holding(self, parts: tuple[str, ...]) -> tuple[int, ...]:
        """Return the layers whose directories make up this one."""
        if parts not in self._held:
            self._held[parts] = self._found(parts)
        return self._held[parts]

    def _found(self, parts: tuple[str, ...]) -> tuple[int, ...]:
        found: list[int] = []
        for layer in self._holding(parts[:-1]):
            with dirfd.below(layer, parts[:-1]) as above:
                status = dirfd.lstat(above, parts[-1])
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break  # a file or a whiteout: it hides what is below
            found.append(layer)
            with dirfd.below(layer, parts) as opened:
                if _attribute(opened, ELSEWHERE):
                    raise UnreadableError(f"{'/'.join(parts)!r} stands for another directory")
                if _attribute(opened, OPAQUE) == b"y":
                    break
        return tuple(found)


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(path.split("/")) if path else ()
    if len(parts) > MAX_DEPTH:
        raise UnreadableError(f"it lies more than {MAX_DEPTH} directories deep")
    if {"", ".", ".."} & set(parts):
        raise UnreadableError(f"{path!r} is not a plain path below the workspace")
    return parts


def _entry(status: os.stat_result) -> Entry:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_size)


def _is_whiteout(inside: int, name: str, status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    return _attribute(f"/proc/self/fd/{inside}/{name}", WHITEOUT) is not None


def _attribute(of: str | int, name: str) -> bytes | None:
    try:
        return os.getxattr(of, name)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
