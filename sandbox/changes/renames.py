"""Renames that never overwrite: into a place that is empty, or two objects for one another.

May touch: what it is given, by directory descriptor and name. Where a filesystem can do neither (it
says EINVAL), a look comes before a plain rename, and swapping takes three of them through a third
name, which the caller's journal knows.
Source: renameat2(2).
"""

import ctypes
import errno
import os

from sandbox.dirfd import lstat

_NOREPLACE, _EXCHANGE = 1, 2
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS})
_libc = ctypes.CDLL(None, use_errno=True)

Place = tuple[int, str]  # a directory and a name in it


def shift(source: Place, target: Place) -> None:
    """Move an object to where there is none.

    Raises:
        FileExistsError: there is one.
        OSError: the source is gone, or it is not permitted.
    """
    try:
        rename2(source, target, _NOREPLACE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if lstat(*target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target[1]) from error
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def swap(one: Place, other: Place, aside: Place) -> None:
    """Exchange two objects; where that takes three renames, `other` is moved aside first.

    Args:
        one: a place.
        other: another place on the same filesystem.
        aside: a free name there.

    Raises:
        OSError: one is gone, or it is not permitted; what was moved is told by what lies where.
    """
    try:
        rename2(one, other, _EXCHANGE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        shift(other, aside)
        shift(one, other)
        shift(aside, one)


def rename2(source: Place, target: Place, flags: int) -> None:
    """Rename with flags, which Python's own rename has not."""
    result = _libc.renameat2(
        source[0], os.fsencode(source[1]), target[0], os.fsencode(target[1]), flags
    )
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source[1])
