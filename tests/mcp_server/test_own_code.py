"""Whose code this is: five everyday names from one place, installed by one distribution."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.own_code import ROOMS, check_own_code
from tests.mcp_server.rig import Rig

pytestmark = pytest.mark.threat("T20")
POISON = "raise SystemExit('foreign code ran')\n"


def test_ours_passes():
    check_own_code()


def test_the_names_that_are_checked_are_the_packages_that_are_shipped():
    project = Path(__file__).resolve().parents[2]
    shipped = {path.parent.name for path in project.glob("*/__init__.py")}
    assert set(ROOMS) == shipped - {"tests", "examples", "benchmarks"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_directory_with_the_name_of_a_room_is_refused_before_its_code_runs(rig: Rig, room):
    foreign = rig.base / "foreign"
    (foreign / room).mkdir(parents=True)
    (foreign / room / "__init__.py").write_text(POISON)
    ended = rig.run("--help", env={"PYTHONPATH": str(foreign)})
    if room == "mcp_server":  # the entry itself is theirs: the isolated start below is the cure
        assert ended.returncode != 0
        return
    assert ended.returncode == 2
    assert f"{room} from {foreign}" in ended.stderr
    assert "Start the installed `permitgate` command" in ended.stderr
    assert "foreign code ran" not in ended.stderr


def test_a_distribution_that_installs_one_of_the_names_is_refused(rig: Rig):
    information = rig.base / "foreign" / "auditlib-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: auditlib\nVersion: 1.0\n")
    (information / "top_level.txt").write_text("audit\n")
    ended = rig.run("--help", env={"PYTHONPATH": str(information.parent)})
    assert ended.returncode == 2
    assert "package 'audit' is also installed by auditlib" in ended.stderr
    assert "environment of its own" in ended.stderr


def test_the_isolated_start_ignores_what_the_environment_names(rig: Rig):
    foreign = rig.base / "foreign"
    (foreign / "mcp_server").mkdir(parents=True)
    (foreign / "mcp_server" / "__init__.py").write_text(POISON)
    ended = subprocess.run(
        [sys.executable, "-I", "-m", "mcp_server", "--help"],
        cwd=foreign,
        env={**rig.environment, "PYTHONPATH": str(foreign)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "no permit, no execution" in ended.stdout
