"""Attacks by class, and that none runs without a person's yes."""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.policy.rows import Row, RowError, files, read, rows

ROWS = rows("red_team")


@pytest.mark.threat("T02")
@pytest.mark.threat("T03")
@pytest.mark.parametrize("path", files("red_team"), ids=lambda path: path.stem)
def test_no_attack_of_this_class_runs_unasked_and_the_worst_are_denied(path):
    assert _said(row for row in read(path) if not row.is_open and not row.holds) == []


def test_a_hole_that_was_closed_is_no_longer_called_open():
    assert _said(row for row in ROWS if row.is_open and row.holds) == []


def test_the_attacks_are_many_and_each_is_there_once():
    assert len(ROWS) >= 3_000
    assert [
        command for command, times in Counter(r.command for r in ROWS).items() if times > 1
    ] == []


def _said(found: Iterable[Row]) -> list[str]:
    return [str(row) for row in found]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("reads: Not an attack's word.\n    ls\n", "x.txt:1"),
        ("stop: No full stop\n    ls\n", "x.txt:1"),
        ("# a class\nstop: No command.\nstop: Another.\n    ls\n", "x.txt:2"),
        ("stop: Three blanks only.\n   ls\n", "x.txt:1"),
        ("stop: Fine.\n    ls\nls\n", "x.txt:3"),
    ],
)
def test_a_row_in_no_known_form_is_refused_with_its_place(text, place, tmp_path):
    folder = tmp_path / "red_team"
    folder.mkdir()
    (folder / "x.txt").write_text(text)
    with pytest.raises(RowError, match=f"^{place}: "):
        read(folder / "x.txt")


def test_a_command_keeps_its_empty_lines_and_characters_that_cannot_be_shown(tmp_path):
    folder = tmp_path / "red_team"
    folder.mkdir()
    (folder / "x.txt").write_text(
        "open stop: Two lines.\n    a <U+200B>\n\n      b\n\nstop: One.\n    c\n"
    )
    first, second = read(folder / "x.txt")
    assert (first.command, first.is_open, second.command) == ("a \u200b\n\n  b", True, "c")
