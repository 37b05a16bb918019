"""What this kernel lets a process of ours do, each thing done for real; probe.py reads the answers.

May touch: only namespaces and children made here. Runs inside one bubblewrap that kept three
capabilities, or outside it for the filters alone; standard library only, as it is paid at each
start. Prints a line per try: its name, a tab, and nothing or why it failed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
from _socket import AF_INET, SOCK_DGRAM, socket  # socket itself costs 7 ms

from sandbox import landlock, privileges

TYPE_CHECKING = False  # typing and collections cost 8 ms; mypy takes this name as true
if TYPE_CHECKING:
    from collections.abc import Callable

    Try = Callable[[], None]  # raises OSError with the reason

NEWNS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x08000000, 0x20000000, 0x40000000
BIND_AND_BELOW = 0x5000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SCRATCH = "/mnt"  # a tmpfs of this bubblewrap, or a directory of ours
MNT_DETACH = 2
OWN_PROCESSES = 8
NOWHERE = ("192.0.2.1", 9)  # RFC 5737: documentation, never routed
PTRACE_TRACEME = 0

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Try what the first argument names; the second is a seccomp program in hexadecimal."""
    _tell("landlock", in_child(_landlock))
    _tell("seccomp", in_child(lambda: _seccomp(bytes.fromhex(sys.argv[2]))))
    if sys.argv[1] != "inside":
        return
    for name, attempt in (
        ("filesystem", _filesystem), ("network", _network), ("processes", _processes)
    ):  # fmt: skip
        _tell(name, _reason(attempt))
    _tell("net", in_child(_net))
    _tell("cell", in_child(_cell))


def _tell(name: str, reason: str) -> None:
    os.write(1, f"{name}\t{reason}\n".encode())


def _reason(attempt: Try) -> str:
    try:
        attempt()
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def in_child(attempt: Try) -> str:
    """Return "" when the attempt went well in a process of its own, else why not."""
    reader, writer = os.pipe()
    child = os.fork()  # noqa: TID251  # each try changes the process it is made in
    if child == 0:
        os.write(writer, _reason(attempt).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read().decode()
    _, status = os.waitpid(child, 0)
    return said or ("" if status == 0 else f"it ended with status {status}")


def _filesystem() -> None:
    found = os.stat("/usr")  # noqa: PTH116  # pathlib costs 5 ms
    try:
        os.utime("/usr", ns=(found.st_atime_ns, found.st_mtime_ns))  # leaves nothing behind
    except OSError as error:
        if error.errno == errno.EROFS:
            return
        raise
    raise OSError("/usr could be written")


def _network() -> None:
    if socket(AF_INET, SOCK_DGRAM).connect_ex(NOWHERE) != errno.ENETUNREACH:
        raise OSError("there is a route out")


def _processes() -> None:
    if sum(name.isdigit() for name in os.listdir("/proc")) > OWN_PROCESSES:  # noqa: PTH208  # pathlib costs 5 ms
        raise OSError("processes of the host are visible")


def _cell() -> None:
    """What each command of a cell needs: its own pid, mount and ipc namespaces, in this one."""
    _checked(_libc.unshare(NEWNS | NEWPID | NEWIPC), "namespaces for each command")
    if said := in_child(_mounts):
        raise OSError(said)


def _mounts() -> None:
    _checked(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
    _checked(_libc.mount(b"/usr", b"/usr", None, BIND_AND_BELOW, None), "bind /usr")
    _tell("overlay", _reason(_overlay))


def _overlay() -> None:
    for name in ("lower", "upper", "work"):
        os.mkdir(f"{SCRATCH}/{name}")  # noqa: PTH102  # pathlib costs 5 ms
    options = f"lowerdir={SCRATCH}/lower,upperdir={SCRATCH}/upper,workdir={SCRATCH}/work,userxattr"
    target = f"{SCRATCH}/lower".encode()
    _checked(_libc.mount(b"overlay", target, b"overlay", 0, options.encode()), "overlay")
    try:
        os.mkdir(f"{SCRATCH}/lower/made")  # noqa: PTH102  # pathlib costs 5 ms
    finally:
        _libc.umount2(target, MNT_DETACH)
        os.rmdir(f"{SCRATCH}/work/work")  # noqa: PTH106  # the kernel's own, of mode 000


def _net() -> None:
    """What a command with a network of its own needs: a namespace whose links it may set up."""
    _checked(_libc.unshare(NEWNET), "network namespace")
    any_socket = socket(AF_INET, SOCK_DGRAM)
    up = struct.pack("16sH14x", b"lo", IFF_UP)
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, up)
    flags = struct.unpack_from("16xH", fcntl.ioctl(any_socket, SIOCGIFFLAGS, up))[0]
    if not flags & IFF_UP:
        raise OSError("the loopback interface stays down")


def _landlock() -> None:
    landlock.restrict([("/usr", landlock.RUN)], refuse_tcp=False)
    try:
        os.close(os.open("/etc/passwd", os.O_RDONLY))
    except PermissionError:
        return
    raise OSError("a path outside the list could be read")


def _seccomp(program: bytes) -> None:
    if not program:
        raise OSError("no table of system calls for this machine; use x86_64 or aarch64")
    privileges.install_filter(program)
    if _libc.ptrace(PTRACE_TRACEME, 0, 0, 0) != -1:
        raise OSError("a refused system call went through")


def _checked(result: int, step: str) -> None:
    if result < 0:
        raise OSError(f"{step}: {os.strerror(ctypes.get_errno())}")
