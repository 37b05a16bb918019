"""Facts about exact edits: one place or none, the file's own conventions, no order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.patches.edits import Edit, by_path, edited
from sandbox.patches.lines import DiffError


def result(before: bytes, *edits: tuple[str, str]) -> bytes:
    found = by_path([Edit("f", old, new) for old, new in edits])["f"]
    if isinstance(found, DiffError):
        raise found
    return edited(found[1], before)


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        (b"a b c", [("b", "B")], b"a B c"),
        (b"a b c", [("c", "1"), ("a", "2")], b"2 b 1"),
        (b"a b c", [("a", ""), (" c", "!")], b" b!"),
        (b"a\r\nb\r\nc\r\n", [("a\nb", "x\ny")], b"x\r\ny\r\nc\r\n"),
        (b"a\r\nb\nc\r\n", [("b\n", "x\n")], b"a\r\nx\nc\r\n"),
        (b"\xef\xbb\xbfa\n", [("a", "b")], b"\xef\xbb\xbfb\n"),
        (b"caf\xe9 a", [("a", "b")], None),
        (b"caf\xe9 z", [("z", "b")], b"caf\xe9 b"),
        (b"no end", [("end", "stop")], b"no stop"),
    ],
)
def test_an_edit_changes_its_one_place(
    before: bytes, edits: list[tuple[str, str]], after: bytes | None
):
    if after is None:
        with pytest.raises(DiffError, match="ambiguous"):
            result(before, *edits)
    else:
        assert result(before, *edits) == after


@pytest.mark.threat("T21")
@pytest.mark.parametrize(
    ("before", "edits", "place", "message"),
    [
        (b"a\na\n", [("a", "b")], "edit 1", "lines 1, 2"),
        (b"aaa", [("aa", "b")], "edit 1", "ambiguous"),
        (b"a  b\n", [("a b", "c")], "edit 1", "line 1 is 'a  b'"),
        (b"x\n", [("y", "z")], "edit 1", "No line is like"),
        (b"abc", [("ab", "x"), ("bc", "y")], "edit 2", "overlaps"),
        (b"caf\xe9 z", [("z", "é")], "f", "two encodings"),
        (b"a\0b", [("a", "c")], "f", "NUL"),
        (b"a", [("a", "a")], "edit 1", "same text"),
        (b"a", [("a", "\0")], "edit 1", "NUL"),
        (b"a", [("a", "\ud800")], "edit 1", "surrogate"),
        (b"a", [("", "x"), ("a", "b")], "edit 1", "creates 'f'"),
    ],
)
def test_an_edit_without_one_place_is_refused(
    before: bytes, edits: list[tuple[str, str]], place: str, message: str
):
    with pytest.raises(DiffError) as caught:
        result(before, *edits)
    assert caught.value.place == place
    assert message in caught.value.message


@pytest.mark.threat("T21")
@pytest.mark.parametrize("path", ["../f", "/f", "a//b", "./f", "", "a\nb", "a\u202eb", "a/.."])
def test_an_edit_outside_of_the_root_is_refused(path: str):
    assert isinstance(by_path([Edit(path, "a", "b")])[path], DiffError)


def test_no_edits_are_refused():
    with pytest.raises(DiffError, match="there is none"):
        by_path([])


@given(st.text("ab\n", max_size=30), st.text("ab\n", min_size=1, max_size=4), st.text("xy"))
def test_an_edit_is_replace_or_refused(before: str, old: str, new: str):
    places = sum(before.startswith(old, at) for at in range(len(before)))
    if places == 1:
        assert result(before.encode(), (old, new)) == before.replace(old, new).encode()
    else:
        with pytest.raises(DiffError):
            result(before.encode(), (old, new))
