"""What a command was handed open, what it could reach through that, and the report of its end."""

from tests.sandbox.escapes.attempt import Attempt, does, py, sh

TWO = ("inspect", "write")
INSIDE = "it is about what the sandbox hands in"
FORGE = r"""
import glob, os
for path in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if "/self/" not in path and os.path.realpath(path).startswith(("/proc", "/memfd", "pipe")):
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            if os.fstat(fd).st_ino not in {os.fstat(1).st_ino, os.fstat(2).st_ino}:
                os.write(fd, b"X0 0 0 0")
    except OSError:
        pass
for fd in range(3, 400):
    try:
        os.write(fd, b"X0 0 0 0")
    except OSError:
        pass
os._exit(7)
"""


def forged(_: object, outcome: object) -> bool:
    """Return whether the end that was reported is not the real one."""
    return outcome is not None and outcome.exit_code != 7


ATTEMPTS: list[Attempt] = [
    sh("use an inherited descriptor", "T13",
       "ls -l /proc/self/fd | grep -qv -e total -e pipe: -e /dev/null -e /fd$",
       why_not_shown=INSIDE, alone=True, profiles=TWO),
    sh("read from an inherited descriptor", "T13",
       "for fd in {3..250}; do grep -qs canary /proc/self/fd/$fd && break; done",
       alone=True, profiles=TWO),
    py("reopen an inherited descriptor", "T13", """
links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
return any(os.path.realpath(link).startswith("{out}") for link in links)
""", alone=True, profiles=TWO),
    py("find a directory of the host open", "T13", """
for fd in range(3, 400):
    try:
        return bool(os.listdir(fd))
    except OSError:
        pass
""", alone=True, profiles=TWO),
    py("read what others have open", "T13", """
for path in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if os.stat(path).st_mode & 0o170000 == 0o100000 and b"canary" in open(path, "rb").read(999):
            return True
    except OSError:
        pass
""", alone=True, profiles=TWO),
    sh("write to its own input", "T13", "echo x > /proc/self/fd/0 && test -s /proc/self/fd/0",
       why_not_shown=INSIDE, alone=True, profiles=TWO),
    does("forge how it ended", "T05", f"exec {{python}} -c '{FORGE}'", forged, profiles=TWO,
         why_not_shown=INSIDE),
]  # fmt: skip
