"""Which directories may have changed since they were looked at, as the kernel tells it.

May touch: one inotify descriptor and the mount table. Where the kernel cannot promise to tell
(filesystems that others change too, no watches left), `add` says so and the caller looks itself.
Source: inotify(7); an event is queued before the change's own system call returns.
"""

import ctypes
import os
import select
import struct
import weakref
from pathlib import Path

MAX_WATCHES = 16_384  # the owner's editors need some too
# Changed through this kernel alone, by the device number that stat(2) says.
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "f2fs", "tmpfs", "zfs", "overlay"})
MOUNTS = Path("/proc/self/mountinfo")
IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MOVED, IN_DELETE_SELF = 0x4, 0x100, 0x200, 0xC0, 0x400
IN_ONLYDIR, IN_DONT_FOLLOW, IN_ONESHOT, IN_Q_OVERFLOW = 0x1000000, 0x2000000, 0x80000000, 0x4000
# Once told, a directory has to be looked at again, so one event each is enough: no flood.
CHANGES = IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED | IN_DELETE_SELF
ONCE = CHANGES | IN_ONLYDIR | IN_DONT_FOLLOW | IN_ONESHOT
EVENT = struct.Struct("=iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Remembers directories until the kernel says that one changed."""

    def __init__(self) -> None:
        self._fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._paths: dict[int, list[str]] = {}  # one directory may be seen at several paths
        self._mounts = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        self._local: frozenset[int] | None = None
        self._poll = select.poll()
        self._poll.register(self._mounts, select.POLLPRI)
        for descriptor in (self._fd, self._mounts):
            if descriptor >= 0:
                weakref.finalize(self, os.close, descriptor)

    def add(self, path: str, device: int) -> bool:
        """Return whether any later change of a directory's entries or mode will be told."""
        if self._local is None:
            self._local = _local_devices()
        if self._fd < 0 or device not in self._local or len(self._paths) >= MAX_WATCHES:
            return False
        watch = int(_libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(ONCE)))
        if watch < 0:
            return False
        paths = self._paths.setdefault(watch, [])
        if path not in paths:
            paths.append(path)
        return True

    def changed(self) -> list[str] | None:
        """Return the directories that changed since last asked; None: it could be any."""
        paths: list[str] = []
        is_lost = bool(self._poll.poll(0))  # something was mounted, or unmounted
        while data := self._read():
            at = 0
            while at < len(data):
                watch, mask, _, length = EVENT.unpack_from(data, at)
                at += EVENT.size + length
                is_lost = is_lost or bool(mask & IN_Q_OVERFLOW)
                paths += self._paths.pop(watch, ())
        if is_lost:
            self._local = None
        return None if is_lost else paths

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, 1 << 16) if self._fd >= 0 else b""
        except BlockingIOError:
            return b""


def _local_devices() -> frozenset[int]:
    """Return the device numbers of the mounts that nobody changes behind this kernel's back."""
    devices = set()
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        major, minor = line.split(" ", 3)[2].split(":")
        if line.rpartition(" - ")[2].split(" ")[0] in LOCAL:
            devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)
