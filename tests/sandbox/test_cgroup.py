"""The groups this machine gives us, and the files of both versions as they are documented."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import cgroup
from sandbox.cgroup import Group
from sandbox.leftovers import own_name
from tests.mcp_server.rig import until

FOUND = cgroup.parents()
PARENTS = tuple(FOUND)
BOUNDS = frozenset[str]().union(*FOUND.values())

bounds_memory = pytest.mark.skipif("memory" not in BOUNDS, reason="no group bounds memory here")
bounds_pids = pytest.mark.skipif("pids" not in BOUNDS, reason="no group bounds processes here")
V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max", "cgroup.procs")
V2 = (
    "memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs", "cgroup.kill",
)  # fmt: skip
DEAD = f"permitgate-{2**22 + 1}-1-{own_name('').split('-')[3]}-x"


@pytest.fixture
def group():
    group = Group.make(PARENTS)
    yield group
    group.kill()
    assert group.close()


def start(group: Group, script: str) -> "subprocess.Popen[bytes]":
    """Start a shell that runs the script once it is in the group."""
    child = subprocess.Popen(
        ["/bin/sh", "-c", f"read go; {script}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert group.enter(child.pid)
    child.stdin.write(b"go\n")
    child.stdin.flush()
    return child


def end(child: "subprocess.Popen[bytes]") -> bytes:
    return child.communicate(timeout=20)[1]


def filled(path: Path, names: tuple[str, ...]) -> Group:
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text("")
    return Group((str(path),))


def written(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir() if file.read_text()}


# As the kernel of this machine does it


@pytest.mark.root_only
@pytest.mark.threat("T14")
@bounds_memory
def test_what_needs_too_much_memory_is_killed_by_the_kernel_and_it_is_known(group):
    group.bound(50 << 20, 50)
    hog = f"{sys.executable} -c 'b = bytearray(90_000_000)'"
    child = start(group, f"{hog}; exit 3")
    end(child)
    assert child.returncode != 0
    assert group.was_out_of_memory()
    assert not group.refused_processes()


@pytest.mark.root_only
@bounds_memory
def test_memory_that_is_held_is_seen_and_files_that_were_read_are_not(group, tmp_path):
    (tmp_path / "large").write_bytes(bytes(40 << 20))
    holds = "import time; b = bytearray(30 << 20); print(1, flush=True); time.sleep(60)"
    child = start(
        group, f"cat {tmp_path}/large > /dev/null; exec {sys.executable} -c '{holds}' >&2"
    )
    assert child.stderr.readline() == b"1\n"
    assert 30 << 20 < group.held_bytes() < 50 << 20
    group.kill()
    end(child)


@pytest.mark.root_only
@pytest.mark.threat("T14")
@bounds_pids
def test_no_process_is_born_beyond_the_bound_and_it_is_known(group):
    group.bound(1 << 30, 8)
    said = end(start(group, "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done; wait"))
    assert b"fork" in said
    assert group.refused_processes()
    assert not group.was_out_of_memory()


@pytest.mark.root_only
@pytest.mark.threat("T14")
@bounds_pids
def test_a_fork_bomb_dies_at_once(group):
    group.bound(1 << 30, 200)
    child = start(group, "bomb() { bomb | bomb & }; bomb 2>&-; exec sleep 60")
    while not group.refused_processes():
        pass
    group.kill()
    assert group.members() == set()
    end(child)


@pytest.mark.root_only
@pytest.mark.threat("T14")
@bounds_pids
def test_what_left_its_session_and_ignores_signals_is_in_the_group_still(group):
    daemon = "trap '' TERM HUP INT; (setsid sh -c 'sleep 60 & sleep 60' &) ; echo up >&2; sleep 60"
    child = start(group, daemon)
    child.stderr.readline()
    until(lambda: len(group.members()) >= 4)
    group.kill()
    assert group.members() == set()
    end(child)


@pytest.mark.root_only
@bounds_pids
def test_a_child_that_is_there_already_is_moved_too(group):
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE)
    child.stdout.readline()
    assert group.enter(child.pid)
    assert len(group.members()) == 2
    assert not group.close()  # it is not empty
    group.kill()
    end(child)


@pytest.mark.root_only
@pytest.mark.threat("T16")
@bounds_pids
def test_what_a_dead_server_left_is_ended_and_removed_and_what_lives_stays(monkeypatch):
    monkeypatch.setattr(cgroup, "own_name", lambda _: DEAD)
    left = Group.make(PARENTS)
    monkeypatch.undo()
    mine = Group.make(PARENTS)
    survivor = start(left, "sleep 60")
    living = start(mine, "sleep 60")
    cgroup.parents()
    assert end(survivor) == b""
    assert survivor.returncode != 0
    assert living.poll() is None
    assert left.members() == set()
    assert not any(map(os.path.lexists, left._paths))
    mine.kill()
    end(living)
    assert mine.close()


@pytest.mark.as_user
def test_every_directory_that_was_found_takes_a_group_that_bounds_what_was_said():
    for parent, bounds in cgroup.parents().items():
        group = Group.make((parent,))
        assert bounds
        assert group.bounds == bounds
        assert group.close()


# As the documentation of both versions says


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (V1, {V1[0]: "1000", V1[1]: "1000", "pids.max": "7"}),
        (V1[2:], {"pids.max": "7"}),
        (V2, {"memory.max": "1000", V2[1]: "0", V2[2]: "1", "pids.max": "7"}),
    ],
    ids=["version 1", "pids alone", "version 2"],
)
def test_the_files_that_a_group_has_are_written(tmp_path, names, expected):
    filled(tmp_path / "group", names).bound(1000, 7)
    assert written(tmp_path / "group") == expected


def test_what_a_group_bounds_is_what_it_has_files_for(tmp_path):
    assert filled(tmp_path / "1", V1).bounds == {"memory", "pids"}
    assert filled(tmp_path / "2", V2).bounds == {"memory", "pids"}
    assert filled(tmp_path / "3", V1[2:]).bounds == {"pids"}
    assert filled(tmp_path / "4", ("cgroup.procs",)).bounds == frozenset()


def test_version_2_is_read_like_version_1(tmp_path):
    group = filled(tmp_path / "group", (*V2, "memory.stat", "memory.events", "pids.events"))
    (tmp_path / "group" / "memory.stat").write_text("anon 5\nfile 100\nshmem 7\nanon_thp 3\n")
    (tmp_path / "group" / "memory.events").write_text("low 0\nmax 9\noom 1\noom_kill 0\n")
    (tmp_path / "group" / "pids.events").write_text("max 0\n")
    assert (group.held_bytes(), group.was_out_of_memory()) == (12, False)
    assert not group.refused_processes()
    (tmp_path / "group" / "memory.events").write_text("oom 1\noom_kill 1\n")
    (tmp_path / "group" / "pids.events").write_text("max 2\n")
    assert group.was_out_of_memory()
    assert group.refused_processes()


def test_version_2_is_told_to_kill(tmp_path):
    filled(tmp_path / "group", V2).kill()
    assert (tmp_path / "group" / "cgroup.kill").read_text() == "1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0::/a/b", ["a/b", "a", ".", "unified/a/b", "unified/a", "unified"]),
        ("4:memory:/a", ["memory/a", "memory"]),
        ("8:pids:/", ["pids"]),
        ("5:cpu,cpuacct:/a\n9:name=systemd:/a", []),
    ],
)
def test_our_own_group_is_tried_before_those_above_it(tmp_path, monkeypatch, line, expected):
    monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    (tmp_path / "cgroup").write_text(f"{line}\n")
    found = [path.relative_to(tmp_path) for places in cgroup._places() for path in places]
    assert [str(path) for path in found] == expected


def test_without_a_hierarchy_there_is_no_group(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path / "absent")
    assert cgroup.parents() == {}


def test_a_directory_that_is_no_control_group_takes_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    (tmp_path / "cgroup.procs").write_text("")
    assert cgroup.parents() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.procs"]


def test_when_one_part_cannot_be_made_none_is_left(tmp_path):
    with pytest.raises(OSError, match="absent"):
        Group.make((str(tmp_path), str(tmp_path / "absent")))
    assert list(tmp_path.iterdir()) == []
