import os
import subprocess

import pytest

from sandbox import leftovers
from sandbox.leftovers import is_left_over, own_name, sweep

DEAD = 2**22 + 1  # no process can have this number


def test_a_living_process_is_not_left_over():
    assert not is_left_over(own_name("what"))


@pytest.mark.threat("T16")
def test_a_number_that_came_again_is_not_its_former_owner():
    what, pid, _, namespace, number = own_name("what").split("-")
    assert is_left_over(f"{what}-{pid}-1-{namespace}-{number}")
    assert is_left_over(f"{what}-{DEAD}-1-{namespace}-{number}")


def test_a_process_that_ended_is_dead_before_anybody_waited_for_it():
    child = subprocess.Popen(["/bin/sleep", "60"])
    named = f"what-{leftovers._mark(child.pid)}-x"
    assert not is_left_over(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_left_over(named)
    child.wait()
    assert is_left_over(named)


@pytest.mark.threat("T16")
@pytest.mark.parametrize(
    "named",
    ["", "-", "x-1", "x-1-2", f"x-{DEAD}-1-7-x", f"x-{DEAD}-1", "x-y-1-2-x", "x-1-2-3-4-5", "keys"],
)
def test_what_cannot_be_told_to_be_dead_counts_as_alive(named):
    assert not is_left_over(named)


@pytest.mark.threat("T16")
def test_what_a_dead_server_left_goes_and_all_else_stays(tmp_path):
    mine, namespace = own_name("canary"), own_name("").split("-")[3]
    dead, odd = f"canary-{DEAD}-1-{namespace}-x", f"canary-{DEAD}-1-7-x"
    outside = tmp_path / "outside"
    for path in (mine, dead, odd, "held", "outside"):
        (tmp_path / path / "in").mkdir(parents=True)
    (tmp_path / dead / "link").symlink_to(outside)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine, odd, "held", "outside"}
    assert list(outside.iterdir()) == [outside / "in"]


def test_a_process_is_not_taken_for_another_by_its_name(tmp_path):
    odd = tmp_path / ") Z 1 (x"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "60"])
    try:
        assert int(leftovers._start(str(child.pid))) >= int(own_name("").split("-")[2])
    finally:
        child.kill()
        child.wait()
