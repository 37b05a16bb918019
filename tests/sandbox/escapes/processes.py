"""What could be done to other processes: the host's, the stage's, and by ones that stay behind."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.sandbox.escapes.attempt import CONFINED, Attempt, Places, does, py, sh

STAGE = "it is about the stage inside"


def ended(places: Places, _: object) -> bool:
    """Return whether the process of the host is gone."""
    status = Path(f"/proc/{places.pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def stays(places: Places, outcome: object) -> bool:
    """Return whether a process of the attempt is still there; it is ended."""
    if outcome is None:
        time.sleep(0.1)  # it may not have got that far
    found = False
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[:2] == [b"sleep", b"31.%d" % places.pid]:
                os.kill(int(entry.name), signal.SIGKILL)
                found = True
    return found


HOST = [
    sh("signal a host process", "T12", "kill -0 {pid}"),
    does("end a host process", "T12", "kill -9 {pid}; sleep 0.1", ended,
         profiles=("inspect", "read", "write")),
    py("signal a host process by its descriptor", "T12",
       'call("pidfd_send_signal", os.pidfd_open({pid}), 0, 0, 0); return True'),
    py("queue a signal to a host process", "T12",
       'return call("rt_sigqueueinfo", {pid}, 0, struct.pack("iii", 0, 0, -1) + bytes(116)) == 0'),
    py("signal a thread of the host", "T12", 'return call("tgkill", {pid}, {pid}, 0) == 0'),
    py("have a host process signalled about input", "T12", """
a, b = socket.socketpair()
fcntl.fcntl(a, fcntl.F_SETOWN, {pid}); fcntl.fcntl(a, 10, signal.SIGURG)
fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC); b.send(b"x"); return False
""", why_not_shown="a signal that is ignored leaves no trace; the host process would be gone"),
    sh("see a host process", "T12", "test -d /proc/{pid}/fd", profiles=CONFINED),
    sh("read a host process's files", "T12", "grep -q canary /proc/{pid}/cwd/secret"),
    sh("read a host process's memory map", "T12", "grep -q heap /proc/{pid}/maps"),
    sh("see what a host process has open", "T12", "readlink /proc/{pid}/fd/0"),
    py("open a host process's memory", "T12", 'os.open("/proc/{pid}/mem", os.O_RDWR); return True'),
    py("trace a host process", "T12", """
return call("ptrace", 0x4206, {pid}, 0, 0) == 0
"""),
    py("read a host process's memory", "T12", """
line = next(l for l in open("/proc/{pid}/maps") if "r" in l.split()[1])
there = struct.pack("QQ", int(line.split("-")[0], 16), 8)
here = struct.pack("QQ", ctypes.addressof(BUFFER), 8)
return call("process_vm_readv", {pid}, here, 1, there, 1, 0) == 8
"""),
    py("take a host process's descriptor", "T12",
       'return call("pidfd_getfd", os.pidfd_open({pid}), 1, 0) >= 0'),
    py("compare with a host process", "T12",
       'return call("kcmp", os.getpid(), {pid}, 1, 0, 0) >= 0'),
    py("move a host process's pages", "T12",
       'return call("move_pages", {pid}, 0, 0, 0, 0, 0) >= 0'),
    py("limit a host process", "T14", """
return resource.prlimit({pid}, resource.RLIMIT_NOFILE, (64, 64)) is not None
"""),
    py("slow a host process down", "T14",
       "os.setpriority(os.PRIO_PROCESS, {pid}, 19); return True"),
    py("slow all of the user down", "T14", """
os.setpriority(os.PRIO_USER, os.getuid(), 19)
return os.getpriority(os.PRIO_PROCESS, {pid}) == 19
""", why_not_shown="it would slow the whole machine"),
    py("bind a host process to one processor", "T14",
       "os.sched_setaffinity({pid}, [min(os.sched_getaffinity(0))]); return True"),
    py("make a host process wait for all others", "T14",
       "os.sched_setscheduler({pid}, os.SCHED_IDLE, os.sched_param(0)); return True"),
    py("give a host process no disk", "T14", 'return call("ioprio_set", 1, {pid}, 3 << 13) == 0'),
    sh("have a host process killed for memory first", "T14",
       "echo 1000 > /proc/{pid}/oom_score_adj"),
]  # fmt: skip

STAGES = [
    py("end the stage that watches", "T14", """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
    for pid in {1, os.getppid()} - {os.getpid()}:
        try:
            os.kill(pid, number); return True
        except OSError:
            pass
""", why_not_shown=STAGE, alone=True, profiles=CONFINED),
    py("write to the memory of the stage", "T12",
       'os.open("/proc/1/mem", os.O_RDWR); return True', why_not_shown=STAGE),
    py("take the stage's descriptors", "T12", """
for fd in range(3, 20):
    try:
        return call("pidfd_getfd", os.pidfd_open(1), fd, 0) >= 0
    except OSError:
        pass
""", why_not_shown=STAGE, profiles=CONFINED),
    py("trace the stage", "T12", 'return call("ptrace", 0x4206, 1, 0, 0) == 0',
       why_not_shown=STAGE, profiles=CONFINED),
    py("exchange what the stage runs", "T12", """
for path in glob.glob("/run/permitgate/**/*.py", recursive=True):
    try:
        os.rename(path, path + "x"); return True
    except OSError:
        pass
    if os.access(path, os.W_OK): return True
""", why_not_shown=STAGE),
    py("enter the namespaces of others", "T12", """
for path in glob.glob("/proc/[0-9]*/ns/*"):
    try:
        if os.readlink(path) != os.readlink("/proc/self/ns/" + os.path.basename(path)):
            return call("setns", os.open(path, 0), 0) == 0
    except OSError:
        pass
""", why_not_shown="every process here may be in the same ones"),
]  # fmt: skip

SLEEP = "exec sleep 31.{pid} > /dev/null < /dev/null"
LEFT = [
    does("leave a daemon", "T14", f"(setsid bash -c '{SLEEP}' &)", stays),
    does("leave a child of a child", "T14", f"( ( ( {SLEEP} ) & ) & ) &", stays),
    does("leave a child that ignores signals", "T14",
         f"(trap '' HUP TERM INT; {SLEEP}) & sleep 0.1", stays),
    does("leave a child that holds the output open", "T14", "sleep 31.{pid} &", stays),
    does("leave a stopped child", "T14",
         f"({SLEEP}) & sleep 0.05; kill -STOP $!; disown -a", stays),
]  # fmt: skip

ATTEMPTS: list[Attempt] = [*HOST, *STAGES, *LEFT]
ATTEMPTS += [
    does(attempt.name + " of the host's view", attempt.threat, attempt.text, stays,
         profiles=("inspect",))
    for attempt in LEFT
]  # fmt: skip
