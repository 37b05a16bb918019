"""Landlock through ctypes: an allow-list of paths the kernel holds a process and its children to.

May touch: the calling process only. Imported by the stage that runs inside the sandbox, so it
needs the standard library alone and loads in a few milliseconds.
Source: Documentation/userspace-api/landlock.rst; uapi/linux/landlock.h.
"""

import ctypes
import errno
import os
import stat
import struct

from sandbox import privileges

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
OPENAT2, AT_FDCWD, RESOLVE_NO_SYMLINKS = 437, -100, 0x04
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR = 1 << 4, 1 << 5, 1 << 6, 1 << 7
MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK = 1 << 8, 1 << 9, 1 << 10, 1 << 11
MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = 1 << 12, 1 << 13, 1 << 14, 1 << 15
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
LIST = READ_DIR
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
CHANGE = (1 << 16) - 1 & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
DEVICES = READ | WRITE_FILE | IOCTL_DEV
TCP_BIND_AND_CONNECT = 0b11
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 0b01, 0b10

_KNOWN_FS = {1: 13, 2: 14, 3: 15, 4: 15}  # rights an ABI knows; 16 from ABI 5
ABI_TCP, ABI_SCOPE = 4, 6

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class LandlockError(OSError):
    """The kernel did not take a rule; the caller must not go on."""


def abi() -> int:
    """Return the Landlock ABI of this kernel, 0 where it is absent or switched off."""
    return max(0, int(_syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def restrict(rules: list[tuple[str, int]], *, refuse_tcp: bool) -> int:
    """Hold this thread to `rules` for ever and return the ABI that was used.

    Paths that do not exist, or lead over a symbolic link, are skipped: the list allows, so a
    missing rule only refuses more.
    Signals and abstract sockets are scoped to the new domain where the kernel can (ABI 6).

    Raises:
        OSError: any step failed; nothing is restricted then.
    """
    ruleset = create(refuse_tcp=refuse_tcp)
    allow(ruleset, rules)
    enforce(ruleset)
    return abi()


def create(*, refuse_tcp: bool) -> int:
    """Return the descriptor of an empty list, which refuses everything this kernel can refuse."""
    version = abi()
    attributes = struct.pack(
        "QQQ",
        _known_fs(version),
        TCP_BIND_AND_CONNECT if refuse_tcp and version >= ABI_TCP else 0,
        SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if version >= ABI_SCOPE else 0,
    )[: 8 if version < ABI_TCP else 16 if version < ABI_SCOPE else 24]
    size = ctypes.c_size_t(len(attributes))
    return _checked(_syscall(CREATE_RULESET, attributes, size, 0), "create ruleset")


def allow(ruleset: int, rules: list[tuple[str, int]]) -> None:
    """Add paths and rights to a list; it may be enforced later."""
    known_fs = _known_fs(abi())
    for path, rights in rules:
        _allow(ruleset, path, rights & known_fs)


def enforce(ruleset: int) -> None:
    """Hold this thread to a list for ever, and close it."""
    privileges.gain_none()
    _checked(_syscall(RESTRICT_SELF, ruleset, 0), "restrict self")
    os.close(ruleset)


def _known_fs(version: int) -> int:
    return (1 << _KNOWN_FS.get(version, 16)) - 1


def _allow(ruleset: int, path: str, rights: int) -> None:
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
    # A link put in the place of a path would allow what it points at.
    handle = int(_syscall(OPENAT2, AT_FDCWD, os.fsencode(path), how, ctypes.c_size_t(len(how))))
    if handle < 0:
        number = ctypes.get_errno()
        if number not in _NOT_THERE:
            raise LandlockError(number, f"landlock: {path}: {os.strerror(number)}")
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= ON_FILES
        if rights:
            rule = struct.pack("=Qi", rights, handle)
            _checked(_syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0), f"allow {path}")
    finally:
        os.close(handle)


def _checked(result: int, step: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise LandlockError(number, f"landlock: {step}: {os.strerror(number)}")
    return result
