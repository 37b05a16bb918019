"""Taking more than a command may have: memory, processes, disk, output, priority.

The limits are small here (test_escapes.py), so that what breaks them is harmless without.
"""

from tests.sandbox.escapes.attempt import WRITES, Attempt, does, py, sh

MACHINE = "limits differ between machines"


def hog(name: str, body: str, **more: object) -> Attempt:
    """Return an attempt to hold 300 MB for longer than memory is sampled."""
    text = f"{body.strip()}\ntime.sleep(0.4); return True"
    return py(f"take memory: {name}", "T14", text, alone=True, profiles=("write",), **more)


MEMORY = [
    hog("heap", 'kept = [bytearray(b"x" * (1 << 20)) for _ in range(300)]'),
    hog("many processes", """
for _ in range(3):
    if os.fork() == 0:
        kept = bytearray(b"x" * (100 << 20)); time.sleep(0.5); os._exit(0)
"""),
    hog("shared",
        "area = mmap.mmap(-1, 300 << 20)\nfor _ in range(300): area.write(bytes(1 << 20))"),
    hog("files in memory", """
files = [os.memfd_create("x") for _ in range(10)]
for fd in files:
    for _ in range(30): os.write(fd, bytes(1 << 20))
"""),
    hog("files in memory, handed on", """
a, b = socket.socketpair()
for _ in range(10):
    fd = os.memfd_create("x")
    for _ in range(30): os.write(fd, bytes(1 << 20))
    socket.send_fds(a, [b"x"], [fd]); os.close(fd)
""", needs="memory"),
    hog("segments", """
libc.shmat.restype = ctypes.c_void_p
for _ in range(10):
    segment = libc.shmget(0, 30 << 20, 0o1600)
    place = libc.shmat(segment, None, 0); libc.shmctl(segment, 0, None)
    ctypes.memset(ctypes.c_void_p(place), 1, 30 << 20)
"""),
    hog("segments nobody maps", """
libc.shmat.restype = ctypes.c_void_p; kept = []
try:
    for _ in range(10):
        segment = libc.shmget(0, 30 << 20, 0o1600); kept.append(segment)
        if segment < 0: return False
        place = libc.shmat(segment, None, 0)
        ctypes.memset(ctypes.c_void_p(place), 1, 30 << 20); libc.shmdt(ctypes.c_void_p(place))
    time.sleep(0.4)
finally:
    for segment in kept: libc.shmctl(segment, 0, None)
""", needs="memory"),
]  # fmt: skip

COUNTS = [
    py("start processes without end", "T14", """
for _ in range(200):
    if os.fork() == 0:
        time.sleep(1); os._exit(0)
time.sleep(0 if os.getuid() else 0.4); return True  # root is held by what counts
""", alone=True, profiles=("inspect", "write")),
    py("start threads without end", "T14", """
import threading
threading.stack_size(65536)
for _ in range(200):
    try:
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    except RuntimeError:
        return False
time.sleep(0 if os.getuid() else 0.4); return True  # root is held by what counts
""", alone=True, profiles=("inspect", "write")),
    sh("open files without end", "T14", "ulimit -n 100000 && test $(ulimit -n) -ge 100000",
       only_root=True, why_not_shown=MACHINE),
    sh("lift a limit", "T14", "ulimit -f unlimited && ulimit -d unlimited"),
    py("lift a limit of its own", "T14", """
return resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16)) is None
""", why_not_shown=MACHINE),
    py("queue signals without end", "T14", """
return resource.getrlimit(resource.RLIMIT_SIGPENDING)[1] > 10_000
""", why_not_shown=MACHINE),
    py("take the host's requests for input", "T14", """
return call("io_setup", 60_000, ctypes.byref(ctypes.c_ulong())) == 0
""", why_not_shown="what is left of them differs"),
    py("lock memory", "T14", """
area = mmap.mmap(-1, 8 << 20)
return libc.mlock(ctypes.byref(ctypes.c_char.from_buffer(area)), 8 << 20) == 0
""", only_root=True),
    sh("leave a core", "T14", "test \"$(ulimit -Hc)\" != 0", why_not_shown=MACHINE),
]  # fmt: skip

SPACE = [
    sh("fill /tmp", "T14", "head -c 20000000 /dev/zero > $TMPDIR/full$$"),
    sh("fill the home", "T14", "head -c 20000000 /dev/zero > $HOME/full$$"),
    sh("fill /run", "T14", "head -c 20000000 /dev/zero > /run/full$$ && rm /run/full$$",
       only_root=True),
    sh("fill shared memory", "T14", "head -c 100000000 /dev/zero > /dev/shm/full$$",
       why_not_shown="another test might need it"),
    sh("write a huge file", "T14", "truncate -s 3G {ws}/huge", profiles=WRITES),
    py("allocate a huge file", "T14", """
os.posix_fallocate(os.open("{ws}/huge2", os.O_CREAT | os.O_WRONLY), 0, 200 << 20); return True
""", profiles=WRITES),
    does("answer without end", "T14", "timeout 0.3 cat /dev/zero",
         lambda _, outcome: outcome and len(outcome.stdout.head + outcome.stdout.tail) > 1 << 20,
         profiles=("inspect", "write"), why_not_shown="it is about what is kept of the answer"),
]  # fmt: skip

PRIORITY = [
    py("raise its priority", "T14", "os.nice(-5); return True", only_root=True),
    py("run in real time", "T14",
       "return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) is None", only_root=True),
    py("run with a deadline", "T14", """
plan = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7)
return call("sched_setattr", 0, plan, 0) == 0
""", only_root=True, why_not_shown="a kernel may not have it"),
    py("read the disk in real time", "T14", 'return call("ioprio_set", 1, 0, 1 << 13) == 0',
       only_root=True),
    sh("be killed for memory last", "T14", "echo -500 > /proc/self/oom_score_adj", only_root=True,
       why_not_shown="root of a container cannot"),
]  # fmt: skip

ATTEMPTS: list[Attempt] = [*MEMORY, *COUNTS, *SPACE, *PRIORITY]
