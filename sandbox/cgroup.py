"""One control group per command: what it holds of memory and processes, and the kill of all in it.

May touch: directories named permitgate-* below this process's own control group, or the nearest
one above it where that is allowed, so an outer limit goes on holding. Both versions of the
interface are used alike: a file that a group does not have is not written or read.
Where no group can be made, sampling remains (limits.py).
Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst.
"""

import os
import signal
import subprocess  # noqa: TID251  # one constant process, to try a move on
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandbox.leftovers import is_left_over, own_name
from sandbox.limits import tree

PREFIX = "permitgate"
MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
FIRST_PROCESSES = 512  # of a tree that is moved; more than that is a bomb
MOVES_S = 0.05  # each may wait for every fork on the host, and so may every fork for it
DEATH_S = 2.0  # for killed processes to leave the group
CONTROLLERS = ("memory", "pids")

PROCESSES = ("pids.max",)
MEMORY = ("memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
FIXED = (("memory.swap.max", b"0"), ("memory.oom.group", b"1"))
KILLED = ("memory.events", "memory.oom_control")
HELD = (b"anon", b"rss", b"shmem")


class Group:
    """One control group, in every hierarchy that has a part of it; `close` it when it is empty."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = paths
        self._files = {name: path for path in self._paths for name in _names(path)}
        knobs = {"memory": MEMORY[:2], "pids": PROCESSES}
        self.bounds = frozenset(what for what in knobs if self._files.keys() & knobs[what])

    @classmethod
    def make(cls, parents: tuple[str, ...]) -> "Group":
        """Return a new empty group with a part in each of these directories.

        Raises:
            OSError: one of them takes no group; none is left then.
        """
        return cls(_new(parents))

    def bound(self, memory_bytes: int, processes: int) -> None:
        """Hold all in the group together to this much memory, swap included, and so many tasks.

        Raises:
            OSError: the kernel refused a value.
        """
        for knob in MEMORY:
            self._set(knob, b"%d" % memory_bytes)
        for knob in PROCESSES:
            self._set(knob, b"%d" % processes)
        for knob, value in FIXED:
            self._set(knob, value)

    def enter(self, root_pid: int) -> bool:
        """Move a process and the descendants it already has, as far as a short time allows.

        Returns whether all were inside when last looked: their later children are born inside.

        Raises:
            OSError: they may not be moved.
        """
        tried: set[int] = set()
        until = time.monotonic() + MOVES_S
        # Again while there are new ones: a child may be born between a list and a move.
        while outside := set(tree(root_pid, FIRST_PROCESSES)) - self._inside() - tried:
            for pid in outside:
                if time.monotonic() > until:
                    return False
                with suppress(ProcessLookupError):  # it has ended
                    for path in self._paths:
                        _write(f"{path}/cgroup.procs", b"%d" % pid)
            tried |= outside
        return True

    def stop_births(self) -> None:
        """Refuse every new process and thread from now on, so that a bomb cannot outrun its end."""
        with suppress(OSError):
            self._set("pids.max", b"0")

    def members(self) -> set[int]:
        """Return the processes in any part of the group."""
        return set().union(*map(_members, self._paths))

    def held_bytes(self) -> int:
        """Return the memory that cannot be dropped (anonymous and shared), mapped or not."""
        return self._sum("memory.stat", HELD)

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in the group for its memory."""
        return any(self._sum(file, (b"oom_kill",)) for file in KILLED)

    def refused_processes(self) -> bool:
        """Return whether a fork, or a thread, failed for the bound."""
        return self._sum("pids.events", (b"max",)) > 0

    def kill(self) -> None:
        """End everything in the group; returns when it is empty, or after two seconds."""
        self.stop_births()
        with suppress(OSError):
            self._set("cgroup.kill", b"1")  # version 2 alone
        until = time.monotonic() + DEATH_S
        while (alive := self.members()) and time.monotonic() < until:
            for pid in alive - {0}:  # 0 is one of another pid namespace, and to kill() ourselves
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def close(self) -> bool:
        """Remove the group and return whether it is gone; a process in it keeps it."""
        for path in self._paths:
            with suppress(OSError):
                Path(path).rmdir()
        return not any(map(os.path.lexists, self._paths))

    def _inside(self) -> set[int]:
        return set.intersection(*map(_members, self._paths))

    def _set(self, knob: str, value: bytes) -> None:
        if path := self._files.get(knob):
            _write(f"{path}/{knob}", value)

    def _sum(self, file: str, names: tuple[bytes, ...]) -> int:
        if file not in self._files:
            return 0
        words = _read(f"{self._files[file]}/{file}").split()
        return sum(
            int(n) for name, n in zip(words[::2], words[1::2], strict=False) if name in names
        )


def parents() -> dict[str, frozenset[str]]:
    """Return where to make groups, and what one there bounds: a directory for each hierarchy.

    Found by moving a process for real: who may make a group may not always fill it. Groups that a
    server left when it was killed are ended and removed on the way.
    """
    found = {}
    for places in _places():
        for place in places:
            if bounds := _bounds(place):
                found[str(place)] = bounds
                break
    return found


def _new(parents: tuple[str, ...]) -> tuple[str, ...]:
    own = own_name(PREFIX)
    paths = tuple(f"{parent}/{own}" for parent in parents)
    try:
        for path in paths:
            Path(path).mkdir()
    except OSError:
        Group(paths).close()
        raise
    return paths


def _tried(parent: str) -> frozenset[str]:
    """Return what a group in this directory bounds, by filling one; empty where that fails."""
    try:
        group = Group.make((parent,))
    except OSError:
        return frozenset()
    try:
        group.bound(1 << 30, FIRST_PROCESSES)
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env={}, cwd="/") as trial:
            group.enter(trial.pid)
            return group.bounds if trial.pid in group.members() else frozenset()
    except OSError:
        return frozenset()
    finally:
        group.close()


def _places() -> Iterator[list[Path]]:
    """Return for each hierarchy this process's group and those above it, nearest first."""
    for line in _read(str(MEMBERSHIP)).decode("utf-8", "replace").splitlines():
        _, controllers, own = line.split(":", 2)
        names = (".", "unified") if not controllers else {controllers} & set(CONTROLLERS)
        for base in (MOUNT / name for name in names):
            here = base / own.lstrip("/")
            yield [path for path in (here, *here.parents) if path.is_relative_to(base)]


def _bounds(parent: Path) -> frozenset[str]:
    """Return what a group in this directory bounds, once its controllers are on and it is clear."""
    if not (parent / "cgroup.procs").exists():
        return frozenset()
    _clear(parent)
    for controller in CONTROLLERS:
        with suppress(OSError):  # version 1, or it is on already, or it may not be switched on
            _write(f"{parent}/cgroup.subtree_control", b"+" + controller.encode("ascii"))
    return _tried(str(parent))


def _clear(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}-*"):
        if is_left_over(path.name):
            group = Group((str(path),))
            group.kill()
            group.close()


def _members(path: str) -> set[int]:
    return set(map(int, _read(f"{path}/cgroup.procs").split()))


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)  # noqa: PTH208  # for every command
    except OSError:
        return []


def _read(path: str) -> bytes:
    """Return a small file of the kernel's; empty when it is gone."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # three times as fast as pathlib
            return file.read()
    except OSError:
        return b""


def _write(path: str, value: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
