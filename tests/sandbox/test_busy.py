import pytest

from sandbox.busy import Busy


@pytest.mark.threat("T09")
def test_a_command_knows_what_those_before_it_saw_and_not_what_later_ones_see():
    busy = Busy()
    first, knows = busy.begin({1})
    second, also = busy.begin({2})
    assert (knows, also) == ({1}, {1, 2})
    del first, second


@pytest.mark.threat("T09")
def test_when_nobody_runs_everything_is_forgotten():
    busy = Busy()
    first, _ = busy.begin({1})
    second, _ = busy.begin({2})
    del first
    third, knows = busy.begin({3})
    assert knows == {1, 2, 3}
    del second, third
    assert busy.begin({4})[1] == {4}
