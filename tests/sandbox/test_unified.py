"""Facts about written diffs: exact for any two contents, as short as git's, and soon there."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.patches.diffs import parse
from sandbox.patches.matching import patched
from sandbox.unified import Effort, Side, file_diff, line_counts

some_lines = st.lists(st.sampled_from([b"a", b"b", b"", b"-- a/x", b"++ b/x", b"@@", b"e\r"]))
contents = st.builds(
    lambda lines, last: b"".join(line + b"\n" for line in lines) + last,
    some_lines,
    st.sampled_from([b"", b"end"]),
)


def text(old: bytes | None, new: bytes | None, name: str = "f") -> str:
    return "".join(file_diff(name, Side(old), Side(new)))


@given(contents, contents)
def test_a_diff_read_again_makes_the_new_content_of_the_old(old: bytes, new: bytes):
    before, after = b"first\n" + old, b"first\n" + new
    if before != after:
        (section,) = parse(text(before, after))
        assert patched(section, before) == after


@given(contents, contents)
def test_the_counts_are_those_of_the_lines_shown(old: bytes, new: bytes):
    shown = list(file_diff("f", Side(old), Side(new)))[3:]
    added = sum(line.startswith("+") for line in shown)
    assert line_counts(old, new) == (added, sum(line.startswith("-") for line in shown))


@given(contents, contents)
def test_with_no_effort_left_a_diff_is_longer_and_still_exact(old: bytes, new: bytes):
    before, after = b"first\n" + old, b"first\n" + new
    if before != after:
        (section,) = parse("".join(file_diff("f", Side(before), Side(after), Effort(0))))
        assert patched(section, before) == after


def test_a_diff_is_as_short_as_that_of_git(tmp_path: Path):
    old = "".join(f"line {number % 9}\n" for number in range(60))
    new = old.replace("line 3\n", "").replace("line 7\n", "line 7\nmore\n", 3)
    (tmp_path / "old").write_text(old)
    (tmp_path / "new").write_text(new)
    said = subprocess.run(
        ["git", "diff", "--no-index", "--numstat", "--minimal", "old", "new"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    ).stdout
    assert line_counts(old.encode(), new.encode()) == tuple(map(int, said.split()[:2]))


def test_hunks_have_three_lines_of_context_and_near_ones_are_one():
    old = b"".join(b"%d\n" % number for number in range(1, 31))
    new = (
        old.replace(b"\n5\n", b"\nfive\n")
        .replace(b"\n11\n", b"\n")
        .replace(b"\n25\n", b"\n25\n!\n")
    )
    assert [line for line in file_diff("f", Side(old), Side(new)) if line[0] == "@"] == [
        "@@ -2,13 +2,12 @@\n",
        "@@ -23,6 +22,7 @@\n",
    ]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (None, b"", ["new file mode 100644"]),
        (b"", None, ["deleted file mode 100644"]),
        (
            None,
            b"n",
            [
                "new file mode 100644",
                "--- /dev/null",
                "+++ b/f",
                "@@ -0,0 +1 @@",
                "+n",
                "\\ No newline at end of file",
            ],
        ),
        (
            b"o\n",
            None,
            ["deleted file mode 100644", "--- a/f", "+++ /dev/null", "@@ -1 +0,0 @@", "-o"],
        ),
        (b"same", b"same", []),
    ],
)
def test_a_file_that_comes_or_goes_has_one_side(
    old: bytes | None, new: bytes | None, shown: list[str]
):
    assert text(old, new).splitlines() == ["diff --git a/f b/f", *shown]


def test_a_mode_that_changed_is_said():
    shown = list(file_diff("f", Side(b"", 0o100644), Side(b"", 0o100755)))
    assert shown[1:] == ["old mode 100644\n", "new mode 100755\n"]


@pytest.mark.parametrize(
    "name", ["a b", "2024-01-01 10:00:00 +0000", "x 2024-01-01 10:00:00", 'q"q', "b\\s", "a b/b a"]
)
def test_a_name_is_read_as_it_was_written(name: str):
    (section,) = parse(text(b"1\n", b"2\n", name))
    assert section.path == name


@pytest.mark.threat("T18")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            b"".join(b"%d\n" % n for n in range(50_000)),
            b"".join(b"%d\n" % (n * 2) for n in range(50_000)),
        ),
        (b"y\n" + b"x\n" * 50_000 + b"z\n", b"q\n" + b"x\n" * 49_100 + b"r\n"),
        (
            b"".join(b"%d\n" % (n * n % 97) for n in range(50_000)),
            b"".join(b"%d\n" % (n * n % 101) for n in range(50_000)),
        ),
        (b"\n" * 1_000_000, b"x\n" * 1_000_000),
    ],
    ids=["every second line", "one line again and again", "few lines in disorder", "short lines"],
)
def test_hostile_contents_are_compared_in_time(old: bytes, new: bytes):
    started = time.monotonic()
    line_counts(old, new)
    assert time.monotonic() - started < 5


def test_a_large_file_with_far_edits_is_compared_line_by_line():
    lines = [b"%d\n" % n for n in range(20_000)]
    changed = [b"changed\n" if n % 2_000 == 7 else line for n, line in enumerate(lines)]
    assert line_counts(b"".join(lines), b"".join(changed)) == (10, 10)
    every_second = [b"x%d\n" % n if n % 2 else line for n, line in enumerate(lines)]
    assert line_counts(b"".join(lines), b"".join(every_second)) == (10_000, 10_000)
