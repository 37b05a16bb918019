"""Cells: sandboxes that outlive a command, so that the next one starts in a few milliseconds.

May touch: bubblewrap, started with constant arguments; one thread per cell. A cell belongs to one
session, one workspace and one class of profile; what stays in it between commands is /tmp and HOME,
nothing else. Inside wait seats for the next commands (seat.py). A cell that does not answer is
killed, and a new one takes its place.
"""

import errno
import os
import queue
import signal
import socket
import struct
import subprocess  # noqa: TID251  # the one place where cells are started; they hold no command yet
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

ANSWER_S = 10.0  # a machine under load takes a while to fork
MAX_CELLS = 8
SPARE_SEATS = 2
Kind = Literal[b"S", b"N"]  # a seat, or one with a network namespace of its own; as ordered
PAUSE_S = 0.01  # before a seat is replaced: the command that took it starts first
COMPLAINT_BYTES = 4096
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class CellError(OSError):
    """The cell did not give a seat; no command ran in it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes one cell: equal plans share one."""

    argv: tuple[str, ...]  # {0} bubblewrap's options, {1} control socket, {2} base
    options: bytes
    base: bytes
    owner: tuple[str, ...]  # whose it is: session, class of profile, what else it may write


class Seat:
    """One waiting place in a cell; it takes one command."""

    def __init__(self, channel: socket.socket, pid: int, taken: Callable[[], None]) -> None:
        self.channel, self.pid = channel, pid  # its watcher, process 1 of the seat's namespace
        self.pidfd = os.pidfd_open(pid)
        self._taken: Callable[[], None] | None = taken

    def lay(self, workspace: str, layers: tuple[str, str]) -> None:
        """Have a copy of the workspace mounted already, while the command's view is looked for.

        Raises:
            CellError: the seat is gone.
        """
        try:
            self.channel.send(b"L" + b"\0".join(map(os.fsencode, (workspace, *layers))))
        except OSError as error:
            raise CellError(error.errno, "the seat was gone") from error

    def start(self, spec: int, streams: tuple[int, ...]) -> None:
        """Hand over the command's specification, its three streams, and the way to the broker.

        Raises:
            CellError: the seat is gone; the command did not start.
        """
        try:
            socket.send_fds(self.channel, [b"G"], [spec, *streams])
        except OSError as error:
            raise CellError(error.errno, "the seat was gone") from error

    def order_next(self) -> None:
        """Have the cell make another seat in place of this one, once: now the command runs."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken()

    def kill(self) -> None:
        """End every process of the seat; the kernel takes its namespace down with it."""
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Give the seat up; one that waits ends by itself."""
        self.order_next()
        self.channel.close()
        os.close(self.pidfd)


class Cell:
    """One sandbox and the thread that keeps it: the kernel ends the sandbox with that thread."""

    def __init__(self, plan: Plan) -> None:
        self._hurry = threading.Event()
        self._orders: queue.SimpleQueue[Kind | None] = queue.SimpleQueue()
        self._ready: dict[Kind, queue.SimpleQueue[Seat | OSError]] = {
            b"S": queue.SimpleQueue(),
            b"N": queue.SimpleQueue(),
        }
        self._has_network = False
        self.taken = 0  # commands that run in it now
        threading.Thread(target=self._keep, args=(plan,), daemon=True).start()
        for _ in range(SPARE_SEATS):
            self._orders.put(b"S")

    def take(self, kind: Kind = b"S") -> Seat:
        """Return a seat that waits; starting a command in it orders the next one.

        Seats with a network are made from the first command on that wants one.

        Raises:
            CellError: there was none within the time a healthy cell needs.
        """
        ready = self._ready[kind]
        if kind == b"N" and not self._has_network:
            self._has_network = True
            self._orders.put(kind)
        if ready.empty():
            self._hurry.set()
        try:
            seat = ready.get(timeout=ANSWER_S)
        except queue.Empty:
            raise CellError("the cell did not answer") from None
        if isinstance(seat, OSError):
            ready.put(seat)  # for whoever asks next
            raise CellError(seat.errno, f"the cell ended: {seat}")
        return seat

    def close(self) -> None:
        """End the cell and all that runs in it."""
        self._orders.put(None)

    def _keep(self, plan: Plan) -> None:
        try:
            control, child = _start(plan)
        except OSError as error:
            self._fail(error)
            return
        try:
            made = 0
            while kind := self._orders.get():
                if made >= SPARE_SEATS:
                    self._hurry.wait(PAUSE_S)
                again = partial(self._orders.put, kind)
                self._ready[kind].put(_seat(control, kind, again))
                made += 1
                if self._orders.empty():
                    self._hurry.clear()
        except OSError as error:
            self._fail(error)
        finally:
            control.close()
            child.kill()
            child.wait()
            self._empty()

    def _fail(self, error: OSError) -> None:
        for ready in self._ready.values():
            ready.put(error)

    def _empty(self) -> None:
        for ready in self._ready.values():
            kept = []
            while not ready.empty():
                seat = ready.get()
                if isinstance(seat, Seat):
                    seat.close()
                else:
                    kept.append(seat)
            ready.put(kept[0] if kept else CellError("the cell was closed"))


@dataclass(slots=True)
class Cells:
    """The cells of one server, by plan; the least recently used idle one makes room."""

    _cells: OrderedDict[Plan, Cell] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def seat(self, plan: Plan, kind: Kind = b"S") -> Iterator[tuple[Cell, Seat]]:
        """Lend a seat in the cell of this plan; a cell that fails on the way is retired.

        Raises:
            CellError: the cell gave none, or the caller found it broken.
        """
        with self._lock:
            cell = self._cells.pop(plan, None) or Cell(plan)
            self._cells[plan] = cell
            cell.taken += 1
            self._make_room()
        try:
            with closing(cell.take(kind)) as seat:
                yield cell, seat
        except CellError:
            self.retire(cell)
            raise
        finally:
            with self._lock:
                cell.taken -= 1

    def retire(self, cell: Cell) -> None:
        """Take a cell out of use: the next command of its plan gets a new one."""
        with self._lock:
            for plan in [plan for plan, known in self._cells.items() if known is cell]:
                del self._cells[plan]
        cell.close()

    def close(self) -> None:
        """End all cells."""
        with self._lock:
            for cell in self._cells.values():
                cell.close()
            self._cells.clear()

    def _make_room(self) -> None:
        idle = [plan for plan, cell in self._cells.items() if not cell.taken]
        for plan in idle[: max(0, len(self._cells) - MAX_CELLS)]:
            self._cells.pop(plan).close()


def _start(plan: Plan) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    with ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = stack.enter_context(ExitStack())
        kept.enter_context(ours)
        stack.enter_context(theirs)
        options, base, said = (memory_file(data) for data in (plan.options, plan.base, b""))
        for fd in (options, base, said):
            stack.callback(os.close, fd)
        child = subprocess.Popen(  # noqa: S603  # an argument vector of our own making, no shell
            [word.format(options, theirs.fileno(), base) for word in plan.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(options, theirs.fileno(), base),
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(ANSWER_S)
        if _answer(ours, 2) == b"up":
            kept.pop_all()
            return ours, child
        child.kill()
        child.wait()
        reason = os.pread(said, COMPLAINT_BYTES, 0).decode("utf-8", "replace").strip()
    raise CellError(errno.EPERM, reason or "bubblewrap gave no reason")


def _seat(control: socket.socket, kind: Kind, taken: Callable[[], None]) -> Seat:
    with ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            socket.send_fds(control, [kind], [theirs.fileno()])
        ours.settimeout(ANSWER_S)
        said, ancillary, _, _ = ours.recvmsg(1 << 10, socket.CMSG_SPACE(CREDENTIALS.size))
        if said == b"P":
            # The kernel names the sender in our own pid namespace.
            pid = next(CREDENTIALS.unpack(data)[0] for _, _, data in ancillary)
            seat = Seat(ours, pid, taken)
            stack.pop_all()
            return seat
    raise CellError(errno.EPIPE, said[1:].decode("utf-8", "replace") or "it ended")


def _answer(channel: socket.socket, size: int) -> bytes:
    try:
        return channel.recv(size)
    except OSError:
        return b""


def memory_file(data: bytes) -> int:
    """Return a descriptor of a file in memory that holds `data`."""
    fd = os.memfd_create("permitgate", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
