"""One process tree from start to end: streams, deadline, sampling, and the kill that ends it all.

May touch: one child, its pipes and /proc. Runs in a worker thread and blocks; the thread lives as
long as the child, as the parent-death signal demands. This module and probe.py are the only ones
that start local processes.
"""

import os
import select
import selectors
import subprocess  # noqa: TID251  # the one place where a permitted command is started
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

from sandbox.action import Limits
from sandbox.cgroup import Group
from sandbox.limits import children_of, memory, tree
from sandbox.outcome import Output
from sandbox.output import Collector

SAMPLE_S = 0.02  # processes; a fork bomb doubles many times in a tenth of a second
MEMORY_EVERY = 5  # samples
DEATH_S = 5.0  # for the kernel to end every process of a killed namespace
DRAIN_S = 0.5  # after the tree is dead; only a process outside the tree could still write
OWN_PROCESSES = 4  # reaper, bubblewrap twice, the stage inside
CHUNK_BYTES = 1 << 16
REPORT_BYTES = 1 << 16

Cause = Literal["", "timeout", "cancelled", "memory", "processes"]


@dataclass(frozen=True, slots=True)
class Start:
    """What to start: a fixed argument vector whose {0}, {1}, {2} are descriptor numbers.

    The descriptors hold bubblewrap's options, the stage's specification, and the status pipe.
    """

    argv: tuple[str, ...]
    options: bytes
    spec: bytes
    stdin: bytes | None
    has_reaper: bool
    pids_cgroup: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the tree ended; `report` is what the stage inside wrote (see init.py)."""

    cause: Cause
    report: bytes
    stdout: Output
    stderr: Output
    duration_ms: int
    peak_memory_bytes: int = 0


@dataclass(slots=True)
class _Streams:
    collectors: dict[int, Collector]
    report: bytearray = field(default_factory=bytearray)


def supervise(start: Start, limits: Limits, cancel_fd: int) -> Ended:
    """Run one tree to its end and return what it left; nothing of it is alive afterwards.

    Raises:
        OSError: the process could not be started.
    """
    with ExitStack() as stack:
        began = time.monotonic()
        ends = [_pipe(stack) for _ in range(3)]
        (out, _), (err, _), (report, _) = ends
        group = _group(stack, start, limits)
        child = _spawn(start, tuple(writer for _, writer in ends))
        if group is not None:
            group.enter(child.pid)
        streams = _Streams({fd: Collector(limits.output_bytes) for fd in (out, err)})
        watch = _Watch(stack, child, start, limits, cancel_fd)
        try:
            cause = watch.until_end(streams, report, began + limits.wall_s)
        finally:
            watch.kill()
            child.wait()
        watch.drain(streams, report, time.monotonic() + DRAIN_S)
        return Ended(
            cause,
            bytes(streams.report),
            streams.collectors[out].close(),
            streams.collectors[err].close(),
            round((time.monotonic() - began) * 1000),
            watch.peak_memory_bytes,
        )


class _Watch:
    """Waits on everything at once: two streams, the report, the child's end, a cancellation."""

    def __init__(
        self,
        stack: ExitStack,
        child: "subprocess.Popen[bytes]",
        start: Start,
        limits: Limits,
        cancel_fd: int,
    ) -> None:
        self._child, self._start, self._limits = child, start, limits
        self._cancel_fd = cancel_fd
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._pidfd = os.pidfd_open(child.pid)
        stack.callback(os.close, self._pidfd)
        self._samples = 0
        self.peak_memory_bytes = 0

    def until_end(self, streams: _Streams, report: int, deadline: float) -> Cause:
        for fd in (*streams.collectors, report, self._pidfd, self._cancel_fd):
            self._selector.register(fd, selectors.EVENT_READ)
        next_sample = time.monotonic() + SAMPLE_S
        while (now := time.monotonic()) < deadline:
            if now >= next_sample:
                next_sample = now + SAMPLE_S
                if exceeded := self._sample():
                    return exceeded
            ready = [key.fd for key, _ in self._selector.select(min(deadline, next_sample) - now)]
            if self._pidfd in ready:
                return ""
            if self._cancel_fd in ready:
                return "cancelled"
            for fd in ready:
                self._take(streams, fd)
        return "timeout"

    def drain(self, streams: _Streams, report: int, until: float) -> None:
        for fd in (self._pidfd, self._cancel_fd):
            self._selector.unregister(fd)
        while self._selector.get_map() and time.monotonic() < until:
            for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
                self._take(streams, key.fd)

    def kill(self) -> None:
        """End the whole tree: the pid namespace dies with bubblewrap, else the reaper is told."""
        if self._child.poll() is not None:
            return
        if self._start.has_reaper:
            self._child.terminate()
            return
        # Process 1 of the namespace ends after everything in it; its descriptor tells when.
        inside = [os.pidfd_open(pid) for pid in children_of(self._child.pid)]
        self._child.kill()
        for pidfd in inside:
            select.select([pidfd], [], [], DEATH_S)
            os.close(pidfd)

    def _take(self, streams: _Streams, fd: int) -> None:
        chunk = os.read(fd, CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(fd)
        elif fd in streams.collectors:
            streams.collectors[fd].feed(chunk)
        elif len(streams.report) < REPORT_BYTES:
            streams.report += chunk

    def _sample(self) -> Cause:
        most = self._limits.processes + OWN_PROCESSES
        pids = tree(self._child.pid, most + 1)
        if len(pids) > most:
            return "processes"
        self._samples += 1
        if self._samples % MEMORY_EVERY == 0:
            held = memory(pids)
            self.peak_memory_bytes = max(self.peak_memory_bytes, held)
            return "memory" if held > self._limits.memory_bytes else ""
        return ""


def _group(stack: ExitStack, start: Start, limits: Limits) -> Group | None:
    if not start.pids_cgroup:
        return None
    group = Group(start.pids_cgroup, limits.processes + OWN_PROCESSES)
    stack.callback(group.close)
    return group


def _pipe(stack: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, reader)
    return reader, writer


def _spawn(start: Start, writers: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    out, err, report = writers
    options, spec = _memory_file(start.options), _memory_file(start.spec)
    stdin = subprocess.DEVNULL if start.stdin is None else _memory_file(start.stdin)
    try:
        return subprocess.Popen(  # noqa: S603  # an argument vector of our own making, no shell
            [word.format(options, spec, report) for word in start.argv],
            stdin=stdin,
            stdout=out,
            stderr=err,
            pass_fds=(options, spec, report),
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
        )
    finally:
        for fd in (out, err, report, options, spec):
            os.close(fd)
        if stdin >= 0:
            os.close(stdin)


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("permitgate", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
