"""Interfaces of the kernel that give more power, or a larger surface to break.

Numbers are those of the headers: 0x10000000 is CLONE_NEWUSER, 32 | 4096 is MS_REMOUNT | MS_BIND.
"""

from tests.sandbox.escapes.attempt import WRITES, Attempt, call, does, py, sh

CHANGES = "it would change this machine"
SUPPORT = "it needs what not every kernel has"

NAMESPACES = [
    *(
        py(f"make a namespace: {name}", "T12",
           f'return child(lambda: call("unshare", {flag}) == 0 and os._exit(0)) == 0',
           only_root=name != "user")
        for name, flag in {
            "user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000,
            "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000,
        }.items()
    ),
    py("clone into a user namespace", "T12", """
pid = call("clone", 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
return pid > 0
"""),
    py("clone3 into a user namespace", "T12", """
arguments = (ctypes.c_uint64 * 11)(); arguments[0] = 0x10000000; arguments[4] = 17
pid = call("clone3", ctypes.byref(arguments), 88)
if pid == 0: os._exit(0)
return pid > 0
"""),
    py("enter a namespace of process 1", "T12",
       'return call("setns", os.open("/proc/1/ns/mnt", 0), 0) == 0', only_root=True,
       why_not_shown="a process with threads cannot, and one without is there already"),
    py("enter the namespaces of a process by its descriptor", "T12",
       'return call("setns", os.pidfd_open(1), 0x20000) == 0', why_not_shown=CHANGES),
]  # fmt: skip

MOUNTS = [
    call("mount", 'b"none"', 'b"{ws}"', 'b"tmpfs"', "0", "0", what="mount",
         why_not_shown=CHANGES),
    call("mount", 'b"/proc/self/fd/0"', 'b"{ws}"', "0", "4096", "0", what="bind a descriptor",
         why_not_shown=CHANGES),
    call("mount", "0", 'b"/usr"', "0", "32 | 4096", "0", what="remount writable",
         why_not_shown=CHANGES),
    call("mount", "0", 'b"{ws}"', "0", "32 | 4096", "0", what="remount without nosuid",
         why_not_shown=CHANGES),
    call("mount", 'b"proc"', 'b"/tmp"', 'b"proc"', "0", "0", what="mount another proc",
         why_not_shown=CHANGES),
    call("umount2", 'b"/proc"', "2", why_not_shown=CHANGES),
    call("umount2", 'b"{ws}"', "2", what="uncover the workspace", why_not_shown=CHANGES),
    call("pivot_root", 'b"/tmp"', 'b"/tmp"', why_not_shown=CHANGES),
    py("change the root", "T12",
       'return child(lambda: call("chroot", b"/") == 0 and os._exit(0)) == 0', only_root=True),
    call("fsopen", 'b"tmpfs"', "0", only_root=True),
    call("fspick", "-100", 'b"/"', "0", only_root=True),
    call("open_tree", "-100", 'b"/"', "1", only_root=True),
    call("mount_setattr", "-100", 'b"/"', "0", "bytes(32)", "32", only_root=True),
    call("statmount", 'struct.pack("IIQQQ", 32, 0, 1, 1, 0)', "BUFFER", "4096", "0",
         why_not_shown=SUPPORT),
    call("listmount", 'struct.pack("IIQQQ", 32, 0, 0xFFFFFFFFFFFFFFFF, 0, 0)', "BUFFER", "9", "0",
         why_not_shown=SUPPORT),
    call("swapon", 'b"/dev/null"', "0", why_not_shown=CHANGES),
    call("quotactl", "0x800001 << 8", "0", "0", "BUFFER", why_not_shown=SUPPORT),
]  # fmt: skip

SURFACE = [
    call("io_uring_setup", "4", "BUFFER", why_not_shown="it may be switched off"),
    call("add_key", 'b"user"', 'b"pg"', 'b"x"', "1", "-2"),
    call("request_key", 'b"user"', 'b"pg"', 'b"callout"', "-2", why_not_shown=CHANGES),
    call("keyctl", "0", "-3", "1"),
    call("bpf", "0", 'struct.pack("IIII", 2, 4, 4, 1) + bytes(112)', "128", only_root=True),
    call("bpf", "5", "bytes(128)", "128", what="load a program into the kernel",
         why_not_shown="it has no program to load"),
    call("perf_event_open", 'struct.pack("IIQ", 1, 64, 0) + bytes(48)', "0", "-1", "-1", "0",
         only_root=True, why_not_shown=SUPPORT),
    call("userfaultfd", "1", why_not_shown="it may be switched off"),
    sh("open the device for page faults", "T12", "exec 3< /dev/userfaultfd", only_root=True,
       why_not_shown=SUPPORT),
    call("fanotify_init", "0", "0", only_root=True),
    call("memfd_secret", "0", why_not_shown=SUPPORT),
    call("personality", "0x0400000"),
    call("vmsplice", "1", "struct.pack('QQ', ctypes.addressof(BUFFER), 0)", "1", "0"),
    call("ioperm", "0x80", "1", "0", why_not_shown="this machine may have no such ports"),
    call("lsm_set_self_attr", "100", "BUFFER", "32", "0", why_not_shown=SUPPORT),
    call("syslog", "3", "BUFFER", "9", only_root=True),
    py("load a module", "T12", """
try:
    call("init_module", b"x", 1, b"")
except OSError as error:
    return error.errno not in (1, 38)
""", why_not_shown=CHANGES),
    py("load a module from a file", "T12", """
try:
    call("finit_module", os.open("/dev/null", 0), b"", 0)
except OSError as error:
    return error.errno not in (1, 38)
""", why_not_shown=CHANGES),
    call("kexec_load", "0", "0", "0", "0", why_not_shown=CHANGES),
    call("reboot", "0xfee1dead", "672274793", "0x89ABCDEF", "0", why_not_shown=CHANGES),
    call("acct", "0", only_root=True, why_not_shown=CHANGES),
    call("sethostname", 'b"pwn"', "3", why_not_shown=CHANGES),
    call("clock_settime", "0", "bytes(16)", why_not_shown=CHANGES),
    call("settimeofday", "bytes(16)", "0", why_not_shown=CHANGES),
    call("adjtimex", 'struct.pack("I", 1) + bytes(252)', why_not_shown=CHANGES),
    py("make system calls of 32 bits", "T12", r"""
def old():
    area = mmap.mmap(-1, 4096, prot=7); area.write(bytes.fromhex("b814000000cd80c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid() else 1)
return platform.machine() == "x86_64" and child(old) == 0
""", why_not_shown=SUPPORT),
    py("make system calls of the x32 kind", "T12", """
return libc.syscall(ctypes.c_long(0x40000000 + 39)) == os.getpid()
""", why_not_shown=SUPPORT),
]  # fmt: skip

FAMILIES = [
    *(
        py(f"open a socket: {name}", "T12", f"socket.socket({family}, {kind}); return True",
           why_not_shown=SUPPORT)
        for name, family, kind in (
            ("crypto", 38, 5), ("vsock", 40, 1), ("key", 15, 3), ("TIPC", 30, 5),
            ("bluetooth", 31, 3), ("CAN", 29, 3), ("RDS", 21, 5), ("XDP", 44, 3), ("SMC", 43, 1),
            ("QIPCRTR", 42, 2), ("PPP", 24, 1), ("LLC", 26, 1), ("ISDN", 34, 3),
        )
    ),
    py("talk to the firewall", "T12", "socket.socket(16, 3, 12); return True"),
    py("talk to the kernel's other ends", "T12", """
for protocol in set(range(32)) - {0, 4}:
    try:
        return bool(socket.socket(16, 3, protocol))
    except OSError:
        pass
"""),
    py("make pairs of other families", "T12", """
for family in set(range(2, 46)) - {1}:
    for kind in (1, 2, 3, 5):
        try:
            socket.socketpair(family, kind, 0)
        except OSError as error:
            if error.errno in (95, 19): return True  # the socket was made, but it has no pairs
"""),
    py("open other protocols", "T12", """
for kind, protocol in ((5, 132), (6, 33), (1, 256), (2, 115), (2, 136)):
    try:
        return bool(socket.socket(2, kind, protocol))
    except OSError:
        pass
""", why_not_shown=SUPPORT),
]  # fmt: skip

FILES = [
    sh("set the core pattern", "T12", "exec 3>> /proc/sys/kernel/core_pattern", only_root=True),
    py("change any setting of the kernel", "T12", """
for top, _, names in os.walk("/proc/sys"):
    for name in names:
        try:
            return bool(os.open(os.path.join(top, name), os.O_WRONLY))
        except OSError:
            pass
""", only_root=True),
    sh("pull the emergency brake", "T12", "exec 3> /proc/sysrq-trigger", only_root=True,
       why_not_shown=SUPPORT),
    sh("register a kind of program", "T12", "exec 3> /proc/sys/fs/binfmt_misc/register",
       why_not_shown=SUPPORT),
    py("change a device or a control group", "T12", """
for pattern in ("/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/*/release_agent",
                "/sys/fs/cgroup/**/cgroup.procs", "/sys/kernel/mm/**/enabled",
                "/sys/module/*/parameters/*"):
    for path in glob.glob(pattern, recursive=True):
        try:
            return bool(os.open(path, os.O_WRONLY))
        except OSError:
            pass
""", only_root=True),
    sh("make a control group", "T12",
       "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/pwn && rmdir $d/pwn && break; done",
       only_root=True),
    sh("trace the kernel", "T12",
       "cat /sys/kernel/debug/tracing/trace /sys/kernel/tracing/trace /sys/kernel/debug/sched/debug"
       " | grep -q .", why_not_shown="they are seldom mounted"),
    sh("read the kernel's memory", "T12", "head -c 1 /proc/kcore /dev/mem /dev/kmem | grep -q .",
       why_not_shown=SUPPORT),
    sh("read the kernel's log", "T12", "timeout 0.2 head -c 9 /dev/kmsg | grep -q .",
       only_root=True, why_not_shown="it may be empty"),
    sh("write to the kernel's log", "T12", "echo x > /dev/kmsg", only_root=True),
    py("see a device", "T12", """
known = {"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
         "urandom", "zero", "core", "console"}
return set(os.listdir("/dev")) - known
"""),
    sh("make a device", "T12", "mknod {ws}/null$$ c 1 3 && rm {ws}/null$$", only_root=True),
    py("make a device by leaving a trace of a name", "T12", """
open("{ws}/from", "w").close()
call("renameat2", -100, b"{ws}/from", -100, b"{ws}/to", 4)
device = os.stat("{ws}/from").st_mode & 0o170000 == 0o020000; os.remove("{ws}/from"); return device
""", profiles=WRITES),
]  # fmt: skip


def leaves_set_id(places: object, _: object) -> bool:
    """Return whether a set-id file is in the workspace."""
    return any(path.lstat().st_mode & 0o6000 for path in places.ws.iterdir())


POWERS = [
    sh("hold capabilities", "T12", "grep -q '^Cap[EPBA]..:.*[1-9a-f]' /proc/self/status"),
    sh("gain privileges by exec", "T12", "grep -q 'NoNewPrivs:.0' /proc/self/status"),
    sh("give a file capabilities", "T12",
       "cp /bin/true {ws}/caps && setcap cap_net_raw+ep {ws}/caps", only_root=True,
       why_not_shown="setcap is not everywhere"),
    py("give a file capabilities by its attribute", "T12", """
open("{ws}/cap2", "w").close()
os.setxattr("{ws}/cap2", "security.capability", struct.pack("<5I", 0x2000001, 8192, 0, 0, 0))
os.remove("{ws}/cap2"); return True
""", only_root=True, profiles=WRITES),
    *(
        does(f"make a set-id file: {name}", "T12", f"cp /bin/true {{ws}}/suid; {text}",
             leaves_set_id)
        for name, text in (
            ("chmod u+s", "chmod u+s {ws}/suid"),
            ("chmod g+s", "chmod 2755 {ws}/suid"),
            ("install", "install -m 4755 /bin/true {ws}/suid2"),
            ("tar", "cd {ws}; tar --mode=4755 -cf t suid; rm suid; tar -pxf t"),
            ("mkdir", "mkdir -m 2777 {ws}/suid2"),
            ("open", "python3 -c 'import os; os.open(\"{ws}/s\", os.O_CREAT, 0o4755)'"),
            ("mknod", "python3 -c 'import os; os.mknod(\"{ws}/s\", 0o104755)'"),
            ("a descriptor", "python3 -c 'import os; os.chmod(os.open(\"{ws}/suid\", 0), 0o4755)'"),
        )
    ),
    py("make a set-id file: fchmodat2", "T12", """
open("{ws}/sid2", "w").close(); call("fchmodat2", -100, b"{ws}/sid2", 0o4755, 0)
os.remove("{ws}/sid2"); return True
""", profiles=WRITES, why_not_shown=SUPPORT),
    py("run a set-id program from memory", "T12", """
fd = os.memfd_create("x"); os.fchmod(fd, 0o4755); return True
"""),
    py("become another user", "T12", """
return child(lambda: os.setresuid(1, 1, 1) is None and os._exit(0)) == 0
""", only_root=True),
    py("become another group", "T12", """
return child(lambda: os.setgroups([0, 4, 6]) is None and os._exit(0)) == 0
""", only_root=True),
]  # fmt: skip

ATTEMPTS: list[Attempt] = [*NAMESPACES, *MOUNTS, *SURFACE, *FAMILIES, *FILES, *POWERS]
