"""Profile inspect: the host is seen as it is, nothing is changed, and nobody's home is shown."""

import os
import pwd
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.profile import Profile
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
CONNECT = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
print("connected")
"""


async def test_the_hosts_processes_and_system_are_seen(rig: Rig):
    said = await rig.says(f"cat /proc/{os.getpid()}/comm; ls -d /usr/bin /etc/passwd", "inspect")
    assert len(said.split()) == 3
    assert "/usr/bin" in said
    assert "/etc/passwd" in said


@pytest.mark.threat("T10")
async def test_only_the_list_is_there(rig: Rig):
    names = set((await rig.says("ls -A / /var /var/lib", "inspect")).split())
    allowed = {"/:", "/var:", "/var/lib:", "bin", "dev", "etc", "home", "lib", "lib32", "lib64",
               "libx32", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var", "log",
               "dpkg", "apt", "rpm", "pacman"}  # fmt: skip
    assert names <= allowed | {rig.base.parts[1]}


def homes() -> set[str]:
    found = {user.pw_dir for user in pwd.getpwall() if Path(user.pw_dir).is_dir()}
    return {home for home in found if Path(home).stat().st_uid >= 1000} | {"/root", "/home"}


@pytest.mark.threat("T10")
async def test_every_home_is_empty(rig: Rig):
    for home in {HOST.home, *homes()}:
        if not str(rig.base).startswith(home):
            assert await rig.says(f"find {home} -type f 2>/dev/null | head -3", "inspect") == ""


@pytest.fixture
def home_in_usr() -> Iterator[str]:
    home = Path("/usr/local/permitgate-home")
    home.mkdir()
    os.chown(home, 1000, 1000)
    (home / "secret").write_text("canary")
    yield str(home)
    (home / "secret").unlink()
    home.rmdir()


@pytest.mark.threat("T10")
@pytest.mark.root_only
async def test_a_home_inside_the_system_is_empty_too(
    rig: Rig, home_in_usr: str, monkeypatch: pytest.MonkeyPatch
):
    entry = pwd.struct_passwd(("x", "x", 1000, 1000, "", home_in_usr, "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [entry])
    assert await rig.says(f"cat {home_in_usr}/secret; ls -A {home_in_usr}", "inspect") == ""


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    "attempt",
    [
        "echo x > /proc/sys/kernel/hostname", "echo x > /proc/sysrq-trigger", "touch /home/x",
        "echo 1 > /sys/kernel/mm/ksm/run", "mkdir /sys/fs/cgroup/x", "touch new",
        "echo 0 > /proc/$PPID/oom_score_adj", "touch /etc/x", "touch /var/log/x", "touch /run/x",
        "echo x > /dev/kmsg", "mount -t tmpfs none /mnt", "kill -0 $PPID",
    ],
)  # fmt: skip
async def test_nothing_of_the_host_is_changed(rig: Rig, attempt: str):
    outcome = await rig.run(rig.script(f"({attempt}) 2>/dev/null; echo $?", "inspect"))
    assert outcome.stdout.head.decode().strip() not in ("0", "")


@pytest.mark.threat("T12")
@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow", "/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/kallsyms",
        "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/pstore", "/etc/ssl/private",
        "/etc/gshadow",
    ],
)  # fmt: skip
async def test_secrets_of_the_system_look_empty(rig: Rig, path: str):
    assert await rig.says(f"cat {path} 2>/dev/null | head -c 9; ls -A {path}/ 2>/dev/null",
                          "inspect") == ""  # fmt: skip


@pytest.mark.threat("T12")
@pytest.mark.root_only
@pytest.mark.parametrize("profile", ["inspect", "read", "live"])
async def test_root_is_not_told_of_the_kernels_memory(rig: Rig, profile):
    paths = "/proc/kpagecount /proc/kpageflags /proc/kallsyms /proc/vmallocinfo /proc/kcore"
    assert await rig.says(f"head -qc 9 {paths} 2>/dev/null", profile) == ""


@pytest.mark.threat("T10")
@pytest.mark.parametrize("what", ["environ", "maps", "mem", "root/etc/hostname", "cwd/conftest.py"])
async def test_other_processes_are_seen_and_not_read(rig: Rig, what: str):
    command = f"head -c 9 /proc/{os.getpid()}/{what} 2>/dev/null"
    assert await rig.says(command, "inspect") == ""


@pytest.mark.threat("T02")
async def test_nothing_but_the_systems_programs_is_run(rig: Rig):
    tool = rig.workspace / "tool"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o755)
    assert await rig.says("./tool; /bin/echo fine", "inspect") == "fine\n"
    assert await rig.says("./tool", "read") == "ran\n"


@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["inspect", "read"])
async def test_no_socket_is_reached_and_pairs_work(rig: Rig, profile):
    door = rig.workspace / "door"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(door))
        server.listen()
        vector = rig.vector("/usr/bin/python3", "-c", CONNECT, str(door), profile=profile)
        assert (await rig.run(vector)).stdout.head == b""
        pair = "import socket; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))"
        works = rig.vector("/usr/bin/python3", "-c", pair, profile=profile)
        assert (await rig.run(works)).stdout.head == b"b'x'\n"


@pytest.mark.threat("T13")
async def test_a_client_reaches_its_daemons_socket_and_no_other(rig: Rig):
    """The sockets of the profile are shown where the client looks for them."""
    doors = [rig.outside / "daemon", rig.outside / "other"]
    with socket.socket(socket.AF_UNIX) as daemon, socket.socket(socket.AF_UNIX) as other:
        for server, door in zip((daemon, other), doors, strict=True):
            server.bind(str(door))
            server.listen()
        profile = Profile("inspect", str(rig.workspace), sockets=(str(doors[0]),))
        for door, expected in zip(doors, (b"connected\n", b""), strict=True):
            vector = rig.vector("/usr/bin/python3", "-c", CONNECT, str(door), profile="inspect")
            assert (await rig.run(replace(vector, profile=profile))).stdout.head == expected


@pytest.mark.threat("T13")
@pytest.mark.root_only
@pytest.mark.parametrize("prefix", ["", "/var"])
async def test_a_socket_below_run_is_there_by_both_its_names(rig: Rig, prefix: str):
    path = f"/run/permitgate-test-{os.getpid()}"
    try:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.bind(path)
            daemon.listen()
            profile = Profile("inspect", str(rig.workspace), sockets=(prefix + path,))
            vector = rig.vector("/usr/bin/python3", "-c", CONNECT, prefix + path)
            assert (await rig.run(replace(vector, profile=profile))).stdout.head == b"connected\n"
            assert (await rig.says("ls -A /run", "inspect")) == "permitgate\n"
    finally:
        Path(path).unlink()  # noqa: ASYNC240  # at once


@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["inspect", "read", "live"])
async def test_a_pipe_with_a_name_leads_nowhere(rig: Rig, profile):
    os.mkfifo(rig.workspace / "pipe")
    reader = os.open(rig.workspace / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        await rig.run(rig.script("timeout 1 sh -c 'echo leak > pipe'", profile))
        assert os.read(reader, 9) == b""
    finally:
        os.close(reader)
