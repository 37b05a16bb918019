"""Copies of objects, for a set that lies on another filesystem than its workspace.

May touch: what it is given, by descriptor and name. Bytes and holes, mode, times, extended
attributes and links among the copied survive; owners where this user may give files away.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import replace

from sandbox.changes.objects import OVERLAY, at, dress_open, metadata, metadata_open, reading, walk
from sandbox.changes.renames import Place
from sandbox.dirfd import Descent, Metadata, step

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Copies:
    """Copies into one directory; files that share an inode share one there too."""

    def __init__(self, base: int, *, durable: bool = False, of_layer: bool = False) -> None:
        """Copy into `base`; of a layer, with what overlayfs notes on files.

        Args:
            base: descriptor of the directory.
            durable: what was copied is on disk.
            of_layer: the copy is to be read as an overlay's upper layer.
        """
        self._base = base
        self._durable = durable
        self._of_layer = of_layer
        self._links: dict[tuple[int, int], str] = {}  # path below the base

    def copy(self, source: Place, target: str) -> None:
        """Copy an object and all below it to a free name in the directory.

        Raises:
            OSError: no space or no permission; a part of it may be there.
        """
        parent, name = source
        found = list(walk(parent, name, "open"))
        if not stat.S_ISDIR(found[0][1].st_mode):
            with Descent(self._base) as there:
                self._one(source, there, target, found[0][1])
            return
        top = step(parent, name, name)
        try:
            with Descent(self._base) as there, Descent(top) as here:
                for path, status in found:
                    self._one(here.parent(path), there, _joined(target, path), status)
                for path, status in reversed(found):
                    if stat.S_ISDIR(status.st_mode):
                        place = here.parent(path) if path else (top, ".")
                        self._finish(place, there.parent(_joined(target, path)), status)
        finally:
            os.close(top)

    def _one(self, source: Place, there: Descent, target: str, status: os.stat_result) -> None:
        parent, name = there.parent(target)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=parent)
            return
        if status.st_nlink > 1:
            twin = self._links.setdefault((status.st_dev, status.st_ino), target)
            if twin != target:
                self._link(twin, parent, name)
                return
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(source[1], dir_fd=source[0]), name, dir_fd=parent)
            _finish_link((parent, name), status)
            return
        if kind == stat.S_IFREG:
            self._file(source, (parent, name), status)
        else:
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=parent)
            self._finish(source, (parent, name), status)

    def _link(self, twin: str, parent: int, name: str) -> None:
        with Descent(self._base) as other:
            twin_parent, twin_name = other.parent(twin)
            os.link(
                twin_name, name, src_dir_fd=twin_parent, dst_dir_fd=parent, follow_symlinks=False
            )

    def _file(self, source: Place, target: Place, status: os.stat_result) -> None:
        written = os.open(target[1], _NEW, 0o600, dir_fd=target[0])
        try:
            with reading(*source) as read:
                _copy_bytes(read, written, status.st_size)
                _dress(written, metadata_open(read), status)
                if self._of_layer:
                    _note(read, written)
            os.utime(written, ns=(status.st_atime_ns, status.st_mtime_ns))
            if self._durable:
                os.fsync(written)
        finally:
            os.close(written)

    def _finish(self, source: Place, target: Place, status: os.stat_result) -> None:
        """Give a directory or a special file what it keeps; its time comes last."""
        itself = os.open(target[1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target[0])
        try:
            _dress(f"/proc/self/fd/{itself}", metadata(*source), status)
            if self._of_layer and stat.S_ISDIR(status.st_mode):
                _note(at(*source), f"/proc/self/fd/{itself}")
        finally:
            os.close(itself)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(target[1], ns=times, dir_fd=target[0], follow_symlinks=False)


def _note(source: int | str, target: int | str) -> None:
    """Copy what overlayfs notes: that a directory hides what is below it, where a file is from."""
    for name in os.listxattr(source):
        if name.startswith(OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name))


def _dress(target: int | str, kept: Metadata, status: os.stat_result) -> None:
    wanted = replace(kept, mode=stat.S_IMODE(status.st_mode))
    try:
        dress_open(target, wanted)
    except PermissionError:  # this user may not give files away
        dress_open(target, replace(wanted, uid=os.geteuid(), gid=os.getegid()))


def _finish_link(target: Place, status: os.stat_result) -> None:
    parent, name = target
    with suppress(PermissionError):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=parent, follow_symlinks=False)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)


def _copy_bytes(read: int, written: int, size: int) -> None:
    """Copy a file; where it has no bytes, the copy has none either."""
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(read, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        end = os.lseek(read, offset, os.SEEK_HOLE)
        os.lseek(written, offset, os.SEEK_SET)
        while offset < end and (count := os.sendfile(written, read, offset, end - offset)):
            offset += count
        if offset < end:
            break  # it was cut meanwhile
    os.ftruncate(written, size)


def _joined(path: str, inner: str) -> str:
    return f"{path}/{inner}" if inner else path
