"""Filters tried two ways: by an interpreter of classic BPF, and by this kernel in a child."""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Iterable, Iterator

from sandbox import bpf, seccomp

MACHINE = platform.machine()
MARK = 3000  # an errno no kernel answers
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Filter:
    """What the kernel would answer for one system call; `steps` says how far it had to go."""

    def __init__(self, program: bytes) -> None:
        self.code = list(struct.iter_unpack("=HBBI", program))
        self.steps = 0

    def answer(self, arch: int, number: int, *arguments: int) -> int:
        values = {0: number, 4: arch}
        values |= {16 + 8 * i: a & 0xFFFFFFFF for i, a in enumerate(arguments)}
        at, accumulator, self.steps = 0, 0, 0
        while True:
            op, yes, no, k = self.code[at]
            at += 1
            self.steps += 1
            if op == 0x20:
                accumulator = values.get(k, 0)
            elif op == 0x54:
                accumulator &= k
            elif op == 0x05:
                at += k
            elif op == 0x06:
                return k
            else:
                met = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k}
                at += yes if met[op] else no


def number(name: str, machine: str = MACHINE) -> int | None:
    return seccomp._NUMBERS[name][list(seccomp.AUDIT_ARCH).index(machine)]


def marked(program: bytes) -> bytes:
    """Return the same program with its answers moved where only it can have made them."""

    def each() -> Iterator[bytes]:
        for op, yes, no, k in struct.iter_unpack("=HBBI", program):
            is_errno = op == 0x06 and k & 0xFFFF0000 == bpf.ERRNO
            yield struct.pack("=HBBI", op, yes, no, k + MARK if is_errno else k)

    return b"".join(each())


def install(program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    assert not libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    assert not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def call(asked: int, *arguments: int) -> int:
    """Return the errno of one system call of this process, 0 where it went well."""
    ctypes.set_errno(0)
    words = [ctypes.c_long(argument) for argument in arguments]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(asked), *words) < 0 else 0


def held(program: bytes, work: Callable[[], object]) -> tuple[str, int]:
    """Return what `work` answered in a child under the filter, and the child's wait status."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            if program:
                install(program)
            os.write(writer, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        said = answers.read()
    return said, os.waitpid(child, 0)[1]


def asked(program: bytes, calls: Iterable[tuple[int, ...]]) -> list[int]:
    """Return the errno of each call (number, arguments), all made in one child."""
    said, _ = held(program, lambda: " ".join(str(call(*each)) for each in calls))
    return [int(word) for word in said.split()]


def name(number: int) -> str:
    return errno.errorcode.get(number, str(number))
