"""Every refused system call is made for real, and it is the filter that refuses it."""

import ctypes
import errno
import mmap
import os
import signal
import socket
from pathlib import Path

import pytest

from sandbox import seccomp
from sandbox.seccomp import Calls
from tests.sandbox.seccomp.cases import (
    AMONG_OTHERS,
    BY_ARGUMENT,
    MISSING,
    ON_THE_HOST,
    REFUSED,
    SET_GID,
    TOLD_ANYWAY,
    Case,
)
from tests.sandbox.seccomp.trial import MACHINE, MARK, asked, held, libc, marked, number

pytestmark = [pytest.mark.as_user, pytest.mark.threat("T12")]
CALLS = {
    "inspect": Calls((), (0, 4), sees_others=True),
    "read": Calls((2, 10), (0,)),
    "live": Calls((1, 2, 10), (0,)),
}
LIVE, READ = seccomp.build(CALLS["live"], MACHINE), seccomp.build(CALLS["read"], MACHINE)
METADATA = [case for case in ON_THE_HOST if case.name in {**seccomp._METADATA, "fchmod": 1}]
GROUPS = {
    "for everyone": (LIVE, [*REFUSED, *MISSING, *BY_ARGUMENT]),
    "among others": (
        seccomp.build(Calls((2, 10), (), may_signal=False, sees_others=True), MACHINE),
        [*REFUSED, *MISSING, *BY_ARGUMENT, *AMONG_OTHERS, *METADATA],
    ),
    "on the host": (
        seccomp.build(Calls((2, 10), (), may_signal=False, shares_host=True), MACHINE),
        [*REFUSED, *MISSING, *BY_ARGUMENT, *AMONG_OTHERS, *ON_THE_HOST],
    ),
}


def made(program: bytes, cases: list[Case]) -> list[int]:
    here = [case for case in cases if number(case.name) is not None]
    return asked(program, [(number(case.name) or 0, *case.arguments) for case in here])


@pytest.mark.parametrize(("program", "cases"), GROUPS.values(), ids=list(GROUPS))
def test_every_refused_call_is_refused_by_the_filter(program, cases):
    here = [case for case in cases if number(case.name) is not None]
    expected = {str(case): case.answer for case in here}
    proof = {str(case): case.answer + MARK for case in here}
    names = [str(case) for case in here]
    assert dict(zip(names, made(program, here), strict=True)) == expected
    assert dict(zip(names, made(marked(program), here), strict=True)) == proof


def test_without_the_filter_the_same_calls_are_answered_otherwise():
    if "Seccomp:\t0" not in Path("/proc/self/status").read_text("ascii"):
        return  # a container's own filter answers here too; only marked answers tell them apart
    cases = [*REFUSED, *BY_ARGUMENT, *AMONG_OTHERS, *ON_THE_HOST]
    cases = [case for case in cases if number(case.name) is not None]
    same = {
        case.name
        for case, answer in zip(cases, made(b"", cases), strict=True)
        if answer == case.answer
    }
    assert same <= TOLD_ANYWAY


def test_each_refused_name_is_tried():
    tried = {case.name for case in [*REFUSED, *MISSING, *BY_ARGUMENT, *AMONG_OTHERS, *ON_THE_HOST]}
    assert tried == (
        seccomp._REFUSED.keys() | seccomp._MISSING.keys() | seccomp._BY_ARGUMENT.keys()
        | seccomp._SIGNALS.keys() | seccomp._FOR_OTHERS.keys() | seccomp._OF_THE_HOST.keys()
        | seccomp._METADATA.keys()
    )  # fmt: skip


@pytest.mark.parametrize("profile", CALLS)
def test_no_other_family_or_protocol_opens_a_socket(profile):
    allowed = CALLS[profile]
    program = marked(seccomp.build(allowed, MACHINE))
    families = [each for each in range(50) if each not in (*allowed.families, socket.AF_NETLINK)]
    create = number("socket") or 0
    answers = asked(program, [(create, each, kind, 0) for each in families for kind in (1, 2, 3)])
    assert set(answers) == {errno.EAFNOSUPPORT + MARK}
    protocols = [each for each in range(23) if each not in allowed.netlink]
    answers = asked(program, [(create, socket.AF_NETLINK, 3, each) for each in protocols])
    assert set(answers) == {errno.EPERM + MARK}


@pytest.mark.threat("T11")
def test_no_pair_of_sockets_is_a_way_around_unix_sockets(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "listener"))
    listener.setblocking(False)

    def send() -> None:
        ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.sendto(b"through", str(tmp_path / "listener"))

    held(b"", send)
    assert listener.recv(10) == b"through"
    held(READ, send)
    with pytest.raises(BlockingIOError):
        listener.recv(10)
    listener.close()
    assert held(READ, lambda: bool(socket.socketpair()))[0] == "True"


def test_calls_nobody_has_judged_look_missing():
    unknown = [seccomp.NEWEST + 1, 500, 548, 0x7FFFFFFF, -1]
    if MACHINE == "x86_64":
        unknown += [0x40000000 | each for each in (0, 39, 59, 165, 520, 545)]
    answers = asked(marked(LIVE), [(each, 0, 0, 0) for each in unknown])
    assert set(answers) == {errno.ENOSYS + MARK}


@pytest.mark.skipif(MACHINE != "x86_64", reason="int 0x80 is an instruction of x86")
def test_the_32_bit_entry_ends_the_process():
    code = bytes.fromhex("b814000000 cd80 c3")  # eax = getpid; int 0x80; ret

    def enter() -> int:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    said, status = held(b"", enter)
    assert said.isdigit() or os.WTERMSIG(status) == signal.SIGSEGV  # or built without it
    said, status = held(LIVE, enter)
    assert (said, os.WTERMSIG(status)) == ("", signal.SIGSYS)


def test_a_rename_leaves_no_device_behind(tmp_path):
    old, new = (ctypes.create_string_buffer(bytes(tmp_path / each)) for each in ("old", "new"))
    (tmp_path / "old").write_text("")
    words = (-100, ctypes.addressof(old), -100, ctypes.addressof(new), 4)
    assert asked(LIVE, [(number("renameat2") or 0, *words)]) == [errno.EPERM]
    # Without the filter a device is left, but not every file system can.
    assert asked(b"", [(number("renameat2") or 0, *words)])[0] in (0, errno.EINVAL)


def test_a_directory_is_made_without_its_set_id_bits_by_the_kernel(tmp_path):
    held(LIVE, lambda: (tmp_path / "made").mkdir(SET_GID | 0o4000))
    assert (tmp_path / "made").stat().st_mode & 0o7000 == 0


def test_a_command_writes_no_file_capabilities(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"")
    # VFS_CAP_REVISION_3, every capability, for the root of whatever namespace this is.
    value = bytes.fromhex("01000003 ffffffff 00000000 ffffffff 00000000 00000000")

    def grant() -> int:
        assert not libc.syscall(
            number_of_capset(), bytes.fromhex("22 05 08 20 00000000"), bytes(24)
        )
        try:
            os.setxattr(program, "security.capability", value)
        except OSError as error:
            return error.errno or 0
        return 0

    assert held(LIVE, grant)[0] == str(errno.EPERM)


def number_of_capset() -> int:
    return {"x86_64": 126, "aarch64": 91}[MACHINE]
