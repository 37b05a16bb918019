"""Doors to other processes: sockets, pipes and objects that live outside of any directory."""

from tests.sandbox.escapes.attempt import CONFINED, Attempt, py, sh

ATTEMPTS: list[Attempt] = [
    py("connect to a socket outside", "T13",
       'os.chdir("{out}"); socket.socket(1).connect("door"); return True'),
    py("send a datagram to a socket outside", "T13", """
os.chdir("{out}"); return socket.socket(1, 2).sendto(b"x", "letters") == 1
"""),
    py("connect to a socket in the workspace", "T13",
       'os.chdir("{ws}"); socket.socket(1).connect("door"); return True'),
    py("connect to a socket through a link", "T13", """
os.chdir(os.environ["TMPDIR"]); os.symlink("{ws}", "w"); os.chdir("w")
socket.socket(1).connect("door"); return True
"""),
    py("write to a pipe in the workspace", "T13", """
return os.write(os.open("{ws}/pipe", os.O_WRONLY | os.O_NONBLOCK), b"x") == 1
"""),
    py("hand a descriptor of ours to the host", "T13", """
os.chdir("{ws}"); door = socket.socket(1); door.connect("door")
return socket.send_fds(door, [b"x"], [0]) == 1
"""),
    py("reach the bus, the engine or the manager", "T13", """
places = ["/run/dbus/system_bus_socket", "/run/docker.sock", "/var/run/docker.sock",
          "/run/systemd/private", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
          "/run/user/%d/bus" % os.getuid(), "/run/user/%d/systemd/private" % os.getuid(),
          "/dev/log", "/run/systemd/journal/socket", "/tmp/.X11-unix/X0", "/run/snapd.socket"]
return any(os.path.exists(place) for place in places)
""", why_not_shown="a host may run none of them"),
    sh("find a socket or a pipe", "T13",
       "find {ws} /opt /etc /run /tmp /var/tmp -type s -exec test -S {} \\; -print -quit"
       " | grep -q .", profiles=CONFINED),
    sh("find the host's temporary files", "T13",
       "ls -A /dev/shm /var/tmp /run/user | grep -v -e :$ -e ^$ | grep -q .", profiles=CONFINED,
       why_not_shown="there may be none"),
    py("share memory with the host", "T13", 'return call("shmget", {shm}, 4096, 0) >= 0'),
    py("read the host's shared memory by its name", "T13",
       'return b"canary" in open("/dev/shm/{posix}", "rb").read()'),
    py("join the host's semaphores", "T13", "return libc.semget({shm}, 1, 0) >= 0"),
    py("join the host's messages", "T13", "return libc.msgget({shm}, 0) >= 0"),
    sh("list the host's shared memory", "T13", "test $(wc -l < /proc/sysvipc/shm) -gt 1"),
]  # fmt: skip
