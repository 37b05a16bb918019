"""Facts about reading diffs: total, strict, and the inverse of writing them."""

import contextlib
import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.patches.diffs import parse, parse_each
from sandbox.patches.lines import DiffError
from sandbox.patches.matching import patched

lines = st.lists(
    st.sampled_from(["a", "b", "", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "é\u2028", " s", "\\ No"]),
    max_size=12,
)
PIECES = ["--- a/x\n", "+++ b/x\n", "@@ -1 +1 @@\n", "@@ -0,0 +1,2 @@\n", " a\n", "-a\n", "+b\n"]
MORE = ["\\ No newline at end of file\n", "diff --git a/x b/x\n", "new file mode 100644\n", "\n"]
HEADS = [
    "rename from x\n", "rename to y\n", "copy from x\n", "copy to y\n", "old mode 100644\n",
    "new mode 100755\n", "index 1..2 120000\n", "similarity index 1%\n", "GIT binary patch\n",
    "literal 1\n", "Binary files a/x and b/x differ\n", "Index: x\n", "===\n", "Only in a: b\n",
    "diff -r a b\n", "diff --cc x\n", "--- x\t(nonexistent)\n", '+++ "b/x\\303\\251"\n', "-- \n",
    "diff --git a/x b/y\n", "diff --git x x\n", "+++ x\t1970-01-01 00:00:00 +9999\n", "@@@ -1\n",
]  # fmt: skip


def written(before: str, after: str) -> str:
    made = difflib.unified_diff(split(before), split(after), "a/x", "b/x")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made
    )


def split(text: str) -> list[str]:
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


@settings(deadline=None)
@given(lines, lines, st.booleans(), st.booleans())
def test_a_written_diff_gives_the_text_it_was_made_from(
    old: list[str],
    new: list[str],
    old_end: bool,
    new_end: bool,  # drawn
):
    before = "\n".join(["0", *old]) + "\n" * old_end
    after = "\n".join(["0", *new]) + "\n" * new_end
    if before != after:
        (section,) = parse(written(before, after))
        assert patched(section, before.encode()) == after.encode()


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *MORE, *HEADS, "garbage\n", '--- "a/\n'])))
def test_any_sequence_of_heads_is_read_as_one_or_section_by_section(pieces: list[str]):
    with contextlib.suppress(DiffError):
        each = parse_each("".join(pieces))
        if any(isinstance(one, DiffError) for one in each):
            with pytest.raises(DiffError):
                parse("".join(pieces))
        else:
            assert parse("".join(pieces)) == each


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *MORE, "garbage\n", "rename to x\n", '--- "a/\n'])))
def test_any_sequence_of_diff_lines_is_read_or_refused(pieces: list[str]):
    with contextlib.suppress(DiffError):
        for section in parse("".join(pieces)):
            patched(section, b"a\n")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str):
    with contextlib.suppress(DiffError):
        parse(text)


@pytest.mark.threat("T21")
@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x0c", "\x85", "\r", "\x1c"])
def test_only_lf_ends_a_line_so_no_section_hides(separator: str):
    hidden = f"+a{separator}--- a/evil{separator}+++ b/evil{separator}@@ -1 +1 @@{separator}-x\n"
    (section,) = parse(f"--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n{hidden}")
    assert section.path == "x"
    assert len(section.hunks[0].new) == 2


def test_a_diff_that_is_too_long_is_refused():
    with pytest.raises(DiffError, match="split it"):
        parse("x" * ((10 << 20) + 1))
