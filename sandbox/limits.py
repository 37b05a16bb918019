"""Limits of one command: as rlimits, in words, and what a tree of processes uses of them.

May touch: /proc, to read. What no rlimit holds for a whole tree is sampled here and held by
meter.py. There is no RLIMIT_DATA or RLIMIT_AS: both count address space that is only reserved,
and the address sanitizer, thread stacks and Java's heap reserve more than any sensible bound.
"""

import os
import resource
import signal
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Literal

from sandbox.action import Limits

MEMLOCK_BYTES = 1 << 20
MESSAGE_QUEUE_BYTES = 1 << 20
RLIMIT_SIGPENDING, SIGNALS_PENDING = 11, 4096  # timers count too
NEIGHBOURS = 4  # commands with as many processes as they may, in one cell
WAITING = 8  # processes of a cell that are no command's
CPU_GRACE_S = 1  # the meter ends the whole tree first, and says why
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MAX_DESCRIPTORS = 4096  # looked at in one sample

Limit = Literal["timeout", "cpu", "memory", "processes", "file size", "open files", "tmp"]
TEXTS: dict[Limit, tuple[str, str]] = {
    "timeout": (
        "it ran longer than {wall_s} s (timeout_s)",
        "Ask for a longer timeout_s or do less in one call",
    ),
    "cpu": (
        "its processes used {cpu_s} s of processor time together (limits.cpu_s)",
        "Do less in one call",
    ),
    "memory": (
        "its processes held more than {memory_bytes} together (limits.memory_bytes)",
        "Work on less at a time",
    ),
    "processes": (
        "it wanted more than {processes} processes and threads (limits.processes)",
        "Run fewer at a time (make -j, xargs -P)",
    ),
    "file size": (
        "a file may not grow beyond {file_bytes} (limits.file_bytes)",
        "Write smaller files",
    ),
    "open files": (
        "a process may have {open_files} files open (limits.open_files)",
        "Open fewer at a time",
    ),
    "tmp": (
        "/tmp, /dev/shm or the home directory is full (limits.tmp_bytes is {tmp_bytes})",  # noqa: S108  # words
        "Remove what is not needed there",
    ),
}
# What programs print, or shells report, when they meet a limit: hints, but for the signals.
SIGNS: tuple[tuple[bytes, Limit], ...] = (
    (b"File too large", "file size"),
    (b"File size limit exceeded", "file size"),
    (b"Too many open files", "open files"),
    (b"fork: retry: Resource temporarily unavailable", "processes"),
    (b"Cannot fork", "processes"),
    (b"can't start new thread", "processes"),
    (b"No space left on device", "tmp"),
)
SIGNALS: dict[int, Limit] = {signal.SIGXFSZ: "file size", signal.SIGXCPU: "cpu"}
SHELL_SIGNAL = 128


def rlimits(limits: Limits, *, confined: bool, in_group: bool) -> tuple[tuple[int, int], ...]:
    """Return (RLIMIT number, value) pairs, soft and hard alike.

    The kernel counts all processes of the user in one user namespace for RLIMIT_NPROC, so those of
    the cell's other commands too, and outside one all there are on the host. Where a control group
    holds each command, it is a backstop with room for several; else it is the bound. It exempts
    root, whom only a control group holds.
    """
    own = NEIGHBOURS * limits.processes if in_group else limits.processes + WAITING
    bound = own if confined else _tasks_of_user() + limits.processes
    return (
        (resource.RLIMIT_NPROC, bound),
        (resource.RLIMIT_CPU, limits.cpu_s + CPU_GRACE_S),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_MEMLOCK, MEMLOCK_BYTES),
        (resource.RLIMIT_MSGQUEUE, MESSAGE_QUEUE_BYTES),
        (RLIMIT_SIGPENDING, SIGNALS_PENDING),
        (resource.RLIMIT_CORE, 0),
    )


def met(limit: Limit, limits: Limits) -> str:
    """Return in words which limit was met, its value, and what to do."""
    what, advice = TEXTS[limit]
    values = {
        name: _size(value) if name.endswith("_bytes") else f"{value:g}"
        for name, value in asdict(limits).items()
    }
    return f"{what.format(**values)}. {advice}; the operator can raise the limit in config.yaml."


def sign_of(exit_code: int | None, number: int | None, said: bytes) -> Limit | None:
    """Return the limit that a command which failed by itself seems to have met."""
    ended_by = number or (exit_code or 0) - SHELL_SIGNAL
    if ended_by in SIGNALS:
        return SIGNALS[ended_by]
    return next((limit for words, limit in SIGNS if words in said), None)


def resident(pids: Iterable[int]) -> int:
    """Return the bytes these processes have in memory, shared pages counted for each: cheap."""
    sizes = (_fields(f"/proc/{pid}/statm") for pid in pids)
    return PAGE_BYTES * sum(int(size[1]) for size in sizes if size)


def memory(pids: Iterable[int]) -> int:
    """Return the bytes these processes hold; shared pages count once, vanished ones nothing.

    Anonymous files count too, though nobody need map them; mapped ones are not counted twice. So
    do page tables: to read a large hole is to fill them.
    """
    pids = list(pids)
    tables = sum(_kibibytes(_fields(f"/proc/{pid}/status"), b"VmPTE:") for pid in pids)
    rollups = [_fields(f"/proc/{pid}/smaps_rollup") for pid in pids]
    everything = sum(_kibibytes(rollup, b"Pss:") for rollup in rollups)
    shared = sum(_kibibytes(rollup, b"Pss_Shmem:") for rollup in rollups)
    return (tables + everything - shared << 10) + max(shared << 10, _anonymous_files(pids))


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor time of these processes and of the children they waited for."""
    return sum(_cpu_ticks(pid) for pid in pids) / TICKS_PER_S


def tasks(pids: Iterable[int]) -> int:
    """Return how many threads these processes have."""
    return sum(_tasks(pid) for pid in pids)


def tree(root_pid: int, at_most: int) -> list[int]:
    """Return `root_pid` and its descendants, but no more than `at_most`: a bomb outgrows a walk."""
    found: list[int] = []
    waiting = [root_pid]
    while waiting and len(found) < at_most:
        pid = waiting.pop()
        found.append(pid)
        waiting += children_of(pid)
    return found


def children_of(pid: int) -> list[int]:
    """Return the children of one process; none when it has ended."""
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # every process, often
            children += map(int, _fields(f"/proc/{pid}/task/{task}/children"))
    except OSError:
        return children
    return children


def _kibibytes(rollup: list[bytes], name: bytes) -> int:
    return int(rollup[rollup.index(name) + 1]) if name in rollup else 0


def _anonymous_files(pids: Iterable[int]) -> int:
    files: dict[int, int] = {}
    for descriptor in _descriptors(pids):
        try:
            if os.readlink(descriptor).startswith("/memfd:"):  # noqa: PTH115  # many, and often
                status = os.stat(descriptor)  # noqa: PTH116
                files[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(files.values())


def _descriptors(pids: Iterable[int]) -> Iterator[str]:
    left = MAX_DESCRIPTORS
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")[:left]  # noqa: PTH208
        except OSError:
            continue
        left -= len(numbers)
        yield from (f"/proc/{pid}/fd/{number}" for number in numbers)


def _cpu_ticks(pid: int) -> int:
    # The name may hold anything, spaces and brackets too; what follows the last one does not.
    fields = b" ".join(_fields(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return sum(map(int, fields[11:15]))


def _tasks(pid: int) -> int:
    try:
        return max(1, os.stat(f"/proc/{pid}/task").st_nlink - 2)  # noqa: PTH116
    except OSError:
        return 0


def _tasks_of_user() -> int:
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208
    return tasks(pid for pid in pids if _owner(pid) == os.getuid())


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return -1


def _fields(path: str) -> list[bytes]:
    """Return the words of one file of /proc; none when the process has ended."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # three times as fast as pathlib
            return file.read().split()
    except OSError:
        return []


def _size(size_bytes: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20)):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.4g} {unit}"
    return f"{size_bytes:,} bytes"
