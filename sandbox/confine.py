"""Inside the sandbox: what one command is held to, and the last steps before it is executed.

May touch: the calling process. Standard library only, and few modules: every command pays for it.
INVARIANT: "R" is written after the last restriction and just before exec, so a set-up that fails
anywhere is told apart from a command that fails.

Report: "R" the command is about to run, "E<errno>" exec failed, "F<text>" set-up failed,
"X<wait status> <user s> <system s> <peak KiB>" it ended.
"""

import errno
import os
import resource
import signal

from sandbox import privileges

HIGHEST_FD = 1 << 16


class Spec:
    """What to show, what to hold the command to and what to run; read from a descriptor.

    Each process takes only the lists it needs: the watcher what to mount, the command the rest.
    """

    def __init__(self, fd: int) -> None:
        tokens = os.pread(fd, os.fstat(fd).st_size, 0).split(b"\0")
        self.cwd = tokens[0]
        self.refuse_tcp, self.is_calm = tokens[1] == b"1", tokens[2] == b"1"
        self._lists: list[list[bytes]] = []
        at = 3
        while at < len(tokens):
            after = at + 1 + int(tokens[at])
            self._lists.append(tokens[at + 1 : after])
            at = after

    @property
    def mounts(self) -> list[list[bytes]]:
        """Return (kind, path, source) for each mount, parents first."""
        texts = self._lists[0]
        return [texts[at : at + 3] for at in range(0, len(texts), 3)]

    @property
    def identities(self) -> list[bytes]:
        """Return "device inode path" of each directory that must still be what it was."""
        return self._lists[1]

    @property
    def argv(self) -> list[bytes]:
        """Return the argument vector to execute."""
        return self._lists[2]

    @property
    def env(self) -> dict[bytes, bytes]:
        """Return the whole environment of the command."""
        return dict(item.split(b"=", 1) for item in self._lists[3])

    @property
    def rlimits(self) -> list[list[bytes]]:
        """Return (RLIMIT number, value), soft and hard alike."""
        return [item.split(b" ") for item in self._lists[4]]

    @property
    def rules(self) -> list[tuple[str, int]]:
        """Return (path, rights) for Landlock."""
        items = (item.split(b" ", 1) for item in self._lists[5])
        return [(os.fsdecode(path), int(rights)) for rights, path in items]

    @property
    def keeps(self) -> frozenset[int]:
        """Return the capabilities that an exec by root may still gain."""
        return frozenset(map(int, self._lists[7]))

    @property
    def layers(self) -> list[bytes]:
        """Return the upper and the work directory of the workspace's overlay, if there is one."""
        return self._lists[8]

    @property
    def ports(self) -> list[int]:
        """Return the ports where the command's connections are heard."""
        return [int(port) for port in self._lists[9]]

    @property
    def settings(self) -> list[bytes]:
        """Return "name=value" of what is set below /proc/sys in each seat of a cell."""
        return self._lists[10]

    @property
    def filter(self) -> bytes:
        """Return the seccomp program."""
        return bytes.fromhex(self._lists[6][0].decode("ascii"))


def become(spec: Spec, report: int, ruleset: int = -1) -> None:
    """Take the last restrictions and execute the command; on any failure say which, and exit."""
    try:
        _confine(spec, report, ruleset)
    except Exception as error:  # noqa: BLE001  # whatever failed, the command must not run
        os.write(report, f"F{error}".encode())
        os._exit(126)
    os.write(report, b"R")
    try:
        _execute(spec.argv, spec.env)
    except OSError as error:
        os.write(report, f"E{error.errno}".encode("ascii"))
    os._exit(126)


def rehearse() -> None:
    """Go through the motions of `become` once, as mounting.py does: what is is asked for again."""
    os.closerange(HIGHEST_FD, HIGHEST_FD + 1)
    os.chdir(b".")
    _limit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[0])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it


def _execute(argv: list[bytes], env: dict[bytes, bytes]) -> None:
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606  # a vector, no shell
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # The filter for looking leaves execveat alone, so the program can start no other.
        os.execve(os.open(argv[0], os.O_RDONLY | os.O_CLOEXEC), argv, env)  # noqa: S606, TID251  # as above


def _confine(spec: Spec, report: int, ruleset: int) -> None:
    os.set_inheritable(report, False)
    low, high = sorted((report, max(ruleset, 2)))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, HIGHEST_FD)
    os.chdir(spec.cwd)
    _hold(spec, ruleset)
    if spec.refuse_tcp:  # it shares the host's namespaces, so nobody has dropped them yet
        privileges.drop_bounding(spec.keeps)
        if not spec.keeps:
            privileges.drop_capabilities()
    for number, value in spec.rlimits:
        _limit(int(number), int(value))
    # Python ignores these two; a command expects what the kernel does by itself.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    privileges.install_filter(spec.filter)


def _hold(spec: Spec, ruleset: int) -> None:
    """Enforce the Landlock list: the one made before, or a new one."""
    rules = spec.rules
    if not rules and ruleset < 0:
        return
    from sandbox import landlock  # noqa: PLC0415  # a stage that only waits needs none of it

    if ruleset < 0:
        ruleset = landlock.create(refuse_tcp=spec.refuse_tcp)
        landlock.allow(ruleset, rules)
    landlock.enforce(ruleset)


def _limit(number: int, value: int) -> None:
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(number, (value, value))


def reap(child: int) -> bytes:
    """Wait for the command, reaping what it orphans, and return the report of its end."""
    while True:
        pid, status, used = os.wait4(-1, 0)
        if pid == child:
            break
    report = f"X{status} {used.ru_utime:.3f} {used.ru_stime:.3f} {used.ru_maxrss}"
    return report.encode("ascii")
