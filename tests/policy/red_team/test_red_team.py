"""Attacks by class, and that none runs without a person's yes."""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.policy.rows import Row, files, read, rows

ROWS = rows("red_team")


@pytest.mark.threat("T02")
@pytest.mark.threat("T03")
@pytest.mark.parametrize("path", files("red_team"), ids=lambda path: path.stem)
def test_no_attack_of_this_class_runs_unasked_and_the_worst_are_denied(path):
    assert _said(row for row in read(path) if not row.is_open and not row.holds) == []


def test_a_hole_that_was_closed_is_no_longer_called_open():
    assert _said(row for row in ROWS if row.is_open and row.holds) == []


def test_the_attacks_are_many_and_each_is_there_once():
    assert len(ROWS) >= 1_000
    assert [
        command for command, times in Counter(r.command for r in ROWS).items() if times > 1
    ] == []


def _said(found: Iterable[Row]) -> list[str]:
    return [str(row) for row in found]
