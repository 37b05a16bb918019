import ctypes
import errno
import os
import platform
import struct

import pytest

from sandbox import init, seccomp
from sandbox.run import CALLS

pytestmark = pytest.mark.as_user
MACHINE = platform.machine()


class Filter:
    """Classic BPF, run in Python: what the kernel would answer for one system call."""

    def __init__(self, program: bytes) -> None:
        self.code = [struct.unpack("=HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]

    def answer(self, arch: int, number: int, *arguments: int) -> int:
        values = {0: number, 4: arch, **{16 + 8 * i: a for i, a in enumerate(arguments)}}
        at, accumulator = 0, 0
        while True:
            op, yes, no, k = self.code[at]
            at += 1
            if op == 0x20:
                accumulator = values.get(k, 0)
            elif op == 0x54:
                accumulator &= k
            elif op == 0x06:
                return k
            else:
                is_met = {
                    0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k,
                }[op]  # fmt: skip
                at += yes if is_met else no


ALLOWED = 0x7FFF0000
REFUSED = 0x00050000 | errno.EPERM


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return request.param


def numbers(machine: str) -> dict[str, int]:
    column = list(seccomp.AUDIT_ARCH).index(machine)
    return {n: each[column] for n, each in seccomp._NUMBERS.items() if each[column] is not None}


def ask(machine, profile, name, *arguments):
    program = Filter(seccomp.build(CALLS[profile], machine))
    return program.answer(seccomp.AUDIT_ARCH[machine], numbers(machine)[name], *arguments)


@pytest.mark.threat("T12")
@pytest.mark.parametrize(
    "name",
    ["mount", "unshare", "setns", "ptrace", "bpf", "keyctl", "perf_event_open", "userfaultfd",
     "init_module", "kexec_load", "open_by_handle_at", "pidfd_getfd", "clock_settime"],
)  # fmt: skip
def test_kernel_interfaces_are_refused(machine, name):
    assert ask(machine, "live", name) == REFUSED


@pytest.mark.threat("T12")
@pytest.mark.parametrize("name", ["clone3", "openat2", "io_uring_setup", "fsopen", "open_tree"])
def test_calls_whose_arguments_cannot_be_read_look_missing(machine, name):
    assert ask(machine, "live", name) == 0x00050000 | errno.ENOSYS


@pytest.mark.threat("T12")
def test_other_architectures_and_x32_are_refused(machine):
    program = Filter(seccomp.build(CALLS["live"], machine))
    assert program.answer(0x40000003, 0) == 0x80000000
    if machine == "x86_64":
        assert program.answer(seccomp.AUDIT_ARCH[machine], 0x40000000) != ALLOWED


@pytest.mark.threat("T12")
def test_arguments_decide_where_a_call_is_both_good_and_bad(machine):
    assert ask(machine, "live", "clone", 17) == ALLOWED
    assert ask(machine, "live", "clone", 0x10000000 | 17) == REFUSED
    assert ask(machine, "live", "ioctl", 1, 0x5413) == ALLOWED
    assert ask(machine, "live", "ioctl", 1, 0x5412) == REFUSED
    assert ask(machine, "live", "fchmodat", 0, 0, 0o755) == ALLOWED
    assert ask(machine, "live", "fchmodat", 0, 0, 0o4755) == REFUSED
    assert ask(machine, "live", "openat", 0, 0, os.O_CREAT, 0o4755) == REFUSED
    assert ask(machine, "live", "openat", 0, 0, os.O_RDONLY, 0o4755) == ALLOWED


@pytest.mark.threat("T11")
@pytest.mark.parametrize(
    ("profile", "asked", "is_allowed"),
    [
        ("live", (1, 1, 0), True), ("read", (1, 1, 0), False), ("inspect", (1, 1, 0), False),
        ("live", (2, 1, 0), True), ("inspect", (2, 1, 0), False), ("live", (2, 3, 1), False),
        ("live", (10, 3 | 0o2000000, 58), False), ("live", (16, 3, 0), True),
        ("live", (16, 3, 12), False), ("inspect", (16, 3, 4), True), ("read", (16, 3, 4), False),
        ("live", (38, 5, 0), False), ("live", (40, 1, 0), False), ("live", (17, 3, 0), False),
    ],
)  # fmt: skip
def test_socket_families_by_profile(machine, profile, asked, is_allowed):
    assert (ask(machine, profile, "socket", *asked) == ALLOWED) == is_allowed


@pytest.mark.threat("T12")
def test_signals_are_refused_where_nothing_else_keeps_processes_apart(machine):
    program = Filter(seccomp.build(seccomp.Calls((), (), may_signal=False), machine))
    kill = numbers(machine)["kill"]
    assert program.answer(seccomp.AUDIT_ARCH[machine], kill) == REFUSED


def test_everyday_calls_pass(machine):
    program = Filter(seccomp.build(CALLS["read"], machine))
    assert program.answer(seccomp.AUDIT_ARCH[machine], 63) == ALLOWED


@pytest.mark.threat("T12")
def test_this_kernel_enforces_the_program():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        init.install_filter(seccomp.build(CALLS["live"], MACHINE))
        libc = ctypes.CDLL(None, use_errno=True)
        os.write(writer, str(libc.unshare(0x10000000)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"-1"
    os.close(reader)
    os.close(writer)
