"""What an attempt to get out is, and the program that makes many of them in one run.

An attempt prints ESCAPED when it worked, or leaves harm that the host side sees. It is shown to be
real by succeeding without the sandbox, or says why that cannot be shown. It is harmless there.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.outcome import CommandOutcome
from sandbox.profile import ProfileName
from tests.sandbox.rig import HOST

EVERY: tuple[ProfileName, ...] = ("inspect", "read", "write")
CONFINED: tuple[ProfileName, ...] = ("read", "write")
WRITES: tuple[ProfileName, ...] = ("write", "live")


@dataclass(frozen=True, slots=True)
class Places:
    """One workspace and what lies around it, as an attempt names it: {ws}, {out}, …

    {out} is outside, with `secret`, `victim` and a socket `door`; {pid} is a process of the host
    that runs there; the rest are doors of the host: ports, an abstract socket, keys of IPC objects.
    """

    ws: Path
    out: Path
    home: Path  # outside the sandbox; inside there is a private one
    pid: int
    doors: dict[str, object]

    def fill(self, text: str) -> str:
        names = {
            "python": HOST.interpreter,
            "ws": self.ws,
            "out": self.out,
            "home": self.home,
            "pid": self.pid,
            **self.doors,
        }
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


Harm = Callable[[Places, CommandOutcome | None], object]  # true when the host side was harmed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; what is not `alone` shares a run with others of its class."""

    name: str
    threat: str
    text: str
    language: Literal["sh", "py"]
    profiles: tuple[ProfileName, ...] = EVERY
    only_root: bool = False  # without the sandbox an ordinary user cannot do it either
    why_not_shown: str = ""  # without the sandbox; everything else is shown
    alone: bool = False
    then: str = ""  # a second command of the same session
    then_in: ProfileName = "read"
    harm: Harm | None = None
    needs: str = ""  # a control that this host must be seen to enforce

    def program(self, places: Places) -> tuple[str, str]:
        return self.language, places.fill(self.text)


def sh(name: str, threat: str, test: str, **more: object) -> Attempt:
    """Return an attempt that worked when a shell command succeeds."""
    return Attempt(name, threat, f"if {test}; then echo ESCAPED; fi 2>/dev/null", "sh", **more)


def does(name: str, threat: str, text: str, harm: Harm, **more: object) -> Attempt:
    """Return an attempt that worked when the host side was harmed; live, and alone."""
    options = {"profiles": WRITES, "alone": True, **more}
    return Attempt(name, threat, f"exec 2>/dev/null\n{text}", "sh", harm=harm, **options)


def py(name: str, threat: str, body: str, **more: object) -> Attempt:
    """Return an attempt that worked when the body of a function returns something true."""
    lines = "\n    ".join(body.strip().splitlines())
    return Attempt(name, threat, f"def attempt():\n    {lines}\n", "py", **more)


def call(name: str, *arguments: str, **more: object) -> Attempt:
    """Return an attempt that worked when a system call succeeds."""
    what = more.pop("what", f"call {name}")
    return py(what, "T12", f"return call({name!r}, {', '.join(arguments)}) >= 0", **more)


NUMBERS = {  # x86_64, aarch64
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280),
    "chmod": (90, None), "chroot": (161, 51), "clock_settime": (227, 112),
    "clone": (56, 220), "clone3": (435, 435),
    "execveat": (322, 281), "fanotify_init": (300, 262), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "finit_module": (313, 273), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "io_setup": (206, 0),
    "io_uring_setup": (425, 425), "ioperm": (173, None), "ioprio_set": (251, 30),
    "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219), "listmount": (458, 458),
    "lsm_set_self_attr": (460, 460), "memfd_secret": (447, 447), "mknodat": (259, 33),
    "modify_ldt": (154, None), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_pages": (279, 239), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "openat2": (437, 437), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prlimit64": (302, 261),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "renameat2": (316, 276),
    "request_key": (249, 218), "rt_sigqueueinfo": (129, 138), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "sethostname": (170, 161), "setns": (308, 268),
    "setpriority": (141, 140), "settimeofday": (164, 170), "shmget": (29, 194),
    "statmount": (457, 457), "swapon": (167, 224), "syslog": (103, 116), "tgkill": (234, 131),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vmsplice": (278, 75),
}  # fmt: skip

# One child per attempt, so that none can spoil another; each has a few seconds.
DRIVER = (
    r"""
import ctypes, fcntl, glob, json, mmap, os, platform, resource, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
BUFFER = ctypes.create_string_buffer(4096)
COLUMN = ["x86_64", "aarch64"].index(platform.machine())

def call(name, *arguments):
    number = NUMBERS[name][COLUMN]
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = -1 if number is None else libc.syscall(ctypes.c_long(number), *longs)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result

def child(make):
    "Run something that may not return, elsewhere; its exit code."
    pid = os.fork()
    if pid == 0:
        try:
            make()
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def one(language, text):
    signal.alarm(SECONDS)
    if language == "sh":
        os.execv("/bin/bash", ["bash", "-c", text])
    try:
        exec(text, globals())
        print("ESCAPED" if attempt() else "held", flush=True)
    except Exception as error:
        print("held", type(error).__name__, error, flush=True)
    os._exit(0)

def several(attempts):
    for number, (language, text) in enumerate(attempts):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.dup2(writer, 1)
            os.close(writer)
            one(language, text)
        os.close(writer)
        os.waitpid(pid, 0)
        os.set_blocking(reader, False)
        try:
            said = os.read(reader, 4000)
        except OSError:
            said = b""
        os.close(reader)
        print(json.dumps([number, said.decode("utf-8", "replace")]), flush=True)

SECONDS = 4
"""
    + f"NUMBERS = {NUMBERS!r}\n"
)


def batch(attempts: list[Attempt], places: Places) -> str:
    """Return a Python program that makes every attempt and prints one JSON line for each."""
    programs = [attempt.program(places) for attempt in attempts]
    return f"{DRIVER}several(json.loads({json.dumps(programs)!r}))\n"


def single(attempt: Attempt, places: Places) -> str:
    """Return a Python program that becomes one attempt."""
    return f"{DRIVER}one(*{attempt.program(places)!r})\n"
