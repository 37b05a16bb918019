"""Whose is it, and is its owner dead? Names of what a killed server would leave behind.

May touch: /proc, to read; `sweep` removes below the state directory. A process is known by its
number, its start and its pid namespace, as numbers alone come again.
INVARIANT: what cannot be told to be a dead process's counts as alive, so two servers, or servers
in two containers, never sweep each other.
"""

import os
import secrets
import shutil
from functools import cache
from pathlib import Path

STAT_STATE, STAT_START = 0, 19  # fields of /proc/PID/stat, counted after the program's name
ENDED = (b"Z", b"X")


def own_name(what: str) -> str:
    """Return a new name for a directory that must not outlive this process."""
    return f"{what}-{_mark(os.getpid())}-{secrets.token_hex(4)}"


def is_left_over(named: str) -> bool:
    """Return whether the process that made this name is certainly dead."""
    match named.split("-"):
        case [_, pid, start, namespace, _] if pid.isdecimal() and namespace == _namespace():
            return _start(pid) != start
        case _:
            return False


def sweep(state_dir: Path) -> None:
    """Remove the directories that dead servers left in the state directory."""
    for path in state_dir.glob("*-*-*-*-*"):
        if is_left_over(path.name):
            shutil.rmtree(path, ignore_errors=True)  # another server may be faster


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
