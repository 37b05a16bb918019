"""A bound on processes for root, whom RLIMIT_NPROC exempts: one control group per command.

May touch: directories named permitgate-* in the pids hierarchy. Where there is none that may be
written, sampling alone remains (limits.py), and the probe says `partial`.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from sandbox.limits import tree

PREFIX = "permitgate-"
HIERARCHY = Path("/sys/fs/cgroup/pids")  # cgroup v1
UNIFIED = Path("/sys/fs/cgroup")
FIRST_PROCESSES = 16  # bubblewrap and the stages, before the command itself starts


def find() -> str:
    """Return the directory to make groups in, found by making one; "" where that is impossible.

    Groups that a server left when it was killed are removed on the way.
    """
    for parent in (HIERARCHY, UNIFIED):
        try:
            _clear_left_over(parent)
            group = Group(str(parent), 1)
        except OSError:
            continue
        group.close()
        return str(parent)
    return ""


class Group:
    """One control group; `enter` right after the start, `close` when all in it have ended."""

    def __init__(self, parent: str, most_processes: int) -> None:
        self._path = Path(parent) / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self._path.mkdir()
        try:
            (self._path / "pids.max").write_text(str(most_processes), "ascii")
        except OSError:
            self._path.rmdir()
            raise

    def enter(self, root_pid: int) -> None:
        """Move a process and the children it already has; their later children follow."""
        # Twice: a child may have been born between the list and its parent's move.
        for _ in range(2):
            for pid in tree(root_pid, FIRST_PROCESSES):
                self._move(pid)

    def _move(self, pid: int) -> None:
        try:
            (self._path / "cgroup.procs").write_text(str(pid), "ascii")
        except OSError:
            return  # it has ended

    def close(self) -> None:
        """Remove the group; one that is still busy is left to the next start."""
        try:
            self._path.rmdir()
        except OSError:
            return


def _clear_left_over(parent: Path) -> None:
    for group in parent.glob(f"{PREFIX}*"):
        owner = group.name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            with suppress(OSError):  # still busy, or another server was faster
                group.rmdir()
