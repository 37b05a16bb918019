"""What a command did to its workspace, read from the upper layer of its overlay.

May touch: the upper layer, to open what its owner closed to himself; the workspace, to read. The
cost is that of the changes, not of the workspace. The overlay must be unmounted.
INVARIANT: no symbolic link is followed, in the layer or in the workspace.
Source: Linux Documentation/filesystems/overlayfs.rst; what it notes on files is named there.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.changes.model import Change, Found, Move, Operation, Step
from sandbox.changes.objects import (
    OVERLAY,
    READ,
    at,
    is_closed,
    is_plain,
    kind_of,
    listed,
    open_up,
    reading,
    walk,
    without_overlay,
    xattrs,
)
from sandbox.changes.record import Stamp, stamp
from sandbox.dirfd import Descent, PathRefusedError, directory, lstat
from sandbox.permit import SandboxError

OPAQUE, WHITEOUT, ORIGIN = OVERLAY + "opaque", OVERLAY + "whiteout", OVERLAY + "origin"
MAX_COMPARED_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_MAX_PATH_BYTES = 4095  # PATH_MAX without its NUL
_HOLDS_WHITEOUTS = b"x"  # value of OPAQUE on a directory whose whiteouts are files


class UpperError(SandboxError):
    """What a command left cannot be read as a change set; nothing of it reached the workspace."""


def read(upper: Path, root: Path) -> Found:
    """Return what the command did.

    Args:
        upper: upper directory of the overlay; no other process may write it.
        root: the workspace, which was the lower directory; absolute, no symbolic link in it.

    Raises:
        UpperError: a path too long for anybody, or a directory of the workspace that is closed even
            to its owner.
    """
    mode = upper.stat().st_mode
    if is_closed(mode):
        upper.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
    opened = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with directory(str(root)) as root_fd:
            return _Reading(opened, root_fd, len(os.fsencode(root))).run()
    except PermissionError as error:
        raise UpperError(
            f"{error.filename!r} is in a directory that is closed even to its owner, so nobody can "
            "say what the command changed there; open it (chmod u+rwx) and run the command again"
        ) from error
    except OSError as error:
        raise UpperError(f"what the command wrote cannot be read: {error}") from error
    finally:
        os.close(opened)


def deleted_meanwhile(found: Found, root: Path, since_ns: int) -> tuple[str, ...]:
    """Return the orphans that the workspace's owner may have deleted while the command ran.

    A directory cannot be renamed on an overlay, so its owner did. Of a file nobody can say which
    name it had, but no name went from a directory that did not change.
    """
    if not found.orphans:
        return ()
    directories = {change.path for change in found.changes if change.kind == "directory"}
    with directory(str(root)) as root_fd, Descent(root_fd) as lower:
        return tuple(
            path
            for path in found.orphans
            if path in directories or _changed_since(lower, path, since_ns)
        )


def _changed_since(lower: Descent, path: str, since_ns: int) -> bool:
    try:
        return os.fstat(lower.parent(path)[0]).st_ctime_ns > since_ns
    except (FileNotFoundError, PathRefusedError):
        return True


def clean(upper: int) -> dict[str, Stamp]:
    """Leave only what may land: no whiteout, no socket, pipe or device, no note of overlayfs.

    Returns what is left, by path.
    """
    stamps: dict[str, Stamp] = {}
    without_overlay(upper, ".")
    with Descent(upper) as inside:
        waiting = [("", os.fstat(upper), _opaque(upper, "."))]
        while waiting:
            path, status, opaque = waiting.pop()
            here = inside.at(path)
            gone = 0
            for name, mine in listed(here):
                if not is_plain(mine.st_mode) or _is_whiteout(here, name, mine, opaque):
                    os.unlink(name, dir_fd=here)
                    gone += 1
                    continue
                inner = f"{path}/{name}" if path else name
                stamps[inner] = stamp(inner, mine)
                if stat.S_ISDIR(mine.st_mode):
                    waiting.append((inner, mine, _opaque(here, name)))
                if not stat.S_ISLNK(mine.st_mode):
                    without_overlay(here, name)
            if gone:
                times = (status.st_atime_ns, status.st_mtime_ns)
                os.utime(f"/proc/self/fd/{here}", ns=times)
    return stamps


@dataclass(slots=True)
class _Pair:
    """One name of the upper layer, and what the workspace has there."""

    up: int
    low: int
    name: str
    path: str
    mine: os.stat_result
    theirs: os.stat_result | None


class _Reading:
    """One walk through the upper layer."""

    def __init__(self, upper: int, root: int, root_bytes: int) -> None:
        self._upper = Descent(upper)
        self._lower = Descent(root)
        self._root_bytes = root_bytes
        # Directories of both; True: replaced as a whole, so what is in them needs no steps.
        self._waiting: list[tuple[str, bool]] = [("", False)]
        self._changes: list[Change] = []
        self._steps: list[Step] = []
        self._times: list[tuple[str, int]] = []
        self._left_out: list[str] = []
        self._orphans: list[str] = []
        self._closed: list[tuple[str, int]] = []

    def run(self) -> Found:
        with self._upper, self._lower:
            self._times.append((".", os.fstat(self._upper.at("")).st_mtime_ns))
            while self._waiting:
                self._both(*self._waiting.pop())
        return Found(
            tuple(sorted(self._changes, key=lambda change: change.path)),
            tuple(sorted(self._steps, key=lambda step: step.path)),
            tuple(sorted(self._times)),
            tuple(sorted(self._left_out)),
            tuple(sorted(self._orphans)),
            tuple(sorted(self._closed)),
        )

    def _both(self, path: str, is_replaced: bool) -> None:
        """Read one directory that the workspace has too."""
        up, low = self._upper.at(path), self._lower.at(path)
        self._check_length(path)
        opaque = _opaque(up, ".") if path else b""
        seen: set[str] = set()
        for name, mine in listed(up):
            theirs = lstat(low, name)
            pair = _Pair(up, low, name, f"{path}/{name}" if path else name, mine, theirs)
            self._check_length(pair.path)
            if not _is_whiteout(up, name, mine, opaque):
                self._name(pair, is_replaced=is_replaced)
            elif not is_replaced:
                self._gone(pair)
                continue
            else:
                continue
            seen.add(name)
        if is_replaced:
            for name, _ in listed(low):
                if name not in seen:
                    self._deleted(low, name, f"{path}/{name}")

    def _name(self, pair: _Pair, *, is_replaced: bool) -> None:
        step: Callable[[Move, str], None] = _no_step if is_replaced else self._step
        if not is_plain(pair.mine.st_mode):
            self._left_out.append(pair.path)
            if not is_replaced and pair.theirs is not None and is_plain(pair.theirs.st_mode):
                self._gone(pair)
        elif pair.theirs is None:
            if not is_replaced and _has(pair.up, pair.name, pair.mine, ORIGIN):
                self._orphans.append(pair.path)
            step("place", pair.path)
            self._created(pair)
        elif stat.S_ISDIR(pair.mine.st_mode) and stat.S_ISDIR(pair.theirs.st_mode):
            self._directory(pair, pair.theirs, is_replaced=is_replaced)
        elif stat.S_IFMT(pair.mine.st_mode) != stat.S_IFMT(pair.theirs.st_mode):
            step("exchange", pair.path)
            self._replaced(pair, pair.theirs)
        else:
            operation = _difference(pair, pair.theirs)
            if operation is not None:
                step("exchange", pair.path)
                self._changed(pair, pair.theirs, operation)

    def _directory(self, pair: _Pair, theirs: os.stat_result, *, is_replaced: bool) -> None:
        if open_up(pair.up, pair.name, pair.mine.st_mode):
            self._closed.append((pair.path, stat.S_IMODE(pair.mine.st_mode)))
        is_opaque = _opaque(pair.up, pair.name) not in {b"", _HOLDS_WHITEOUTS}
        differs = _attributes_differ(pair, theirs)
        if differs:
            self._changed(pair, theirs, "attributes")
        if is_opaque and not is_replaced:
            self._step("exchange", pair.path)
        elif not is_replaced:
            self._times.append((pair.path, pair.mine.st_mtime_ns))
            if differs:
                self._step("dress", pair.path)
        self._waiting.append((pair.path, is_replaced or is_opaque))

    def _gone(self, pair: _Pair) -> None:
        if pair.theirs is not None:
            self._step("take", pair.path)
            self._deleted(pair.low, pair.name, pair.path)

    def _replaced(self, pair: _Pair, theirs: os.stat_result) -> None:
        """Note one kind of object in the place of another, and what is below either."""
        self._changed(pair, theirs, "modified")
        if stat.S_ISDIR(theirs.st_mode):
            self._deleted(pair.low, pair.name, pair.path, is_itself=False)
        if stat.S_ISDIR(pair.mine.st_mode):
            self._created(pair, is_itself=False)

    def _created(self, pair: _Pair, *, is_itself: bool = True) -> None:
        """Note what is new, all below it too; a whiteout hides nothing there."""
        for inner, status in walk(pair.up, pair.name, "open"):
            path = f"{pair.path}/{inner}" if inner else pair.path
            self._check_length(path)
            if stat.S_ISDIR(status.st_mode) and is_closed(status.st_mode):
                self._closed.append((path, stat.S_IMODE(status.st_mode)))
            if not is_plain(status.st_mode):
                if not _is_device_whiteout(status):
                    self._left_out.append(path)
            elif inner or is_itself:
                self._changes.append(_created(path, status))

    def _deleted(self, low: int, name: str, path: str, *, is_itself: bool = True) -> None:
        for inner, status in walk(low, name):
            if inner or is_itself:
                where = f"{path}/{inner}" if inner else path
                self._changes.append(_deleted(where, status))

    def _changed(self, pair: _Pair, theirs: os.stat_result, operation: Operation) -> None:
        mine = pair.mine
        self._changes.append(
            Change(
                pair.path,
                operation,
                kind_of(mine.st_mode),
                _size(theirs),
                _size(mine),
                stat.S_IMODE(theirs.st_mode),
                stat.S_IMODE(mine.st_mode),
                mine.st_mtime_ns,
            )
        )

    def _step(self, move: Move, path: str) -> None:
        self._steps.append(Step(move, path))

    def _check_length(self, path: str) -> None:
        # Four bytes a character at most, so nearly always one comparison is enough.
        if self._root_bytes + 1 + 4 * len(path) <= _MAX_PATH_BYTES:
            return
        if self._root_bytes + 1 + len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise UpperError(
                f"{path[:80]!r}… is longer than {_MAX_PATH_BYTES} bytes with its workspace; "
                "no program can name it, so nothing was committed"
            )


def _no_step(_move: Move, _path: str) -> None:
    """Note nothing: a directory above is replaced as a whole."""


def _is_device_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_whiteout(up: int, name: str, status: os.stat_result, opaque: bytes) -> bool:
    if _is_device_whiteout(status):
        return True
    return opaque == _HOLDS_WHITEOUTS and not status.st_size and _has(up, name, status, WHITEOUT)


def _has(up: int, name: str, status: os.stat_result, xattr: str) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return False  # links cannot have these
    return xattr in os.listxattr(at(up, name), follow_symlinks=False)


def _opaque(up: int, name: str) -> bytes:
    """Return what the layer says of a directory: empty unless it hides what is below."""
    try:
        return os.getxattr(at(up, name), OPAQUE, follow_symlinks=False)
    except OSError:
        return b""


def _size(status: os.stat_result) -> int:
    return 0 if stat.S_ISDIR(status.st_mode) else status.st_size


def _created(path: str, status: os.stat_result) -> Change:
    mode, size = status.st_mode, _size(status)
    return Change(
        path,
        "created",
        kind_of(mode),
        bytes_after=size,
        mode_after=stat.S_IMODE(mode),
        mtime_ns=status.st_mtime_ns,
    )


def _deleted(path: str, status: os.stat_result) -> Change:
    mode, size = status.st_mode, _size(status)
    return Change(path, "deleted", kind_of(mode), bytes_before=size, mode_before=stat.S_IMODE(mode))


def _difference(pair: _Pair, theirs: os.stat_result) -> Operation | None:
    """Return how a file or link differs from one of the same kind; None: in nothing."""
    mine = pair.mine
    if stat.S_ISLNK(mine.st_mode):
        is_same = _target(pair.up, pair.name) == _target(pair.low, pair.name)
    else:
        is_same = mine.st_size == theirs.st_size and _same_bytes(pair, mine.st_size)
    if not is_same:
        return "modified"
    # Opened for writing, but not written. Not so with a second name: the two belong together.
    is_untouched = mine.st_mtime_ns == theirs.st_mtime_ns and mine.st_nlink == 1
    return None if is_untouched and not _attributes_differ(pair, theirs) else "attributes"


def _attributes_differ(pair: _Pair, theirs: os.stat_result) -> bool:
    mine = pair.mine
    if (mine.st_mode, mine.st_uid, mine.st_gid) != (theirs.st_mode, theirs.st_uid, theirs.st_gid):
        return True
    return xattrs(pair.up, pair.name) != xattrs(pair.low, pair.name)


def _target(parent: int, name: str) -> str:
    return os.readlink(name, dir_fd=parent)


def _same_bytes(pair: _Pair, size: int) -> bool:
    if size > MAX_COMPARED_BYTES:
        return False
    try:
        theirs = os.open(pair.name, READ, dir_fd=pair.low)
    except PermissionError:
        return False
    try:
        with reading(pair.up, pair.name) as mine:
            while chunk := os.read(mine, min(size, _CHUNK_BYTES)):
                if os.read(theirs, len(chunk)) != chunk:
                    return False
            return True
    finally:
        os.close(theirs)
