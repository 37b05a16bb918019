"""What a process of ours gives up for ever: to be looked into, capabilities, system calls.

May touch: the calling process. Standard library only, and few modules: every command pays for it.
Source: prctl(2), capabilities(7), seccomp(2).
"""

import ctypes
import os
import struct

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = 64
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """struct sock_fprog: how many instructions, and where."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def hide() -> None:
    """Make this process undumpable: no command reaches its descriptors or root through /proc.

    Raises:
        OSError: the kernel refused.
    """
    _checked(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


def drop_bounding(keeps: frozenset[int] = frozenset()) -> None:
    """Give up every capability but these that an exec could gain; what is held now stays."""
    for capability in range(CAPABILITIES):
        if capability in keeps:
            continue
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            return  # the kernel knows no more of them


def drop_capabilities() -> None:
    """Give up every capability this process holds.

    Raises:
        OSError: the kernel refused.
    """
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, bytes(24)), "capabilities")


def gain_none() -> None:
    """Let no exec give this process more than it holds; Landlock and seccomp ask for it.

    Raises:
        OSError: the kernel refused.
    """
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def install_filter(program: bytes) -> None:
    """Hold this process to a seccomp program for ever; an empty one refuses nothing.

    Raises:
        OSError: the kernel did not take it.
    """
    if not program:
        return
    header = _Program(len(program) // 8, program)
    gain_none()
    mode = SECCOMP_MODE_FILTER
    _checked(_libc.prctl(PR_SET_SECCOMP, mode, ctypes.byref(header), 0, 0), "seccomp")


def _checked(result: int, step: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
