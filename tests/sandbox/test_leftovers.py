import os
import subprocess

import pytest

from sandbox import leftovers
from sandbox.leftovers import is_left_over, mark

DEAD = 2**22 + 1  # no process can have this number


def test_a_living_process_is_not_left_over():
    assert not is_left_over(mark())


@pytest.mark.threat("T16")
def test_a_number_that_came_again_is_not_its_former_owner():
    pid, _, namespace = mark().split("-")
    assert is_left_over(f"{pid}-1-{namespace}")
    assert is_left_over(f"{DEAD}-1-{namespace}")


def test_a_process_that_ended_is_dead_before_anybody_waited_for_it():
    _, _, namespace = mark().split("-")
    child = subprocess.Popen(["/bin/sleep", "60"])
    living = f"{child.pid}-{leftovers._start(str(child.pid))}-{namespace}"
    assert not is_left_over(living)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_left_over(living)
    child.wait()
    assert is_left_over(living)


@pytest.mark.threat("T16")
@pytest.mark.parametrize(
    "marked", ["", "-", "1", "1-2", f"{DEAD}-1-7", f"{DEAD}-1", "x-1-2", "../..-1-2", "1-2-3-4"]
)
def test_what_cannot_be_told_to_be_dead_counts_as_alive(marked):
    assert not is_left_over(marked)


def test_a_process_is_not_taken_for_another_by_its_name(tmp_path):
    odd = tmp_path / ") Z 1 (x"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "60"])
    try:
        assert int(leftovers._start(str(child.pid))) >= int(mark().split("-")[1])
    finally:
        child.kill()
        child.wait()
