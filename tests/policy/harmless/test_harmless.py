"""Daily work by class, and that it runs unasked, or asks where asking is right."""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.policy.rows import Row, files, read, rows

ROWS = rows("harmless")


@pytest.mark.parametrize("path", files("harmless"), ids=lambda path: path.stem)
def test_daily_work_of_this_class_runs_unasked(path):
    assert _said(row for row in read(path) if not row.is_open and not row.holds) == []


def test_what_no_longer_asks_is_no_longer_called_open():
    assert _said(row for row in ROWS if row.is_open and row.holds) == []


def test_daily_work_is_much_and_each_command_is_there_once():
    assert len(ROWS) >= 1_400
    times = Counter(row.command for row in ROWS)
    assert [command for command, count in times.items() if count > 1] == []


def _said(found: Iterable[Row]) -> list[str]:
    return [str(row) for row in found]
