"""The stage outside the sandbox that lets no descendant outlive a command without a pid namespace.

Started as `python -I -S reaper.py SERVER_PID PROGRAM ARGS…`. Orphans of the command become its
children, so it finds them all; on SIGTERM, or when the server dies, or when the command ends, it
kills them.
Standard library only; it knows nothing of the sandbox room.
"""

import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Run the program of the command line, then end everything it left."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGTERM, _end)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) or libc.prctl(
        PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0
    ):
        return 125
    if os.getppid() != int(sys.argv[1]):
        return 125  # the server died before it could be watched
    child = os.fork()  # noqa: TID251  # this stage exists to hold the permitted command's tree
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606, TID251  # a vector the runner made
    while os.waitpid(-1, 0)[0] != child:
        pass
    _kill_all()
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    _kill_all()
    os._exit(0)


def _kill_all() -> None:
    """Kill descendants until none is left; orphans keep coming back as children of this process."""
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # ended by itself, or another user's: the kernel decides
        if not _reap_all():
            return


def _reap_all() -> bool:
    """Wait for one child, take all that have ended, and return whether there may be more."""
    try:
        os.waitpid(-1, 0)
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            with open(f"/proc/{waiting[-1]}/task/{waiting.pop()}/children") as file:  # noqa: PTH123  # pathlib costs 5 ms
                children = [int(child) for child in file.read().split()]
        except OSError:
            continue
        found += children
        waiting += children
    return found


if __name__ == "__main__":
    sys.exit(main())
