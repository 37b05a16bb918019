"""Each rung is reached by taking the one above away, for real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.rig import HOST

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
    pytest.mark.skipif(not HOST.landlock_abi, reason="this kernel has no Landlock"),
]
READ = [["read", "cat notes.txt"]]
LANDLOCK = ["landlock", False]


def told(tmp_path, without: str, **asked: object) -> dict:
    """Return what a process without these features saw and ran."""
    base = tmp_path / "base"
    base.mkdir()
    return laddered(base, asked, sys.executable, "-m", "tests.sandbox.without", without)


def laddered(base: Path, asked: dict[str, object], *before: str) -> dict:
    """Return what a process saw and ran that these words start."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.sandbox.laddered", str(base), json.dumps(asked)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.threat("T25")
def test_with_everything_the_rung_is_namespaces(tmp_path):
    found = told(tmp_path, "", runs=READ)
    assert (found["rung"], found["can_cell"], found["fixes"]) == ("namespaces", True, {})
    assert found["runs"] == [["ok", "notes"]]


@pytest.mark.threat("T25")
def test_without_namespaces_nothing_runs_unless_the_owner_accepts_landlock(tmp_path):
    found = told(tmp_path, "namespaces", runs=[*READ, ["live", "true"], ["inspect", "true"]])
    assert (found["rung"], found["can_cell"]) == ("landlock", False)
    assert "user namespaces are refused" in found["fixes"]["filesystem"]
    assert [status for status, _ in found["runs"]] == ["error"] * 3
    assert all("Nothing ran" in said for _, said in found["runs"])


@pytest.mark.threat("T25")
def test_on_landlock_read_is_confined_and_the_rest_is_refused(tmp_path):
    found = told(
        tmp_path, "namespaces", accepted=LANDLOCK, canary=["read"],
        runs=[*READ, ["live", "touch new"], ["inspect", "true"],
              ["read", "cat ../outside/private; echo x > notes.txt; kill -0 $PPID; true"]],
    )  # fmt: skip
    (read, live, inspect, escapes) = found["runs"]
    assert read == ["ok", "notes"]
    assert live[0] == inspect[0] == "error"
    assert "accept_unprotected_git: true" in live[1]
    assert "offers no inspect" in inspect[1]
    assert "private: Permission denied" in escapes[1]
    assert "notes.txt: Permission denied" in escapes[1]
    assert "Operation not permitted" in escapes[1]
    absent = {
        name: said for name, (seen, said) in found["rows"]["read"].items() if seen == "absent"
    }
    assert absent == {}


@pytest.mark.threat("T10")
def test_on_landlock_what_lies_beside_a_denied_file_can_be_read_and_it_cannot(tmp_path):
    found = told(
        tmp_path, "namespaces", accepted=["landlock", True], denied=[".env"],
        runs=[*READ, ["read", "ls -A; cat .env; cat .[e]nv; grep -r secret ."], ["live", "true"]],
    )  # fmt: skip
    read, around, live = found["runs"]
    assert read == ["ok", "notes"]
    assert ".env\nnotes.txt" in around[1]
    assert "secret" not in around[1]
    assert live[0] == "error"
    assert "cannot cover it" in live[1]


@pytest.mark.threat("T09")
def test_on_landlock_live_writes_the_workspace_alone_once_the_owner_accepts_it(tmp_path):
    found = told(
        tmp_path, "namespaces", accepted=["landlock", True], canary=["live"],
        runs=[["live", "echo x > new && cat new && echo y > ../outside/private"]],
    )  # fmt: skip
    ((status, said),) = found["runs"]
    assert status == "failed"
    assert said.startswith("x\n")
    assert "private: Permission denied" in said
    rows = found["rows"]["live"]
    assert rows["protected names"][0] == "partial"
    assert {name for name, (seen, _) in rows.items() if seen == "absent"} == set()


@pytest.mark.threat("T25")
def test_without_landlock_namespaces_still_hold_and_inspect_is_refused(tmp_path):
    found = told(tmp_path, "landlock", runs=[*READ, ["inspect", "true"]])
    assert found["rung"] == "namespaces"
    assert "Operation not supported" in found["fixes"]["landlock"]
    assert [status for status, _ in found["runs"]] == ["ok", "error"]


@pytest.mark.threat("T25")
def test_without_both_nothing_runs_whatever_the_owner_accepts(tmp_path):
    found = told(tmp_path, "namespaces,landlock", accepted=["none", True], runs=READ)
    assert found["rung"] == "none"
    ((status, said),) = found["runs"]
    assert status == "error"
    assert said.startswith("This host cannot confine commands: ")


@pytest.mark.threat("T12")
@pytest.mark.parametrize("abi", [1, 3, 5])
def test_what_an_older_landlock_leaves_open_is_closed_by_seccomp(tmp_path, abi):
    found = told(tmp_path, "namespaces", accepted=LANDLOCK, canary=["read"], abi=abi, runs=READ)
    assert found["runs"] == [["ok", "notes"]]
    rows = found["rows"]["read"]
    assert {name: said for name, (seen, said) in rows.items() if seen == "absent"} == {}
    assert rows["processes"][0] == rows["network"][0] == "enforced"


def limited(tmp_path, switch: str, **asked: object) -> dict:
    """Return what a process saw and ran in a user namespace with this line in its sysctls."""
    script = f'echo {switch.replace("=", " > /proc/sys/user/")}; exec "$@"'
    own = ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    return laddered(tmp_path, asked, *own)


@pytest.mark.threat("T25")
def test_a_sysctl_that_forbids_namespaces_is_found_and_named(tmp_path):
    found = limited(tmp_path, "0=max_user_namespaces", runs=READ)
    assert found["rung"] == "landlock"
    assert "sysctl -w user.max_user_namespaces=" in found["fixes"]["filesystem"]
    assert found["runs"][0][0] == "error"


@pytest.mark.threat("T25")
def test_without_namespaces_inside_bubblewrap_commands_run_one_each_and_no_weaker(tmp_path):
    found = limited(tmp_path, "1=max_pid_namespaces", runs=[*READ, ["read", "echo > notes.txt"]])
    assert (found["rung"], found["can_cell"]) == ("namespaces", False)
    assert "sysctl -w user.max_pid_namespaces" in found["fixes"]["cell"]
    read, write = found["runs"]
    assert read == ["ok", "notes"]
    assert "Read-only file system" in write[1]
