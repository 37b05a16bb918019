"""Ways out of a sandbox, by class. Each prints ESCAPED when it worked and is harmless when it does.

{ws} is the workspace, {out} a directory outside it with `secret` and `victim`, {tcp} and {udp} are
ports of the host's loopback, {sock} a socket in {out}, {pid} a process of the host.
"""

from dataclasses import dataclass
from typing import Literal

from sandbox.profile import ProfileName

Language = Literal["sh", "py"]


@dataclass(frozen=True)
class Attempt:
    name: str
    threat: str
    text: str
    language: Language = "sh"
    works_outside: bool = True  # proven by running it without the sandbox
    as_root_only: bool = False  # outside, an ordinary user cannot do it either
    profiles: tuple[ProfileName, ...] = ("live",)


def sh(name: str, threat: str, test: str, **more: object) -> Attempt:
    return Attempt(name, threat, f"if {test}; then echo ESCAPED; fi 2>/dev/null", **more)


def py(name: str, threat: str, body: str, **more: object) -> Attempt:
    lines = "\n    ".join(body.strip().splitlines())
    text = (
        "import os, socket, ctypes, struct, sys, mmap, signal\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"def attempt():\n    {lines}\n"
        "try:\n    print('ESCAPED' if attempt() else 'held')\n"
        "except (OSError, ImportError) as error:\n    print('held', error)\n"
    )
    return Attempt(name, threat, text, "py", **more)


# `live` allows whatever `read` does, so what it holds, `read` holds: test_bwrap.py compares them.
BOTH = ("inspect", "live")

FILES = [
    sh("read a file outside", "T10", "grep -q canary {out}/secret", profiles=BOTH),
    sh("read outside through a link", "T10",
       "ln -s {out}/secret /tmp/lnk$$ && grep -q canary /tmp/lnk$$", profiles=BOTH),
    sh("read outside through /proc/self/root", "T10",
       "grep -q canary /proc/self/root{out}/secret", profiles=BOTH),
    sh("read outside through process 1", "T10", "grep -q canary /proc/1/root{out}/secret",
       works_outside=False, profiles=BOTH),
    sh("climb out with ..", "T10", "cd {ws} && grep -q canary ../out/secret", profiles=BOTH),
    sh("list outside", "T10", "ls {out} | grep -q secret", profiles=BOTH),
    sh("read the password hashes", "T10", "head -c 1 /etc/shadow | grep -q .",
       as_root_only=True, profiles=BOTH),
    sh("append outside", "T09", "echo pwn >> {out}/victim", profiles=BOTH),
    sh("append outside through a link", "T09",
       "ln -sfn {out}/victim /tmp/l$$ && echo pwn >> /tmp/l$$", profiles=BOTH),
    sh("delete outside", "T09", "rm {out}/victim", profiles=BOTH),
    sh("change a mode outside", "T09", "chmod 777 {out}/victim", profiles=BOTH),
    sh("change times outside", "T09", "touch -d 2001-01-01 {out}/victim && test -s {out}/victim",
       profiles=BOTH),
    sh("hard-link out into the workspace", "T09", "ln {out}/victim {ws}/hard", profiles=BOTH),
    sh("rename into the outside", "T09", "touch {ws}/m && mv {ws}/m {out}/m"),
    py("open by handle", "T10", """
handle = ctypes.create_string_buffer(136); struct.pack_into("I", handle, 0, 128)
mount = ctypes.c_int()
return libc.name_to_handle_at(-100, b"{ws}", handle, ctypes.byref(mount), 0) == 0
"""),
    py("swap a directory for a link while it is written", "T09", """
os.makedirs("{ws}/d", exist_ok=True); os.symlink("{out}", "{ws}/l")
for _ in range(300):
    try:
        os.rename("{ws}/l", "{ws}/x"); os.rename("{ws}/d", "{ws}/l")
        os.rename("{ws}/x", "{ws}/d")
        open("{ws}/d/victim", "a").write("pwn")
    except OSError:
        pass
return "pwn" in open("{out}/victim").read()
"""),
]  # fmt: skip

ENVIRONMENT = [
    sh("read the server's environment", "T13", 'test -n "$CANARY_TOKEN"', profiles=BOTH),
    sh("read a host process's environment", "T13", "grep -qa CANARY_TOKEN /proc/{pid}/environ",
       profiles=BOTH),
    sh("use the server's agent socket", "T13", 'test -n "$SSH_AUTH_SOCK"', profiles=BOTH),
    sh("steer a shell by the environment", "T13", 'test -n "$BASH_ENV"', profiles=BOTH),
]  # fmt: skip

NETWORK = [
    py("connect to the host's loopback", "T11",
       'return not socket.create_connection(("127.0.0.1", {tcp}), 1).close()', profiles=BOTH),
    py("connect by multipath TCP", "T11", """
s = socket.socket(2, 1, 262); s.settimeout(1); s.connect(("127.0.0.1", {tcp})); return True
""", profiles=BOTH),
    py("send a datagram", "T11", """
s = socket.socket(2, 2); s.settimeout(0.3); s.sendto(b"ping", ("127.0.0.1", {udp}))
return s.recv(9) == b"pong"
""", profiles=BOTH),
    py("resolve through a resolver on the host", "T11", """
s = socket.socket(2, 2); s.settimeout(0.3); s.connect(("127.0.0.1", {udp})); s.send(b"q")
return len(s.recv(99)) > 0
""", profiles=BOTH),
    py("reach an abstract socket of the host", "T13", """
s = socket.socket(1); s.connect("\\0{abstract}"); return True
""", profiles=BOTH),
    py("send raw packets", "T11", "socket.socket(2, 3, 1); return True", as_root_only=True,
       profiles=BOTH),
    py("capture packets", "T11", "socket.socket(17, 3, 768); return True", as_root_only=True,
       profiles=BOTH),
]  # fmt: skip

PROCESSES = [
    sh("signal a host process", "T12", "kill -0 {pid}", profiles=BOTH),
    sh("see a host process", "T12", "test -d /proc/{pid}/fd"),
    sh("read a host process's files", "T12", "grep -q canary /proc/{pid}/cwd/secret",
       profiles=BOTH),
    py("trace a host process", "T12", "return libc.ptrace(16, {pid}, 0, 0) == 0", profiles=BOTH),
    py("read a host process's memory", "T12", """
buffer = ctypes.create_string_buffer(8)
line = next(l for l in open("/proc/{pid}/maps") if "r" in l.split()[1])
start = int(line.split("-")[0], 16)
local = struct.pack("QQ", ctypes.addressof(buffer), 8); remote = struct.pack("QQ", start, 8)
return libc.process_vm_readv({pid}, local, 1, remote, 1, 0) == 8
""", profiles=BOTH),
    py("end the stage that watches", "T14",
       "os.kill(os.getppid(), 9); return False", works_outside=False),
    py("share memory with the host", "T13", "return libc.shmget({shm}, 4096, 0) >= 0",
       profiles=BOTH),
]  # fmt: skip

KERNEL = [
    py("make a user namespace", "T12", "return libc.unshare(0x10000000) == 0", profiles=BOTH),
    py("clone into a user namespace", "T12", """
pid = libc.syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
return pid > 0
""", profiles=BOTH),
    py("clone3 into a user namespace", "T12", """
arguments = (ctypes.c_uint64 * 11)(); arguments[0] = 0x10000000; arguments[4] = 17
pid = libc.syscall(435, ctypes.byref(arguments), 88)
if pid == 0: os._exit(0)
return pid > 0
""", profiles=BOTH),
    py("mount", "T12", 'return libc.mount(b"none", b"{ws}", b"tmpfs", 0, None) == 0',
       works_outside=False, profiles=BOTH),
    py("remount writable", "T12", 'return libc.mount(None, b"/usr", None, 32 | 4096, None) == 0',
       works_outside=False, profiles=BOTH),
    py("open a file system", "T12", 'return libc.syscall(430, b"tmpfs", 0) >= 0',
       as_root_only=True, profiles=BOTH),
    py("change the root", "T12", 'return libc.chroot(b"/") == 0', as_root_only=True,
       profiles=BOTH),
    py("set up io_uring", "T12", """
return libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0
""", works_outside=False, profiles=BOTH),
    py("add a kernel key", "T12",
       'return libc.syscall({add_key}, b"user", b"pg", b"x", 1, -4) >= 0',
       works_outside=False, profiles=BOTH),
    py("open a crypto socket", "T12", "socket.socket(38, 5); return True", works_outside=False,
       profiles=BOTH),
    py("open a vsock", "T12", "socket.socket(40, 1); return True", works_outside=False,
       profiles=BOTH),
    py("talk to the firewall", "T12", "socket.socket(16, 3, 12); return True", profiles=BOTH),
    py("change the personality", "T12", "return libc.personality(0x0040000) != -1",
       profiles=BOTH),
    py("set the core pattern", "T12", 'os.open("/proc/sys/kernel/core_pattern", 1); return True',
       as_root_only=True, profiles=BOTH),
    py("load a module", "T12", """
libc.syscall({init_module}, b"x", 1, b""); return ctypes.get_errno() not in (1, 38)
""", works_outside=False, profiles=BOTH),
    sh("gain capabilities", "T12", "! grep -q '^CapEff:.0*$' /proc/self/status",
       as_root_only=True, profiles=BOTH),
    sh("gain privileges by exec", "T12", "grep -q 'NoNewPrivs:.0' /proc/self/status",
       profiles=BOTH),
    sh("make a set-id file", "T12", "cp /bin/true {ws}/suid && chmod 4755 {ws}/suid"),
    py("create a set-id file", "T12", """
os.close(os.open("{ws}/sg", os.O_CREAT | os.O_WRONLY, 0o4755))
return bool(os.stat("{ws}/sg").st_mode & 0o4000)
"""),
    sh("write to the kernel's log", "T12", "echo x > /dev/kmsg", as_root_only=True,
       profiles=BOTH),
    py("read a disk", "T12", """
import glob
return bool(os.read(os.open(glob.glob("/dev/[vsn][dv][am]*")[0], 0), 16))
""", works_outside=False, profiles=BOTH),
    sh("make a device", "T12", "mknod {ws}/null c 1 3", as_root_only=True),
    py("raise its priority", "T14", "os.nice(-5); return True", as_root_only=True, profiles=BOTH),
]  # fmt: skip

DOORS = [
    py("connect to a socket outside", "T13",
       'socket.socket(1).connect("{sock}"); return True', profiles=BOTH),
    py("connect to a socket in the workspace", "T13",
       'os.chdir("{ws}"); socket.socket(1).connect("door"); return True', profiles=BOTH),
    py("write to a pipe in the workspace", "T13", """
return os.write(os.open("{ws}/pipe", os.O_WRONLY | os.O_NONBLOCK), b"x") == 1
""", profiles=BOTH),
    sh("use an inherited descriptor", "T13",
       "ls -l /proc/self/fd | grep -qv -e total -e pipe: -e /dev/null -e /fd$ -e memfd",
       works_outside=False, profiles=BOTH),
    py("reopen an inherited descriptor for writing", "T13", """
links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
return any(os.path.realpath(link).startswith("{out}") for link in links)
""", works_outside=False, profiles=BOTH),
    py("open the controlling terminal", "T13", 'os.open("/dev/tty", os.O_RDWR); return True',
       works_outside=False, profiles=BOTH),
    py("type into a terminal", "T13", """
import pty, fcntl, termios
leader, follower = pty.openpty(); os.setsid(); fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
fcntl.ioctl(follower, 0x5412, b"x"); return True
""", works_outside=False, profiles=BOTH),
    py("reach the session bus or the container engine", "T13", """
for path in ("/run/dbus/system_bus_socket", "/var/run/docker.sock", "/run/systemd/private"):
    if os.path.exists(path): return True
return False
""", works_outside=False, profiles=BOTH),
]  # fmt: skip

RESOURCES = [
    sh("fill /tmp", "T14", "head -c 20000000 /dev/zero > /tmp/full$$", profiles=BOTH),
    sh("write a huge file", "T14", "truncate -s 3G {ws}/huge"),
    sh("open files without end", "T14", "ulimit -n 1000000 && test $(ulimit -n) -ge 1000000",
       works_outside=False, profiles=BOTH),
    sh("lift a limit", "T14", "ulimit -f unlimited", profiles=BOTH),
    py("lock memory", "T14", """
area = mmap.mmap(-1, 8 << 20)
return libc.mlock(ctypes.byref(ctypes.c_char.from_buffer(area)), 8 << 20) == 0
""", as_root_only=True, profiles=BOTH),
    sh("fill shared memory", "T14", "head -c 100000000 /dev/zero > /dev/shm/full$$",
       works_outside=False, profiles=BOTH),
]  # fmt: skip

ATTEMPTS = [*FILES, *ENVIRONMENT, *NETWORK, *PROCESSES, *KERNEL, *DOORS, *RESOURCES]
