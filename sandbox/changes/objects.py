"""Objects of a tree, by the directory that holds them: listed, read, opened up, dressed, removed.

May touch: what it is given, by descriptor and name. INVARIANT: no symbolic link is followed.
An owner may have closed a directory to himself (mode 000); who opens it must know the mode it is to
have afterwards.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sandbox.changes.model import Kind
from sandbox.dirfd import Descent, Metadata, step

OVERLAY = "user.overlay."  # what overlayfs, mounted with userxattr, notes on files
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe that took a file's place must not hang the open.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = 0o700  # what an owner needs to look into a directory and to rename in it
_KINDS: dict[int, Kind] = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
# Filesystems and kernels write these themselves; only some of them let anybody copy them.
_KERNEL_XATTRS = ("security.", "trusted.", "system.nfs4")

Closed = Literal["refuse", "open", "pass"]
Walked = Iterator[tuple[str, os.stat_result]]


def kind_of(mode: int) -> Kind:
    """Return what a person calls an object; sockets, pipes and devices are files too."""
    return _KINDS.get(stat.S_IFMT(mode), "file")


def is_plain(mode: int) -> bool:
    """Return whether an object is a file, a directory or a symbolic link."""
    return stat.S_IFMT(mode) in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}


def at(parent: int, name: str) -> str:
    """Return a path to a name in an open directory, for calls that take no descriptor."""
    return f"/proc/self/fd/{parent}/{name}"


def is_closed(mode: int) -> bool:
    """Return whether a directory of this mode shuts out its owner, who is not root."""
    return mode & _OPEN != _OPEN and os.geteuid() != 0


def chmod(parent: int, name: str, mode: int) -> None:
    """Give a file or directory its mode."""
    itself = os.open(name, _ITSELF, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{itself}", mode)  # noqa: PTH101  # of a descriptor
    finally:
        os.close(itself)


def open_up(parent: int, name: str, mode: int) -> bool:
    """Let the owner into a directory that is closed to him; return whether it was."""
    if not is_closed(mode):
        return False
    chmod(parent, name, stat.S_IMODE(mode) | _OPEN)
    return True


def listed(directory: int) -> list[tuple[str, os.stat_result]]:
    """Return the names in a directory with their status."""
    readable = os.open(".", _LIST, dir_fd=directory)
    try:
        with os.scandir(readable) as entries:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    finally:
        os.close(readable)


def walk(parent: int, name: str, closed: Closed = "refuse") -> Walked:
    """Yield an object and all below it, parents first: path relative to it ("" first), status.

    Args:
        parent: the directory that holds it.
        name: its name there.
        closed: what to do about a directory that is closed to its owner.

    Raises:
        PermissionError: there is one, and `closed` says refuse.
    """
    top = os.stat(name, dir_fd=parent, follow_symlinks=False)
    yield "", top
    if not stat.S_ISDIR(top.st_mode):
        return
    if closed == "open":
        open_up(parent, name, top.st_mode)
    opened = step(parent, name, name)
    try:
        with Descent(opened) as inside:
            yield from _below(inside, closed)
    finally:
        os.close(opened)


def _below(inside: Descent, closed: Closed) -> Walked:
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            here = inside.at(path)
            found = listed(here)
        except PermissionError as error:
            if closed == "pass":
                continue
            raise PermissionError(error.errno, error.strerror, path) from error
        for name, status in found:
            inner = f"{path}/{name}" if path else name
            if stat.S_ISDIR(status.st_mode):
                if closed == "open":
                    open_up(here, name, status.st_mode)
                waiting.append(inner)
            yield inner, status


@contextmanager
def reading(parent: int, name: str) -> Iterator[int]:
    """Open a regular file for reading, its mode notwithstanding if it is ours.

    Raises:
        OSError: it is absent, no regular file, or not permitted.
    """
    try:
        opened = os.open(name, READ, dir_fd=parent)
    except PermissionError:
        mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        chmod(parent, name, mode | stat.S_IRUSR)
        try:
            opened = os.open(name, READ, dir_fd=parent)
        finally:
            chmod(parent, name, mode)
    try:
        yield opened
    finally:
        os.close(opened)


def xattrs(parent: int, name: str) -> tuple[tuple[str, bytes], ...]:
    """Return the extended attributes of an object, without those of overlayfs."""
    path = at(parent, name)
    names = [each for each in _names(path) if not _is_noted(each)]
    return tuple((each, os.getxattr(path, each, follow_symlinks=False)) for each in sorted(names))


def xattrs_open(file: int) -> tuple[tuple[str, bytes], ...]:
    """Return the same of an open file."""
    try:
        names = [each for each in os.listxattr(file) if not _is_noted(each)]
    except OSError:  # the filesystem has none
        return ()
    return tuple((each, os.getxattr(file, each)) for each in sorted(names))


def _is_noted(xattr: str) -> bool:
    return xattr.startswith(OVERLAY)


def metadata_open(file: int) -> Metadata:
    """Return what an open file keeps besides its bytes."""
    status = os.fstat(file)
    mode = stat.S_IMODE(status.st_mode)
    return Metadata(mode, status.st_uid, status.st_gid, xattrs_open(file))


def metadata(parent: int, name: str) -> Metadata:
    """Return what an object keeps besides its bytes."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return Metadata(
        stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, xattrs(parent, name)
    )


def dress(parent: int, name: str, wanted: Metadata) -> None:
    """Give a file or directory owner, xattrs and mode, in this order: each may reset the next.

    Raises:
        OSError: not permitted.
    """
    itself = os.open(name, _ITSELF, dir_fd=parent)
    try:
        dress_open(f"/proc/self/fd/{itself}", wanted)
    finally:
        os.close(itself)


def dress_open(target: int | str, wanted: Metadata) -> None:
    """Do as `dress` to an open file, or to what a path of /proc/self/fd leads to."""
    status = os.stat(target)  # noqa: PTH116  # it may be a descriptor
    is_given = (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid)
    if is_given:
        os.chown(target, wanted.uid, wanted.gid)
    _dress_xattrs(target, dict(wanted.xattrs))
    # Giving a file away takes set-id from it; an attribute can be its mode in other words.
    if is_given or wanted.xattrs or stat.S_IMODE(status.st_mode) != wanted.mode:
        os.chmod(target, wanted.mode)  # noqa: PTH101  # as above


def _dress_xattrs(path: int | str, wanted: dict[str, bytes]) -> None:
    try:
        there = {each: os.getxattr(path, each) for each in os.listxattr(path)}
    except OSError:  # the filesystem has none
        there = {}
    for each in there.keys() - wanted.keys():
        with kernel_may_refuse(each):
            os.removexattr(path, each)
    for each, value in wanted.items():
        if there.get(each) != value:
            with kernel_may_refuse(each):
                os.setxattr(path, each, value)


@contextmanager
def kernel_may_refuse(xattr: str) -> Iterator[None]:
    """Pass over a refusal where the attribute is the kernel's own (labels, capabilities)."""
    try:
        yield
    except OSError:
        if not xattr.startswith(_KERNEL_XATTRS):
            raise


def without_overlay(parent: int, name: str) -> None:
    """Remove what overlayfs noted on a file or directory; nothing else is altered."""
    path = at(parent, name)
    noted = [each for each in _names(path) if _is_noted(each)]
    if not noted:
        return
    try:
        _remove_xattrs(path, noted)
    except PermissionError:  # a file that its owner may not write
        mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        chmod(parent, name, mode | stat.S_IWUSR)
        try:
            _remove_xattrs(path, noted)
        finally:
            chmod(parent, name, mode)


def _names(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:  # the filesystem has none
        return []


def _remove_xattrs(path: str, names: list[str]) -> None:
    for each in names:
        os.removexattr(path, each, follow_symlinks=False)


def remove(parent: int, name: str) -> None:
    """Remove an object and all below it, closed directories too; absent is as well.

    A directory in one that is removed is moved up first, so that depth costs nothing.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    mark, moved = secrets.token_hex(8), 0
    open_up(parent, name, status.st_mode)
    top = step(parent, name, name)
    try:
        waiting = _emptied(top)
        while waiting:
            here = step(top, waiting[-1], waiting[-1])
            try:
                inner = _emptied(here)
                names = [f"{mark}-{moved + number}" for number in range(len(inner))]
                moved += len(inner)
                for old, new in zip(inner, names, strict=True):
                    os.rename(old, new, src_dir_fd=here, dst_dir_fd=top)
            finally:
                os.close(here)
            os.rmdir(waiting.pop(), dir_fd=top)
            waiting += names
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _emptied(directory: int) -> list[str]:
    """Remove what is no directory, and return the directories, opened to their owner."""
    left = []
    for name, status in listed(directory):
        if stat.S_ISDIR(status.st_mode):
            open_up(directory, name, status.st_mode)
            left.append(name)
        else:
            os.unlink(name, dir_fd=directory)
    return left


def make_durable(parent: int, name: str) -> None:
    """Put a file or directory, and all below it, on disk."""
    top = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(top.st_mode):
        _sync(parent, name, top.st_mode)
        return
    found = [(path, status.st_mode) for path, status in walk(parent, name, "open")]
    opened = step(parent, name, name)
    try:
        with Descent(opened) as inside:
            for path, mode in reversed(found[1:]):
                _sync(*inside.parent(path), mode)
            _sync(opened, ".", top.st_mode)
    finally:
        os.close(opened)


def _sync(parent: int, name: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        with reading(parent, name) as file:
            os.fsync(file)
    elif stat.S_ISDIR(mode):
        directory = os.open(name, _LIST, dir_fd=parent)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def sync_directory(directory: int) -> None:
    """Put the names in a directory on disk."""
    _sync(directory, ".", stat.S_IFDIR)
