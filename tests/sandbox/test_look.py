"""Profile look: seven programs that only a filter holds, since namespaces would make them lie."""

import os
import re
import socket
from pathlib import Path

import pytest

from policy.model import OPERATIONS
from sandbox.outcome import CommandOutcome
from sandbox.profile import LOOKERS, MOUNTS, Profile, Programs, Touch, derive
from tests.sandbox.rig import HOST, Rig, shown

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
BIN = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")


def where(name: str) -> str:
    return next((f"{entry}/{name}" for entry in BIN if os.access(f"{entry}/{name}", os.X_OK)), "")


async def looks(rig: Rig, *argv: str) -> CommandOutcome:
    path = where(argv[0])
    if not path:
        pytest.skip(f"no {argv[0]} here")
    profile = Profile("look", str(rig.workspace), read_roots=LOOKERS[argv[0]])
    return await rig.run(shown(rig.vector(path, *argv[1:]), profile))


def mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def chosen(line: str, *touches: Touch, **known: object) -> str:
    argv = tuple(line.split())
    programs = Programs(argv, argv[:1], **known)
    profile = derive(touches, workspace="/w", read_roots=(), programs=programs)
    return profile.name if isinstance(profile, Profile) else "split"


INSPECTS = Touch("sys.inspect", "", "exact")


@pytest.mark.threat("T25")
def test_only_a_lone_looking_vector_of_roots_own_program_looks():
    assert chosen("df -h") == chosen("ss -p", INSPECTS) == "look"
    assert chosen("/usr/bin/fuser /srv", INSPECTS, Touch("fs.list", "/srv", "exact")) == "look"
    assert chosen("ps aux", INSPECTS) == "inspect"
    assert chosen("ss -p", INSPECTS, foreign=("/home/u/ss",)) == "split"
    assert chosen("ss -p", INSPECTS, may_look=False) == "inspect"
    looking = {"sys.inspect", "proc.inspect", "fs.list"}
    for operation in OPERATIONS - looking:
        assert chosen("ss -p", Touch(operation, "/w/a", "exact")) != "look"


def test_in_a_script_the_answer_says_what_it_does_not_show():
    for name in LOOKERS:
        programs = Programs((), (name, "wc"))
        profile = derive([INSPECTS], workspace="/w", read_roots=(), programs=programs)
        assert isinstance(profile, Profile)
        assert (profile.name, len(profile.hidden)) == ("inspect", 1)


@pytest.mark.parametrize("argv", [("df", "-h"), ("mount",), ("findmnt", "-n"), ("lsblk", "-a")])
async def test_mounts_are_those_of_the_host(rig: Rig, argv):
    outcome = await looks(rig, *argv)
    assert outcome.status == "ok", outcome.message
    assert outcome.enforcement.rung == "seccomp-only"
    said = outcome.stdout.head.decode()
    assert "newroot" not in said
    if argv[0] == "df":
        own = os.statvfs("/")
        kept = {line.split()[-1] for line in said.splitlines()}
        assert "/" in kept
        assert own.f_blocks
    assert str(rig.state) not in said


async def test_owners_are_seen(rig: Rig):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = await looks(rig, "ss", "-ltnp", f"sport = :{port}")
        assert outcome.status == "ok", outcome.message
        assert f"pid={os.getpid()}," in outcome.stdout.head.decode()


async def test_open_files_are_seen(rig: Rig, tmp_path: Path):
    with (tmp_path / "busy").open("w"):
        outcome = await looks(rig, "lsof", "-t", str(tmp_path / "busy"))
        assert outcome.stdout.head.decode().split() == [str(os.getpid())]


@pytest.mark.threat("T09")
async def test_nothing_is_written_and_nobody_is_signalled(rig: Rig, tmp_path: Path):
    busy = tmp_path / "busy"
    with busy.open("w"):
        outcome = await looks(rig, "fuser", str(busy))
        assert re.search(rf"\b{os.getpid()}\b", outcome.stdout.head.decode())
        await looks(rig, "fuser", "-k", str(busy))  # this process is still here
    await looks(rig, "lsof", "-Db", str(tmp_path))
    outcome = await looks(rig, "mount", "-t", "tmpfs", "none", str(tmp_path))
    assert outcome.status != "ok"
    assert str(tmp_path) not in mounts()


@pytest.mark.threat("T12")
async def test_nothing_else_is_started(rig: Rig):
    path = "/usr/bin/env"
    outcome = await rig.run(shown(rig.vector(path, "true"), Profile("look", str(rig.workspace))))
    assert outcome.status != "ok"


def test_the_mount_programs_are_held_to_reading_by_landlock_too():
    assert {name for name, roots in LOOKERS.items() if roots} == set(MOUNTS)
