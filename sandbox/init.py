"""The stage inside the sandbox: limits, Landlock, seccomp, then the command; or nothing runs.

Started by bubblewrap as `python -I -S init.py SPEC_FD STATUS_FD`, usually as process 1 of the new
pid namespace. Standard library only, and few modules: it is paid for by every command.
INVARIANT: "R" is written after the last restriction and just before exec, so a set-up that fails
anywhere is told apart from a command that fails.

Status: "R" the command is about to run, "E<errno>" exec failed, "F<text>" set-up failed,
"X<wait status> <user s> <system s> <peak KiB>" it ended.
"""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterator

SPEC_BYTES = 64 << 20
HIGHEST_FD = 1 << 16
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 4, 22, 38, 2


class Spec:
    """What to hold the command to and what to run; read from a descriptor, never argv."""

    def __init__(self, data: bytes) -> None:
        tokens = iter(data.split(b"\0"))
        self.cwd = next(tokens)
        self.argv = _counted(tokens)
        self.env = dict(item.split(b"=", 1) for item in _counted(tokens))
        self.rlimits = [item.split(b" ") for item in _counted(tokens)]
        self.landlock = [item.split(b" ", 1) for item in _counted(tokens)]
        self.refuse_tcp = next(tokens) == b"1"
        self.seccomp = bytes.fromhex(next(tokens).decode("ascii"))


def _counted(tokens: Iterator[bytes]) -> list[bytes]:
    return [next(tokens) for _ in range(int(next(tokens)))]


def main() -> int:
    """Run the command of the specification and report how it ended."""
    spec_fd, status_fd = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(spec_fd, "rb") as stream:
        spec = Spec(stream.read(SPEC_BYTES))
    # Undumpable, so the command cannot reach the status descriptor through /proc and forge its end.
    if ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        return 126
    child = os.fork()  # noqa: TID251  # this stage exists to become the permitted command
    if child == 0:
        _become(spec, status_fd)
    while True:
        pid, status, used = os.wait4(-1, 0)
        if pid == child:
            break
    report = f"X{status} {used.ru_utime:.3f} {used.ru_stime:.3f} {used.ru_maxrss}"
    os.write(status_fd, report.encode("ascii"))
    return 0


def _become(spec: Spec, status_fd: int) -> None:
    try:
        _confine(spec, status_fd)
    except Exception as error:  # noqa: BLE001  # whatever failed, the command must not run
        os.write(status_fd, f"F{error}".encode())
        os._exit(126)
    os.write(status_fd, b"R")
    try:
        os.execvpe(spec.argv[0], spec.argv, spec.env)  # noqa: S606  # a vector, no shell
    except OSError as error:
        os.write(status_fd, f"E{error.errno}".encode("ascii"))
    os._exit(126)


def _confine(spec: Spec, status_fd: int) -> None:
    # Imported here: the parent, which only waits, needs none of it.
    sys.path.insert(0, __file__.rsplit("/", 2)[0])
    from sandbox import landlock  # noqa: PLC0415

    os.set_inheritable(status_fd, False)
    os.closerange(3, status_fd)
    os.closerange(status_fd + 1, HIGHEST_FD)
    os.chdir(spec.cwd)
    if spec.landlock:
        rules = [(os.fsdecode(path), int(rights)) for rights, path in spec.landlock]
        landlock.restrict(rules, refuse_tcp=spec.refuse_tcp)
    for number, value in spec.rlimits:
        _limit(int(number), int(value))
    if spec.seccomp:
        install_filter(spec.seccomp)


def _limit(number: int, value: int) -> None:
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(number, (value, value))


def install_filter(program: bytes) -> None:
    """Hold this process to a seccomp program for ever.

    Raises:
        OSError: the kernel did not take it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp was refused")


if __name__ == "__main__":
    sys.exit(main())
