"""A server that dies: forked, given one command, killed at a moment, and asked what it left.

Run as a program, with a directory. Each line of its input is JSON, [profile, script, moment, warm];
the moment is in seconds, or the number of processes to wait for; a warm server has run a command
before. Each line of its output says what was left a second later. It is the subreaper of its
servers, so no orphan of theirs can hide from it.
"""

import ctypes
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import anyio

from sandbox.changes.store import ChangeStore
from sandbox.leftovers import sweep
from sandbox.limits import children_of, tree
from tests.sandbox.rig import SEEN, Rig

PR_SET_CHILD_SUBREAPER = 36
GONE_S = 1.0
PATIENCE_S = 10.0


def main() -> None:
    """Kill a server for each line of the input."""
    base = Path(sys.argv[1])
    tempfile.tempdir = str(base / "tmp")
    (base / "tmp").mkdir()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number, line in enumerate(sys.stdin):
        directory = base / str(number)
        directory.mkdir()
        left = kill_one(directory, *json.loads(line))
        print(json.dumps(left | {"files": files(directory, base / "tmp")}), flush=True)


def kill_one(
    base: Path, profile: str, script: str, moment: float, is_warm: bool
) -> dict[str, list[str]]:
    """Return what is left of a server that was killed at a moment."""
    mounts = mounted()
    ready, is_ready = os.pipe()
    server = os.fork()
    if server == 0:
        SEEN.clear()
        rig = Rig(base)
        if is_warm:
            SEEN[profile] = ()  # the host was tried already
            anyio.run(rig.run, rig.script("true", profile))
        os.write(is_ready, b"x")
        anyio.run(rig.run, rig.script(script, profile))
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(is_ready)
    if isinstance(moment, int):
        wait(lambda: sleepers(server) >= moment, PATIENCE_S)
    else:
        time.sleep(moment)
    os.kill(server, signal.SIGKILL)
    wait(lambda: not survivors(), GONE_S)
    left = {"processes": [argv(pid).decode() for pid in survivors()]}
    for pid in survivors():
        os.kill(pid, signal.SIGKILL)
    return left | {"mounts": sorted(mounted() - mounts)}


def sleepers(server: int) -> int:
    """Return how many of a server's processes are asleep on purpose."""
    return sum(argv(pid).startswith(b"sleep\0") for pid in tree(server, 99))


def survivors() -> list[int]:
    """Return what descends from a server; what has ended is waited for."""
    for pid in children_of(os.getpid()):
        os.waitpid(pid, os.WNOHANG)
    return tree(os.getpid(), 999)[1:]


def files(directory: Path, tmp: Path) -> list[str]:
    """Return what is where nothing should be."""
    store = {f"state/changes/{name}" for name in ("active", "drafts", "lock", "marks", "sets")}
    expected = {"workspace", "outside", "state", "state/empty", "state/changes", *store}
    sweep(directory / "state")  # as the next server does
    ChangeStore(directory / "state" / "changes").prune()
    found = {str(path.relative_to(directory)) for path in directory.rglob("*")}
    return sorted(found - expected) + [path.name for path in tmp.iterdir()]


def mounted() -> set[str]:
    """Return the mounts of this namespace."""
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def argv(pid: int) -> bytes:
    """Return the arguments of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait(holds, within_s: float) -> None:
    """Wait for a fact, but no longer than this."""
    until = time.monotonic() + within_s
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)


if __name__ == "__main__":
    main()
