"""Whose is it, and is its owner dead? Marks on what a killed server would leave behind.

May touch: /proc, to read. A process is known by its number, its start and its pid namespace, as
numbers alone come again.
INVARIANT: what cannot be told to be a dead process's counts as alive, so two servers, or servers
in two containers, never sweep each other.
"""

import os
from functools import cache
from pathlib import Path

STAT_STATE, STAT_START = 0, 19  # fields of /proc/PID/stat, counted after the program's name
ENDED = (b"Z", b"X")


def mark() -> str:
    """Return what names this process for as long as the machine runs."""
    return _mark(os.getpid())


def is_left_over(marked: str) -> bool:
    """Return whether the process of this mark is certainly dead."""
    match marked.split("-"):
        case [pid, start, namespace] if pid.isdecimal() and namespace == _namespace():
            return _start(pid) != start
        case _:
            return False


@cache
def _mark(pid: int) -> str:
    return f"{pid}-{_start(str(pid))}-{_namespace()}"


def _start(pid: str) -> str:
    """Return when a process started, in ticks since boot; "" when it has ended."""
    try:
        # The name may hold anything, spaces and brackets too; what follows the last one does not.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[STAT_STATE] in ENDED else fields[STAT_START].decode("ascii")


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)
