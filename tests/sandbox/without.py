"""Take kernel features away from this process for ever, then become a program.

`python -m tests.sandbox.without FEATURES PROGRAM ARGS…`: features are separated by commas; without
`namespaces` no new one can be made, without `landlock` the kernel answers as if it had none.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

from sandbox.seccomp import AUDIT_ARCH

MACHINE = platform.machine()
UNSHARE, CLONE = {"x86_64": (272, 56), "aarch64": (97, 220)}[MACHINE]
CLONE3, LANDLOCK_CREATE, LANDLOCK_RESTRICT = 435, 444, 446
NEW_NAMESPACES = 0x7E020080
LOAD, IS, AT_LEAST, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2

Step = tuple[int, int, int, int]
FEATURES: dict[str, list[Step]] = {
    "namespaces": [
        (LOAD, 0, 0, 0),
        (IS, 0, 1, UNSHARE), (RETURN, 0, 0, ERRNO | errno.EPERM),
        (IS, 0, 1, CLONE3), (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        (IS, 0, 3, CLONE), (LOAD, 0, 0, 16), (HAS, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
    ],
    "landlock": [
        (LOAD, 0, 0, 0),
        (AT_LEAST, 0, 3, LANDLOCK_CREATE), (AT_LEAST, 2, 0, LANDLOCK_RESTRICT + 1),
        (RETURN, 0, 0, ERRNO | errno.EOPNOTSUPP), (RETURN, 0, 0, ALLOW),
    ],
}  # fmt: skip


def refuse(steps: list[Step]) -> None:
    """Hold this process to a filter for its own architecture."""
    code = b"".join(struct.pack("=HBBI", *step) for step in [*steps, (RETURN, 0, 0, ALLOW)])
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER, header):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    assert MACHINE in AUDIT_ARCH
    for feature in filter(None, sys.argv[1].split(",")):
        refuse(FEATURES[feature])
    os.execvp(sys.argv[2], sys.argv[2:])
