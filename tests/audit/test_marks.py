"""Counting by marks: what the log had before one request, within a budget; no more is told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from audit import marks
from audit.index import INDEX
from audit.marks import Group, Tally, Wanted, bring_current, tally
from tests.stories import log_of, many

EVERY, PUSH, FETCH, OTHER = (f"{number:016x}" for number in (1, 2, 3, (1 << 64) - 1))
ENOUGH_S = 30.0


def opened(tell) -> None:
    """Write requests that bear marks, one before the next, among what bears none or no marks."""
    kinds = [[EVERY, PUSH], [EVERY, FETCH], [EVERY, PUSH, PUSH], [EVERY], [EVERY, PUSH]]
    for number, found in enumerate(kinds):
        tell.append(_opened([*found, own(number)]))
    for odd in (None, "x", [1, None, "zz", EVERY[:-1], EVERY.upper() + "0"], {EVERY: 1}):
        tell.append(_opened(odd))


def own(number: int) -> str:
    return f"{1000 + number:016x}"


def _opened(found: object) -> dict[str, object]:
    return {"event": "approval.opened", "session": "s1", "approval": {"marks": found}}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return log_of(tmp_path, opened)[0]


def counted(log: Path, before: int = 99, *groups: frozenset[str], budget_s: float = ENOUGH_S):
    wanted = Wanted(own(before), EVERY, groups or (frozenset([PUSH]),))
    return tally(log, log / INDEX, wanted, budget_s=budget_s)


def which(group: Group) -> tuple[int | None, list[int], list[int]]:
    found = [[record["@seq"] for record in part] for part in (group.with_mark, group.without)]
    return group.count, *found


def test_requests_are_counted_by_their_marks_with_the_newest_of_either_kind(log):
    both, none = frozenset([PUSH, FETCH]), frozenset([OTHER])
    found = counted(log, 99, frozenset([PUSH]), both, none)
    assert (found.requests, found.is_behind, found.why_not) == (5, False, "")
    assert list(map(which, found.groups)) == [
        (3, [5, 3], [4, 2]),
        (4, [5, 3], [4]),
        (0, [], [5, 4]),
    ]
    assert found.groups[0].with_mark[0]["approval"]["marks"] == [EVERY, PUSH, own(4)]


@pytest.mark.threat("T29")
def test_what_came_before_one_request_is_counted_without_it(log):
    found = counted(log, 2)
    assert (found.requests, which(found.groups[0])) == (2, (1, [1], [2]))


def test_what_was_not_counted_in_time_is_not_told(log):
    counted(log)
    assert counted(log, budget_s=-1) == Tally(None, (Group(),))


def test_a_long_log_is_indexed_beside_the_answers_and_counted_as_far_as_it_is(
    tmp_path, log, monkeypatch
):
    monkeypatch.setattr(marks, "MOST_BEHIND_BYTES", 0)
    first = counted(log)
    assert (first.requests, first.is_behind, first.why_not) == (None, True, "there is none yet")
    bring_current(log, log / INDEX, lambda: False)
    assert counted(log).requests == 5
    log_of(tmp_path, opened)
    grown = counted(log)
    assert (grown.requests, grown.is_behind) == (5, True)
    bring_current(log, log / INDEX, lambda: False)
    assert counted(log).requests == 10


def test_indexing_ends_when_it_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("audit.index.BATCH", 8)
    log, _ = log_of(tmp_path, many(20))
    for is_enough in (True, False):
        bring_current(log, log / INDEX, lambda enough=is_enough: enough)
        assert (log / INDEX).exists() is not is_enough


def test_an_index_that_lost_a_record_is_made_again(log):
    counted(log)
    with closing(sqlite3.connect(log / INDEX)) as database, database:
        database.execute("DELETE FROM record WHERE seq = 3")
    assert which(counted(log).groups[0]) == (3, [5, 3], [4, 2])


def test_a_log_that_cannot_be_read_is_not_counted(tmp_path):
    assert "No such file" in counted(tmp_path / "none").why_not
