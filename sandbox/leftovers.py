"""Whose is it, and is the owner dead? Marks on what must not outlive a server, and the sweep.

May touch: /proc, to read, and the `run` directory of the state directory. A process is known by
its number, its start and its pid namespace, as numbers alone come again.
INVARIANT: what cannot be told to be a dead process's is left alone, so two servers on one state
directory, or in two containers, never sweep each other.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

RUN = "run"
STAT_STATE, STAT_START = 0, 19  # fields of /proc/PID/stat, counted after the program's name
ENDED = (b"Z", b"X")


def mark() -> str:
    """Return what names this process for as long as the machine runs."""
    return f"{os.getpid()}-{_start('self')}-{_namespace()}"


def is_left_over(marked: str) -> bool:
    """Return whether the process of this mark is certainly dead."""
    match marked.split("-"):
        case [pid, start, namespace] if pid.isdecimal() and namespace == _namespace():
            return _start(pid) != start
        case _:
            return False


def own_directory(state_dir: Path) -> Path:
    """Return this process's own directory, made on first use, for what must go with it."""
    path = state_dir / RUN / mark()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def sweep(state_dir: Path) -> None:
    """Remove the directories of dead servers, and this one's own `run` when it is empty."""
    run = state_dir / RUN
    for path in run.glob("*-*-*"):
        if is_left_over(path.name):
            shutil.rmtree(path, ignore_errors=True)  # another server may be faster
    with suppress(OSError):  # in use, or never made
        run.rmdir()


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
