"""The program of the canary: it tries the forbidden from inside, and says what it could do.

May touch: whatever it is not kept from. Its text is run through the same road as any command
(canary.py), in the trial's workspace, so it needs the standard library alone and few modules. Each
attempt is harmless where it succeeds, and returns whether it did. Prints one line per attempt:
control, what was tried, `done` or `refused`, the kernel's answer.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
from _socket import AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM, socket  # socket costs 7 ms

TYPE_CHECKING = False  # typing and collections cost 8 ms; mypy takes this name as true
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWUSER = 0x10000000
OPEN_TREE, OPEN_TREE_CLONE, AT_FDCWD, MNT_DETACH = 428, 1, -100, 2
PR_GET_NO_NEW_PRIVS, CAPABILITY_VERSION_3 = 39, 0x20080522
SET_ID = 0o4755
TASKS = 64  # more than the limit of the trial
PATIENCE_US = 300_000  # for a bound that is sampled
MIB = 1 << 20
READ_WRITE, PRIVATE_POPULATED = 3, 0x8022  # for mmap: its pages are there at once

GIVEN = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
_libc = ctypes.CDLL(None, use_errno=True)


def reads(path: str) -> bool:
    """Return whether a file has content for us; what is covered is empty."""
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib costs 5 ms
        return bool(file.read(1))


def writes(path: str) -> bool:
    """Create a file, or open one for writing, and leave it as it was."""
    is_new = not os.path.exists(path)  # noqa: PTH110  # pathlib costs 5 ms
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    if is_new:
        os.unlink(path)  # noqa: PTH108  # pathlib costs 5 ms
    return True


def overwrites(path: str) -> bool:
    """Open a file of the host for writing."""
    os.close(os.open(path, os.O_WRONLY))
    return True


def cuts(path: str) -> bool:
    """Cut a file of the host by its name, at its end."""
    os.truncate(path, os.path.getsize(path))  # noqa: PTH202  # pathlib costs 5 ms
    return True


def leaves(path: str) -> bool:
    """Leave a file behind; only the host can tell whether it is there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return False


def touches(path: str) -> bool:
    """Set a file's mode to what it is."""
    os.chmod(path, os.stat(path).st_mode & 0o777)  # noqa: PTH101, PTH116  # pathlib costs 5 ms
    return True


def connects(family: int, address: tuple[str, int] | str, kind: int = SOCK_STREAM) -> bool:
    """Reach a listener of the host; a datagram is believed only when it arrived."""
    own = socket(family, kind)
    own.settimeout(1)
    own.connect(address)
    if kind == SOCK_DGRAM:
        own.send(GIVEN["token"].encode())
    return kind == SOCK_STREAM


def opens_fifo(path: str) -> bool:
    """Open a FIFO that a process of the host reads."""
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    return True


def shares_pids() -> bool:
    """Return whether this is the pid namespace of the host."""
    return os.readlink("/proc/self/ns/pid") == GIVEN["pid-namespace"]  # noqa: PTH115  # pathlib costs 5 ms


def sees() -> bool:
    """Read what a process of the host was started with."""
    return shares_pids() and reads(f"/proc/{GIVEN['pid']}/cmdline")


def signals() -> bool:
    """Send a process of the host the signal that does nothing."""
    if not shares_pids():
        return False
    os.kill(int(GIVEN["pid"]), 0)
    return True


def looks_into() -> bool:
    """Read the environment of a process of the host."""
    return shares_pids() and reads(f"/proc/{GIVEN['pid']}/environ")


def may_gain() -> bool:
    """Return whether a set-id program would be given its owner's powers."""
    return int(_libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) != 1


def has_capabilities() -> bool:
    """Return whether any capability is left to this process."""
    held = ctypes.create_string_buffer(24)
    header = ctypes.create_string_buffer(CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
    _libc.capget(header, held)
    return any(held.raw[:8]) or any(held.raw[12:20])  # effective and permitted, two halves


def makes_set_id() -> bool:
    """Make a set-id file, in memory."""
    os.fchmod(os.memfd_create("permitgate-canary"), SET_ID)
    return True


def calls(name: str, *arguments: object) -> bool:
    """Make a system call by its C name."""
    if getattr(_libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


def mounts() -> bool:
    """Mount something on the workspace, and take it away."""
    calls("mount", b"none", b".", b"tmpfs", 0, None)
    return calls("umount2", b".", MNT_DETACH)


def starts_many() -> bool:
    """Start more tasks than the limit; threads count like processes, and are cheap."""
    gate = _thread.allocate_lock()

    def wait() -> None:
        with gate:
            return

    with gate:
        for _ in range(TASKS):
            _thread.start_new_thread(wait, ())
        _libc.usleep(PATIENCE_US)
    return True


def holds() -> bool:
    """Hold more memory than the limit, piece by piece."""
    for _ in range(int(GIVEN["memory-mib"])):
        _libc.mmap(None, ctypes.c_size_t(MIB), READ_WRITE, PRIVATE_POPULATED, -1, 0)
    _libc.usleep(PATIENCE_US)
    return True


Attempt = tuple[str, str, "Callable[[], bool]"]
ATTEMPTS: tuple[Attempt, ...] = (
    ("reads", "read a private file outside the workspace", lambda: reads(GIVEN["secret"])),
    ("reads", "read /etc/shadow", lambda: reads("/etc/shadow")),
    ("writes", "create a file in /usr", lambda: writes("/usr/.permitgate-canary")),
    ("writes", "write a file outside the workspace", lambda: overwrites(GIVEN["secret"])),
    ("writes", "cut a file outside the workspace", lambda: cuts(GIVEN["secret"])),
    ("writes", "leave a file in the host's /tmp", lambda: leaves(GIVEN["tmp"])),
    ("workspace", "create a file in the workspace", lambda: writes("new")),
    ("workspace", "write a file of the workspace", lambda: writes("file")),
    ("workspace copy", "leave a file in the workspace itself", lambda: leaves("left")),
    ("metadata", "set the mode of a file outside", lambda: touches(GIVEN["secret"])),
    ("protected names", "write .git/config", lambda: writes(".git/config")),
    ("protected names", "write .git/hooks", lambda: writes(".git/hooks/pre-commit")),
    ("network", "connect to the host's loopback (TCP)",
     lambda: connects(AF_INET, ("127.0.0.1", int(GIVEN["tcp"])))),
    ("network", "send to the host's loopback (UDP)",
     lambda: connects(AF_INET, ("127.0.0.1", int(GIVEN["udp"])), SOCK_DGRAM)),
    ("sockets", "connect to a socket in the workspace", lambda: connects(AF_UNIX, "socket")),
    ("sockets", "connect to a socket outside", lambda: connects(AF_UNIX, "../socket")),
    ("sockets", "connect to an abstract socket",
     lambda: connects(AF_UNIX, "\0" + GIVEN["token"])),
    ("sockets", "write to a FIFO in the workspace", lambda: opens_fifo("fifo")),
    ("processes", "see a process of the host", sees),
    ("processes", "signal a process of the host", signals),
    ("processes", "read the environment of a process of the host", looks_into),
    ("set-id", "gain privileges by executing a set-id file", may_gain),
    ("set-id", "hold a capability", has_capabilities),
    ("set-id", "make a set-id file", makes_set_id),
    ("kernel", "read memory as a debugger does",
     lambda: calls("process_vm_readv", os.getpid(), None, 0, None, 0, 0)),
    ("kernel", "clone a mount",
     lambda: calls("syscall", OPEN_TREE, AT_FDCWD, b"/", OPEN_TREE_CLONE)),
    ("kernel", "mount", mounts),
    ("kernel", "make a user namespace", lambda: calls("unshare", CLONE_NEWUSER)),
    ("process count", "start more processes than the limit", starts_many),
    ("memory", "hold more memory than the limit", holds),  # last: it may end everything
)  # fmt: skip


def main() -> None:
    """Try everything whose control is named in the argument `controls`."""
    wanted = GIVEN["controls"].split(",")
    for control, what, attempt in ATTEMPTS:
        if control not in wanted:
            continue
        try:
            state, reason = ("done" if attempt() else "refused"), ""
        except (OSError, RuntimeError) as error:
            state, reason = "refused", getattr(error, "strerror", None) or str(error)
        os.write(1, f"{control}\t{what}\t{state}\t{reason}\n".encode())


if __name__ == "__main__":
    main()
