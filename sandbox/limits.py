"""Limits of one command as the kernel takes them, and how much a tree of processes uses.

May touch: /proc, to read. Bounds that no rlimit can hold for a whole tree (memory, and the number
of processes as root, whom the kernel exempts) are sampled here and enforced by the runner.
"""

import resource
from pathlib import Path

from sandbox.action import Limits

MEMLOCK_BYTES = 1 << 20
MESSAGE_QUEUE_BYTES = 1 << 20


def rlimits(limits: Limits, *, confined: bool) -> tuple[tuple[int, int], ...]:
    """Return (RLIMIT number, value) pairs, soft and hard alike.

    Outside a user namespace the kernel counts every process of the user, not the command's own,
    so an unconfined command is counted by sampling alone.
    """
    own = ((resource.RLIMIT_NPROC, limits.processes),) if confined else ()
    return (
        *own,
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_MEMLOCK, MEMLOCK_BYTES),
        (resource.RLIMIT_MSGQUEUE, MESSAGE_QUEUE_BYTES),
        (resource.RLIMIT_CORE, 0),
    )


def memory(pids: list[int]) -> int:
    """Return the bytes these processes hold; shared pages count once, vanished ones nothing."""
    return sum(_memory(pid) for pid in pids)


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
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text("ascii").split()]
    except OSError:
        return children
    return children


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        return 0
    return 0
