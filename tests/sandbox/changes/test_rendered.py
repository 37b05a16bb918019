"""Facts about change sets as people see them: a line each, bounded, nothing forged or hidden."""

import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes.model import Change
from sandbox.changes.rendered import Bounds, diff, shown_path, stat, visible

Contents = dict[str, bytes]
OLD: Contents = {
    "m.py": b"one\ntwo\n",
    "gone.txt": b"last\nwords\n",
    "link": b"a.txt",
    "logo.png": b"\x89PNG\0",
    "latin.txt": b"caf\xe9\n",
    "run.sh": b"#!/bin/sh\n",
}
NEW: Contents = {
    "m.py": b"one\nTWO\nthree\n",
    "new.txt": b"n\nm\n",
    "new.sh": b"#!/bin/sh\n",
    "link": b"b.txt",
    "logo.png": b"\x89PNG\0\0",
    "latin.txt": b"caf\xe9s\n",
    "empty": b"",
    "run.sh": b"#!/bin/sh\n",
}


def changed(path: str, **more: object) -> Change:
    old, new = OLD.get(path), NEW.get(path)
    operation = "created" if old is None else "deleted" if new is None else "modified"
    modes = {"mode_before": 0o644 * (old is not None), "mode_after": 0o644 * (new is not None)}
    sizes = {"bytes_before": len(old or b""), "bytes_after": len(new or b"")}
    return Change(path, **{"operation": operation, "kind": "file", **modes, **sizes, **more})


def listed(*changes: Change, max_lines: int = 200) -> list[str]:
    return stat(changes, OLD.get, NEW.get, max_lines=max_lines).splitlines()


def shown(*changes: Change, bounds: Bounds | None = None) -> str:
    return diff(changes, OLD.get, NEW.get, bounds)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (changed("m.py"), "M m.py  +2 -1"),
        (changed("new.txt"), "A new.txt  +2"),
        (changed("gone.txt"), "D gone.txt  -2"),
        (changed("empty"), "A empty  empty"),
        (changed("new.sh", mode_after=0o755), "A new.sh  +1, mode 755"),
        (changed("new.sh", mode_after=0o4644), "A new.sh  +1, mode 4644"),
        (changed("m.py", mode_after=0o755), "M m.py  +2 -1, 644 -> 755"),
        (changed("run.sh", operation="attributes", mode_after=0o755), "T run.sh  644 -> 755"),
        (
            changed("run.sh", operation="attributes"),
            "T run.sh  owner, times or extended attributes",
        ),
        (changed("link", kind="symlink"), "M link  -> b.txt"),
        (changed("link", kind="symlink", operation="deleted"), "D link  -> a.txt"),
        (changed("logo.png"), "M logo.png  binary, 5 -> 6 bytes"),
        (changed("latin.txt"), "M latin.txt  not UTF-8, 5 -> 6 bytes"),
        (changed("unread", bytes_after=12_345), "A unread  12,345 bytes"),
        (Change("d", "created", "directory", mode_after=0o755), "A d/"),
        (
            Change("d", "attributes", "directory", mode_before=0o700, mode_after=0o755),
            "T d/  700 -> 755",
        ),
    ],
)
def test_a_change_is_a_line_with_what_matters_of_it(change: Change, line: str):
    assert listed(change)[0] == line


def test_the_last_line_has_the_totals():
    assert listed() == ["no changes"]
    assert listed(changed("m.py"))[-1] == "1 change: 1 modified; 8 -> 14 bytes"
    many = [changed(path) for path in ("gone.txt", "m.py", "new.txt")]
    assert listed(*many)[-1] == "3 changes: 1 created, 1 modified, 1 deleted; 19 -> 18 bytes"


def test_a_directory_is_not_listed_when_what_is_in_it_is():
    directory = Change("d", "created", "directory", mode_after=0o755)
    inner = Change("d/e/f", "created", "file")
    lines = listed(directory, directory._replace(path="d-e"), directory._replace(path="d/e"), inner)
    assert [line.split()[1] for line in lines[:-1]] == ["d-e/", "d/e/f"]


def test_what_is_left_out_is_counted_by_directory_and_small_directories_are_listed():
    paths = [f"node_modules/p{number}/x" for number in range(900)]
    paths += [f"src/{number}.py" for number in range(40)] + ["README.md", "setup.py"]
    many = [Change(path, "created", "file") for path in sorted(paths)]
    lines = listed(*many, max_lines=20)
    assert len(lines) == 22
    assert lines[:2] == ["A README.md  0 bytes", "A setup.py  0 bytes"]
    assert lines[2].startswith("A src/")
    assert lines[-2] == "... and 922 more, by directory: node_modules 900, src 22"


def test_many_directories_are_summed_up():
    many = [
        Change(f"d{number:02}/{file}", "created", "file") for number in range(30) for file in "abc"
    ]
    line = listed(*many, max_lines=0)[0]
    assert line == ("... and 90 more, by directory: d00 3, d01 3, d02 3, d03 3, d04 3, others 75")


def test_a_diff_shows_text_and_says_what_it_does_not_show():
    text = shown(
        changed("latin.txt"), changed("link", kind="symlink"), changed("logo.png"),
        changed("m.py"), changed("run.sh", operation="attributes", mode_after=0o755),
        changed("unread", operation="created", bytes_after=7, mode_after=0o644),
    )  # fmt: skip
    assert text == (
        "diff --git a/latin.txt b/latin.txt\n"
        "not shown: not UTF-8, 5 -> 6 bytes\n"
        "diff --git a/link b/link\n"
        "--- a/link\n+++ b/link\n@@ -1 +1 @@\n"
        "-a.txt\n\\ No newline at end of file\n+b.txt\n\\ No newline at end of file\n"
        "diff --git a/logo.png b/logo.png\n"
        "not shown: binary, 5 -> 6 bytes\n"
        "diff --git a/m.py b/m.py\n"
        "--- a/m.py\n+++ b/m.py\n@@ -1,2 +1,3 @@\n one\n-two\n+TWO\n+three\n"
        "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
        "diff --git a/unread b/unread\nnew file mode 100644\nnot shown: not read, 7 bytes\n"
    )


def test_a_new_link_is_shown_as_one():
    text = diff([Change("l", "created", "symlink")], {}.get, {"l": b"../etc"}.get)
    assert text.splitlines()[1] == "new file mode 120000"
    assert "+../etc\n" in text


def test_a_diff_is_bounded_in_files_bytes_and_characters():
    many = [changed("gone.txt"), changed("m.py"), changed("new.txt")]
    assert shown(*many, bounds=Bounds(files=1)).endswith(
        "-words\n... and 2 more files, not shown\n"
    )
    assert "not shown: larger than 5 bytes, 11 bytes\n" in shown(*many, bounds=Bounds(file_bytes=5))
    cut = shown(*many, bounds=Bounds(characters=200))
    assert cut.endswith(
        "... m.py is cut: 200 characters are shown\n... and 1 more files, not shown\n"
    )
    assert len(cut) < 300


def test_attributes_alone_are_said():
    text = shown(changed("run.sh", operation="attributes"))
    assert text.endswith("not shown: only owner, times or extended attributes\n")


def test_directories_have_no_diff():
    assert shown(Change("d", "created", "directory")) == ""


@pytest.mark.threat("T24")
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a\nD b.txt", '"a<U+000A>D b.txt"'),
        ("a\x1b[2K\rb", "a<U+001B>[2K<U+000D>b"),
        ("a\u202egpj.exe", "a<U+202E>gpj.exe"),
        ("a\u200bb", "a<U+200B>b"),
        ("a\u3164b\u00a0c\ufe01d\U000e0101", "a<U+3164>b<U+00A0>c<U+FE01>d<U+E0101>"),
        ("caf\udce9", "caf<0xE9>"),
        ("a  +9 -9", '"a  +9 -9"'),
        ('a" b', '"a<U+0022> b"'),
        ("<U+202E>", "<U+003C>U+202E>"),
        ("<0xE9>", "<U+003C>0xE9>"),
        ("a<b>c", "a<b>c"),
        ("名前.md", "名前.md"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_a_name_is_shown_on_one_line_as_what_it_is(path: str, line: str):
    assert shown_path(path) == line
    assert listed(Change(path, "created", "directory"))[0].startswith(f"A {line[:-1]}")


@pytest.mark.threat("T24")
@given(st.text(), st.binary(max_size=40), st.binary(max_size=40))
def test_no_name_and_no_content_forges_a_line(path: str, old: bytes, new: bytes):
    change = Change(path or "x", "modified", "file", len(old), len(new), 0o644, 0o644)
    lines = stat([change], lambda _: old, lambda _: new).split("\n")
    assert len(lines) == 3
    assert lines[0].startswith("M ")
    for line in diff([change], lambda _: old, lambda _: new).split("\n")[:-1]:
        assert re.match(r"diff --git |--- |\+\+\+ |@@ -|[ +-]|\\ No newline|not shown: ", line)
        assert line.replace("\t", "").isprintable()


@given(st.text(), st.text())
def test_texts_that_are_not_the_same_do_not_look_the_same(one: str, other: str):
    assert (visible(one) == visible(other)) == (one == other)


def test_indentation_and_letters_of_any_script_stay_readable():
    assert visible("\tif (x < y) { // größer", keep="\t") == "\tif (x < y) { // größer"


def test_ten_thousand_changes_are_listed_at_once_and_in_little_memory():
    many = [
        Change(f"d{number % 50}/f{number}", "modified", "file", 40, 44, 0o644, 0o644)
        for number in range(10_000)
    ]
    many.sort(key=lambda change: change.path)
    before, after = b"some line\n" * 4, b"some line\n" * 4 + b"more"
    started = time.monotonic()
    tracemalloc.start()
    try:
        text = stat(many, lambda _: before, lambda _: after)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 2  # 0.1 s, without the tracing and on a quiet machine
    assert peak < 8 << 20
    assert len(text.splitlines()) == 202


@pytest.mark.threat("T18")
def test_a_set_of_hostile_files_is_compared_in_time():
    old = b"".join(b"%d\n" % (n * n % 97) for n in range(20_000))
    new = b"".join(b"%d\n" % (n * n % 101) for n in range(20_000))
    many = [
        Change(f"f{number:03}", "modified", "file", 1, 2, 0o644, 0o644) for number in range(100)
    ]
    started = time.monotonic()
    text = stat(many, lambda _: old, lambda _: new)
    assert time.monotonic() - started < 20
    assert "M f000  +19,990 -19,990" in text
    assert text.count("1 -> 2 bytes") > 50  # the effort is spent: their lines are not counted
