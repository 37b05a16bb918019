"""What `permitgate doctor` tells a tired operator, on hosts made weaker for real."""

import json
import subprocess
import sys

import pytest

from sandbox.enforcement import CONFINED, CONTROLS
from sandbox.probe import EXTRAS, ISOLATING, probe
from tests import warm
from tests.mcp_server.rig import Rig
from tests.warm import INSTALLED

HOST = probe()
pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]


def permitgate(
    rig: Rig, *words: str, without: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    lacking = [sys.executable, "-m", "tests.sandbox.without", without, INSTALLED]
    start = lacking if without else [warm.command()]
    return subprocess.run(
        [*start, *words], env={**rig.environment, "COLUMNS": "100", **environment},
        cwd=None if without else rig.workspace, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_every_control_of_every_profile_is_a_row(rig):
    done = permitgate(rig, "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["schema"], told["rung"], told["runs"]) == (
        "permitgate-doctor-v1", "namespaces", True
    )  # fmt: skip
    names = {row["name"] for row in told["rows"] if not row["profile"]}
    assert {*ISOLATING, *EXTRAS, "landlock", "seccomp", "policy", "audit log"} <= names
    seen = {(row["profile"], row["name"]) for row in told["rows"] if row["profile"]}
    assert seen == {(profile, law.name) for law in CONTROLS for profile in law.profiles}
    assert all(row["evidence"] for row in told["rows"])


def test_a_person_reads_it_in_one_screen(rig):
    lines = permitgate(rig, "doctor").stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= 100  # a path is not broken
    assert len(lines) < 60
    (head,) = (line for line in lines if line.startswith("Seen in profile"))
    assert head.split()[3:] == list(CONFINED)
    assert lines[-1] == "rung: namespaces (minimum: namespaces); commands run"


@pytest.mark.threat("T25")
def test_a_host_without_namespaces_is_told_what_to_do_once(rig):
    done = permitgate(rig, "doctor", without="namespaces")
    assert done.returncode == 13
    assert "What to do" in done.stdout
    assert done.stdout.count("filesystem, network, processes, cell, overlay, net: ") == 1
    assert done.stdout.splitlines()[-1].startswith("rung: landlock (minimum: namespaces); commands")


@pytest.mark.threat("T25")
def test_a_state_directory_that_cannot_be_made_is_named(rig):
    done = permitgate(rig, "doctor", XDG_STATE_HOME="/proc/nope")
    assert done.returncode == 13
    assert "make /proc/nope/permitgate writable for you, or set XDG_STATE_HOME" in " ".join(
        done.stdout.split()
    )


@pytest.mark.threat("T25")
def test_nothing_is_run_without_a_place_for_the_log(rig):
    done = permitgate(rig, "exec", "--", "touch ran", XDG_STATE_HOME="/proc/nope")
    assert done.returncode == 13
    assert "set XDG_STATE_HOME to a directory that is. Nothing ran." in done.stderr
    assert not (rig.workspace / "ran").exists()


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("settings", "reads", "writes"),
    [
        ("", False, False),
        ("minimum_enforcement: landlock\n", True, False),
        ("minimum_enforcement: landlock\naccept_unprotected_git: true\n", True, True),
    ],
)
def test_the_rung_landlock_runs_only_what_the_owner_accepted(rig, settings, reads, writes):
    (rig.base / "config" / "permitgate" / "config.yaml").write_text(settings)
    (rig.workspace / "notes.txt").write_text("notes")
    place = ("--workspace", str(rig.workspace))
    read = permitgate(rig, "exec", *place, "--", "cat notes.txt", without="namespaces")
    assert (read.returncode == 0, read.stdout) == (reads, "notes" if reads else ""), read
    write = permitgate(rig, "exec", *place, "--", "echo x > ran", without="namespaces")
    assert (write.returncode == 0, (rig.workspace / "ran").exists()) == (writes, writes), write
