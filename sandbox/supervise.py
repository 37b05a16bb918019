"""Watch one command to its end: streams, deadline, sampling, and the kill that ends it all.

May touch: one tree of processes, its pipes and /proc. Runs in a worker thread and blocks; for a
command without a cell the thread lives as long as its child, as the parent-death signal demands.
tests/test_laws.py lists every module that starts processes, and what each starts.
"""

import os
import select
import selectors
import subprocess  # noqa: TID251  # the one place where a permitted command is started
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sandbox.action import Limits
from sandbox.cell import Plan, Seat, memory_file
from sandbox.limits import Limit, children_of
from sandbox.meter import SAMPLE_S, Meter
from sandbox.outcome import Output
from sandbox.output import Collector

SETUP_S = 10.0  # for the sandbox to stand; a command's own time begins when it does
DEATH_S = 5.0  # for the kernel to end every process of a killed namespace
DRAIN_S = 0.5  # after the tree is dead; only a process outside the tree could still write
OWN_PROCESSES = 4  # reaper, bubblewrap twice, the stage inside
CHUNK_BYTES = 1 << 16
REPORT_BYTES = 1 << 16

Cause = Literal["", "cancelled"] | Limit


@dataclass(frozen=True, slots=True)
class Start:
    """What to start: a fixed argument vector whose {0}, {1}, {2} are descriptor numbers.

    The descriptors hold bubblewrap's options, the stage's specification, and the status pipe. In a
    cell there is no vector: the specification goes to a seat.
    """

    argv: tuple[str, ...]
    options: bytes
    spec: bytes
    stdin: bytes | None
    cgroups: tuple[str, ...]
    has_reaper: bool
    plan: Plan | None = None
    broker: int | None = None  # where a seat hands over what hears the command's connections


@dataclass(frozen=True, slots=True)
class Ended:
    """How the tree ended; `report` is what the stage inside wrote (see confine.py)."""

    cause: Cause
    report: bytes
    stdout: Output
    stderr: Output
    duration_ms: int
    peak_memory_bytes: int = 0


class Tree(Protocol):
    """The processes of one command, from outside."""

    pid: int  # the root that all others descend from
    pidfd: int
    report: int  # where the stage inside writes
    reports_last: bool  # when it says how the command ended, nothing else is left

    def stands(self) -> None:
        """Take note that the command runs now, or could not be set up."""

    def kill(self, *, is_over: bool) -> None:
        """End all of them."""


@dataclass(slots=True)
class _Streams:
    collectors: dict[int, Collector]
    report: bytearray = field(default_factory=bytearray)


def supervise(start: Start, limits: Limits, cancel_fd: int, seat: Seat | None = None) -> Ended:
    """Run one tree to its end and return what it left; nothing of it is alive afterwards.

    Raises:
        OSError: the process could not be started.
    """
    with ExitStack() as stack:
        began = time.monotonic()
        (out, out_end), (err, err_end) = _pipe(stack), _pipe(stack)
        running: Tree
        with ExitStack() as ends:
            for fd in (out_end, err_end):
                ends.callback(os.close, fd)
            running = (
                _Spawned(stack, start, out_end, err_end)
                if seat is None
                else _Seated(seat, start, out_end, err_end)
            )
        streams = _Streams({fd: Collector(limits.output_bytes) for fd in (out, err)})
        meter = Meter(running.pid, limits, start.cgroups, OWN_PROCESSES)
        watch = _Watch(stack, running, meter, cancel_fd, limits.wall_s)
        try:
            cause = watch.until_end(streams)
            cause = cause or meter.ended() or ""
        finally:
            meter.stop_births()
            running.kill(is_over=watch.is_over)
            meter.close()
        watch.drain(streams, time.monotonic() + DRAIN_S)
        return Ended(
            cause,
            bytes(streams.report),
            streams.collectors[out].close(),
            streams.collectors[err].close(),
            round((time.monotonic() - began) * 1000),
            meter.peak_memory_bytes,
        )


class _Spawned:
    """A process of our own for one command, and all that descends from it."""

    reports_last = False

    def __init__(self, stack: ExitStack, start: Start, out: int, err: int) -> None:
        self.report, report_end = _pipe(stack)
        self._has_reaper = start.has_reaper
        self._child = _spawn(start, out, err, report_end)
        self.pid = self._child.pid
        self.pidfd = os.pidfd_open(self.pid)
        stack.callback(os.close, self.pidfd)

    def stands(self) -> None:
        """Nothing waits for that."""

    def kill(self, *, is_over: bool) -> None:
        """End the whole tree: the pid namespace dies with bubblewrap, else the reaper is told."""
        if self._child.poll() is None and self._has_reaper:
            self._child.terminate()
        elif self._child.poll() is None:
            # Process 1 of the namespace ends after everything in it; its descriptor tells when.
            inside = [os.pidfd_open(pid) for pid in children_of(self.pid)]
            self._child.kill()
            for pidfd in inside:
                _await_end(pidfd)
                os.close(pidfd)
        self._child.wait()


class _Seated:
    """A seat of a cell, once it was given the command."""

    reports_last = True

    def __init__(self, seat: Seat, start: Start, out: int, err: int) -> None:
        self._seat = seat
        self.pid, self.pidfd, self.report = seat.pid, seat.pidfd, seat.channel.fileno()
        spec = memory_file(start.spec)
        stdin = _stdin(start)
        try:
            way = () if start.broker is None else (start.broker,)
            seat.start(spec, (stdin, out, err, *way))
        finally:
            os.close(spec)
            os.close(stdin)

    def stands(self) -> None:
        """Have the next seat made: nobody waits for anything here now."""
        self._seat.order_next()

    def kill(self, *, is_over: bool) -> None:
        """End the whole tree: its namespace dies with the watcher, which reports when it did."""
        if is_over:
            return
        self._seat.kill()
        _await_end(self.pidfd)


class _Watch:
    """Waits on everything at once: two streams, the report, the tree's end, a cancellation."""

    def __init__(
        self, stack: ExitStack, running: Tree, meter: Meter, cancel_fd: int, wall_s: float
    ) -> None:
        self._running, self._meter = running, meter
        self._wall_s, self._deadline = wall_s, time.monotonic() + SETUP_S
        self._cancel_fd = cancel_fd
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self.is_over = False

    def until_end(self, streams: _Streams) -> Cause:
        running = self._running
        for fd in (*streams.collectors, running.report, running.pidfd, self._cancel_fd):
            self._selector.register(fd, selectors.EVENT_READ)
        next_sample = time.monotonic() + SAMPLE_S
        while (now := time.monotonic()) < self._deadline:
            if now >= next_sample:
                next_sample = now + SAMPLE_S
                if exceeded := self._meter.sample():
                    return exceeded
            until = min(self._deadline, next_sample) - now
            ready = [key.fd for key, _ in self._selector.select(until)]
            if self._cancel_fd in ready:
                return "cancelled"
            for fd in ready:
                self._take(streams, fd)
            if self.is_over:
                return ""
        return "timeout"

    def drain(self, streams: _Streams, until: float) -> None:
        for fd in (self._running.pidfd, self._cancel_fd):
            self._selector.unregister(fd)
        while self._selector.get_map() and time.monotonic() < until:
            for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
                self._take(streams, key.fd)

    def _take(self, streams: _Streams, fd: int) -> None:
        if fd == self._running.pidfd:
            self.is_over = True
            return
        try:
            chunk = os.read(fd, CHUNK_BYTES)
        except ConnectionResetError:
            chunk = b""  # the seat died with our message unread
        is_report = fd == self._running.report
        # The watcher of a seat reports when nothing else is left; others only foretell it.
        self.is_over |= is_report and chunk.startswith(b"X") and self._running.reports_last
        if not chunk or (self.is_over and is_report):
            self._selector.unregister(fd)
        if not is_report:
            streams.collectors[fd].feed(chunk)
        elif len(streams.report) < REPORT_BYTES:
            if not streams.report:
                self._deadline = time.monotonic() + self._wall_s  # the sandbox stands
                self._running.stands()
            streams.report += chunk


def _await_end(pidfd: int) -> None:
    end = select.poll()  # select() takes no descriptor above 1,023
    end.register(pidfd, select.POLLIN)
    end.poll(DEATH_S * 1_000)


def _pipe(stack: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, reader)
    return reader, writer


def _stdin(start: Start) -> int:
    if start.stdin is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return memory_file(start.stdin)


def _spawn(start: Start, out: int, err: int, report: int) -> "subprocess.Popen[bytes]":
    options, spec, stdin = memory_file(start.options), memory_file(start.spec), _stdin(start)
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
        for fd in (report, options, spec, stdin):
            os.close(fd)
