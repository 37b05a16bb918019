"""The filters of both architectures, asked by an interpreter; the kernel is asked in seccomp/."""

import os
import re
from pathlib import Path

import pytest

from sandbox import bpf, seccomp
from sandbox.seccomp import Calls
from tests.sandbox.seccomp.cases import (
    AMONG_OTHERS,
    BY_ARGUMENT,
    MISSING,
    ON_THE_HOST,
    REFUSED,
)
from tests.sandbox.seccomp.trial import Filter, number

pytestmark = [pytest.mark.untraced, pytest.mark.as_user, pytest.mark.threat("T12")]
INSPECT, READ = Calls((), (0, 4), sees_others=True), Calls((2, 10), (0,))
LIVE = Calls((1, 2, 10), (0,))
HOST = Calls((), (), may_signal=False, shares_host=True)
NUMBERS = range(seccomp.NEWEST + 20)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
EVERYDAY = {
    "x86_64": {"statx": 332, "faccessat2": 439, "close_range": 436, "pidfd_open": 434,
               "epoll_pwait2": 441, "memfd_create": 319, "rseq": 334, "membarrier": 324,
               "getrandom": 318, "process_mrelease": 448, "sched_setattr": 314, "mbind": 237,
               "set_mempolicy": 238, "set_mempolicy_home_node": 450, "get_mempolicy": 239,
               "execveat": 322, "seccomp": 317, "landlock_restrict_self": 446, "futex_waitv": 449,
               "copy_file_range": 326, "mkdir": 83, "prlimit64": 302, "map_shadow_stack": 453},
    "aarch64": {"statx": 291, "faccessat2": 439, "close_range": 436, "pidfd_open": 434,
                "memfd_create": 279, "rseq": 293, "membarrier": 283, "getrandom": 278,
                "mbind": 235, "execveat": 281, "mkdirat": 34, "prlimit64": 261},
}  # fmt: skip


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return request.param


def ask(machine, calls, name, *arguments):
    asked = number(name, machine)
    assert asked is not None
    program = Filter(seccomp.build(calls, machine))
    return program.answer(seccomp.AUDIT_ARCH[machine], asked, *arguments)


@pytest.mark.parametrize(
    ("calls", "cases"),
    [(LIVE, [*REFUSED, *MISSING, *BY_ARGUMENT]), (HOST, [*AMONG_OTHERS, *ON_THE_HOST])],
)
def test_every_case_is_refused_on_both_architectures(machine, calls, cases):
    here = [case for case in cases if case.name != "socket" and number(case.name, machine)]
    answers = {str(case): ask(machine, calls, case.name, *case.arguments) for case in here}
    assert answers == {str(case): bpf.ERRNO | case.answer for case in here}


def test_other_architectures_end_the_process(machine):
    program = Filter(seccomp.build(LIVE, machine))
    others = {0x40000003, 0x40000028, *seccomp.AUDIT_ARCH.values()} - {seccomp.AUDIT_ARCH[machine]}
    assert {program.answer(arch, asked) for arch in others for asked in NUMBERS} == {bpf.KILL}


def test_everyday_calls_pass(machine):
    program = Filter(seccomp.build(READ, machine))
    arch = seccomp.AUDIT_ARCH[machine]
    answers = {name: program.answer(arch, asked) for name, asked in EVERYDAY[machine].items()}
    assert set(answers.values()) == {bpf.ALLOW}


def test_arguments_decide_where_a_call_is_both_good_and_bad(machine):
    for name, *arguments in (
        ("clone", 17), ("clone", 0x3D0F00), ("ioctl", 1, 0x5413), ("fchmodat", 0, 0, 0o755),
        ("fchmodat", 0, 0, 0o1777), ("openat", 0, 0, os.O_RDONLY, 0o4755),
        ("openat", 0, 0, os.O_CREAT, 0o755), ("mknodat", 0, 0, 0o10600, 0),
        ("mknodat", 0, 0, 0o140600, 0), ("renameat2", 0, 0, 0, 0, 2), ("socketpair", 1, 1, 0),
        ("socketpair", 1, 5 | 0o2000000, 0), ("personality", 0xFFFFFFFF), ("fcntl", 3, 8),
        ("personality", 8),
        ("move_pages", 0, 0), ("socket", 2, 2, 1), ("prlimit64", 0, 7, 1, 1),
    ):  # fmt: skip
        assert ask(machine, READ, name, *arguments) == bpf.ALLOW, name
    for name in ("sched_setaffinity", "sched_setattr"):
        assert ask(machine, INSPECT, name, 0) == bpf.ALLOW
    assert ask(machine, INSPECT, "setpriority", 0, 0, 19) == bpf.ALLOW
    assert ask(machine, INSPECT, "ioprio_set", 1, 0, 0) == bpf.ALLOW


@pytest.mark.threat("T11")
@pytest.mark.parametrize(
    ("calls", "asked", "is_allowed"),
    [
        (LIVE, (1, 1, 0), True), (READ, (1, 1, 0), False), (INSPECT, (1, 1, 0), False),
        (LIVE, (2, 1, 0), True), (INSPECT, (2, 1, 0), False), (LIVE, (2, 3, 1), False),
        (LIVE, (10, 3 | 0o2000000, 58), False), (LIVE, (16, 3, 0), True), (LIVE, (2, 1, 6), True),
        (LIVE, (16, 3, 12), False), (INSPECT, (16, 3, 4), True), (READ, (16, 3, 4), False),
        (LIVE, (38, 5, 0), False), (LIVE, (40, 1, 0), False), (LIVE, (17, 3, 0), False),
        (LIVE, (2, 10, 0), False), (LIVE, (2, 1, 132), False), (READ, (10, 2, 136), False),
    ],
)  # fmt: skip
def test_socket_families_by_profile(machine, calls, asked, is_allowed):
    assert (ask(machine, calls, "socket", *asked) == bpf.ALLOW) == is_allowed


@pytest.mark.parametrize("calls", [LIVE, READ, Calls((), (0,)), Calls((), (0,), sees_others=True)])
def test_the_small_filter_on_the_wide_one_leaves_what_the_narrow_one_leaves(machine, calls):
    arch = seccomp.AUDIT_ARCH[machine]
    wide, narrow = Filter(seccomp.build(LIVE, machine)), Filter(seccomp.build(calls, machine))
    small = seccomp.extra(calls, machine)
    tried = [(family, kind, protocol) for family in (1, 2, 10, 16, 30, 40) for kind in (1, 2, 3)
             for protocol in (0, 6, 15, 132)]  # fmt: skip
    for asked in NUMBERS:
        for arguments in tried:
            answers = {wide.answer(arch, asked, *arguments)}
            answers |= {Filter(small).answer(arch, asked, *arguments)} if small else set()
            # The strictest answer wins, and errors are stricter than the permission.
            assert (answers == {bpf.ALLOW}) == (narrow.answer(arch, asked, *arguments) == bpf.ALLOW)
    assert bool(small) == (calls != LIVE)


def test_no_call_is_far_from_its_answer(machine):
    arch = seccomp.AUDIT_ARCH[machine]
    program = Filter(seccomp.build(READ, machine))
    steps = []
    for asked in NUMBERS:
        program.answer(arch, asked)
        steps.append(program.steps)
    assert max(steps) <= 20


@pytest.mark.parametrize("machine_name", HEADERS)
def test_numbers_are_those_of_the_kernel_s_headers(machine_name):
    header = HEADERS[machine_name]
    text = header.read_text("ascii") if header.exists() else ""
    stated = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", text, re.MULTILINE)
    numbers = {name: int(asked) for name, asked in stated}
    numbers |= {"newfstatat": numbers["fstatat"]} if "fstatat" in numbers else {}
    ours = {name: number(name, machine_name) for name in seccomp._NUMBERS}
    if text:
        known = {
            name: n for name, n in ours.items() if n is not None and n <= max(numbers.values())
        }
        assert known == {name: numbers.get(name) for name in known}
        lacked = {name for name, n in ours.items() if n is None}
        assert not lacked & numbers.keys()
    assert max(numbers.values(), default=0) <= seccomp.NEWEST, "newer calls want a judgement"
