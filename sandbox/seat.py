"""The first process of a cell, and the seats that wait in it for one command each.

Started by bubblewrap as `python -I -S seat.py CONTROL_FD BASE_FD`, process 1 of the cell's pid
namespace. For each order on the control socket it clones a seat into pid, mount and ipc namespaces
of its own: a watcher (process 1 there) and the process that will become the command, made ready as
far as it can be before the command is known. When it comes, that process builds the command's view,
gives up what it did that with, and becomes the command. The control socket's end is the cell's end.
Standard library only; nothing is imported once a command's view is built.

A seat that is ordered with a network gets a namespace for that too (network/netspace.py).

A seat answers "P" when its watcher lives, then what confine.py reports; "X…" comes when everything
the command started is dead.
"""

import ctypes
import gc
import os
import signal
import socket
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from sandbox import confine, landlock, mounting, privileges  # found only once the path is known
from sandbox.network import netspace

CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
NEW_MOUNT, NEW_IPC, NEW_PID, NEW_NET = 0x0002_0000, 0x0800_0000, 0x2000_0000, 0x4000_0000
STREAMS = 3  # standard input, output, error
DESCRIPTORS = STREAMS + 2  # the specification before them, and where listeners are handed over
WITH_NETWORK = b"N"  # as ordered
LAY = b"L"  # before a command comes: its workspace, upper and work directory, with NUL between
ORDER_BYTES = 1 << 14  # three paths
TMP = b"/tmp"  # the cell's own
FULL = 0.98  # of /tmp or the home: the next command could not write
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Make a seat for each order until the server hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    base_fd = int(sys.argv[2])
    base = confine.Spec(base_fd)
    privileges.hide()
    mounting.prepare((TMP, base.cwd))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended watchers leave no zombie
    # Python's own handler would let a command's `kill -INT 1` reach the watcher.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.freeze()
    gc.disable()
    control.send(b"up")
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not order:
            return 0
        seat, has_network = descriptors[0], order == WITH_NETWORK
        new = NEW_MOUNT | NEW_IPC | NEW_PID | (NEW_NET if has_network else 0)
        pid = int(_libc.syscall(CLONE, new | signal.SIGCHLD, 0, 0, 0, 0))
        if pid == 0:
            control.close()
            _watch(seat, base, base_fd, has_network=has_network)
        if pid < 0:
            os.write(seat, f"F{os.strerror(ctypes.get_errno())}".encode())
        os.close(seat)


def _watch(seat: int, base: confine.Spec, base_fd: int, *, has_network: bool) -> None:
    """Be process 1 of a seat: prepare it, wait for its command, end everything, report."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.write(seat, b"P")
        covers = _prepared(base, has_network=has_network)
        child = os.fork()  # noqa: TID251  # this process exists to become the permitted command
        if child == 0:
            _wait_for_command(seat, base, base_fd, covers)
        privileges.drop_capabilities()
        os.closerange(0, seat)
        os.closerange(seat + 1, confine.HIGHEST_FD)
        _fullness(base)  # rehearsed
    except Exception as error:  # noqa: BLE001  # whatever failed, no command can run here
        os.write(seat, f"F{error}".encode())
        os._exit(126)
    report = confine.reap(child)
    _end_all()
    try:
        os.write(seat, report + _fullness(base))
        # An overlay's end syncs the file system below it: not while what was written is committed.
        os.read(seat, 1)
    finally:
        os._exit(0)  # also where no command came and nobody is there to be told


def _prepared(base: confine.Spec, *, has_network: bool) -> list[list[bytes]]:
    """Make what is the same for every command, and return the covers among it."""
    if not has_network:
        return mounting.private(base.mounts, base.settings)
    netspace.prepare()
    return mounting.private(base.mounts, base.settings + netspace.SETTINGS)


def _rehearse(base_fd: int) -> None:
    """Read a specification once: a forked process pays for what it touches first."""
    spec = confine.Spec(base_fd)
    _ = spec.mounts, spec.identities, spec.argv, spec.env, spec.rlimits, spec.rules, spec.filter


def _end_all() -> None:
    """Kill what the command left, and wait for it: process 1 sees every process of the seat."""
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        try:
            while True:
                os.wait()
        except ChildProcessError:
            continue


def _fullness(base: confine.Spec) -> bytes:
    """Return a mark when /tmp or the home has no room left for the next command."""
    for path in (TMP, base.cwd):
        room = os.statvfs(path)
        is_short = room.f_bavail < (1 - FULL) * room.f_blocks
        if is_short or room.f_files - room.f_ffree > FULL * mounting.most_files(path):
            return b" full"
    return b""


def _wait_for_command(
    seat: int, base: confine.Spec, base_fd: int, covers: list[list[bytes]]
) -> None:
    """Get everything ready that is the same for all commands, then wait for the one to become."""
    try:
        os.setsid()
        ruleset = -1
        if rules := base.rules:
            ruleset = landlock.create(refuse_tcp=base.refuse_tcp)
            landlock.allow(ruleset, rules)
        privileges.drop_bounding()
        program = base.filter
        _rehearse(base_fd)
        mounting.rehearse()
        confine.rehearse()
        spec, streams, laid = _receive(seat)
        mounting.build(spec.mounts, spec.identities, covers, spec.layers, laid)
        if spec.is_calm:
            mounting.calm((TMP, base.cwd))
        if len(streams) > STREAMS:
            netspace.hand_over(spec.ports, socket.socket(fileno=streams.pop()))
        if ruleset >= 0:
            landlock.allow(ruleset, spec.rules)  # the filter leaves no call to find a path with
        privileges.drop_capabilities()
        privileges.install_filter(program)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
    except Exception as error:  # noqa: BLE001  # whatever failed, the command must not run
        again = "again: " if isinstance(error, mounting.MovedError) else ""
        os.write(seat, f"F{again}{error}".encode())
        os._exit(126)
    confine.become(spec, seat, ruleset)


def _receive(seat: int) -> tuple[confine.Spec, list[int], mounting.Laid | None]:
    """Return the command that comes, its descriptors, and its copy of the workspace if it is laid.

    When no command will come, end.
    """
    laid = None
    with socket.socket(fileno=os.dup(seat)) as channel:
        while True:
            order, descriptors, _, _ = socket.recv_fds(channel, ORDER_BYTES, DESCRIPTORS)
            if not order.startswith(LAY):
                break
            root, *layers = order[len(LAY) :].split(b"\0")
            try:
                laid = mounting.Laid(root, layers)
            except OSError:
                laid = None  # it is tried again with the command, and said then
    if not order:
        os._exit(0)
    spec_fd, *streams = descriptors
    return confine.Spec(spec_fd), streams, laid


if __name__ == "__main__":
    sys.exit(main())
