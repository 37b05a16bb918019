"""Typing into, listening on or taking a terminal of the host."""

from tests.sandbox.escapes.attempt import Attempt, py, sh

NONE = "the tests have no terminal"
OWN = "most kernels refuse it to everyone"


def own(name: str, request: int, argument: str) -> Attempt:
    return py(name, "T13", f"""
import pty, termios
leader, follower = pty.openpty(); os.setsid(); fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
fcntl.ioctl(follower, {request}, {argument}); return True
""", why_not_shown=OWN)  # fmt: skip


ATTEMPTS: list[Attempt] = [
    py("open the controlling terminal", "T13", 'os.open("/dev/tty", os.O_RDWR); return True',
       why_not_shown=NONE),
    own("type into a terminal", 0x5412, 'b"x"'),
    own("paste into a terminal", 0x541C, 'b"\\3"'),
    own("exchange a terminal's discipline", 0x5423, "struct.pack('i', 2)"),
    sh("write to a terminal of the host", "T13", "echo pwn > {terminal}"),
    sh("find the terminals of the host", "T13", "ls /dev/pts/[0-9]*"),
    py("take a terminal of the host", "T13", """
os.setsid(); return fcntl.ioctl(os.open("{terminal}", os.O_RDWR), 0x540E, 0) == 0
"""),
    sh("write to a console", "T13", "exec 3> /dev/console ||"
       " exec 3> /dev/tty0 || exec 3> /dev/ttyS0",
       only_root=True, why_not_shown="a host may have none"),
    sh("read a screen", "T13", "head -c 1 /dev/vcs /dev/vcsa1 /dev/fb0 | grep -q .",
       why_not_shown="a host may have none"),
]  # fmt: skip
