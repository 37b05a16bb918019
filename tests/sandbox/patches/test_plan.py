"""Facts about patches: exact or refused, planned from the paths a policy saw, shown as applied."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from sandbox.action import PatchFiles
from sandbox.patches.edits import Edit
from sandbox.patches.plan import PatchRefused, named_paths, plan, preview

FILES: dict[str, bytes] = {
    "a.txt": b"one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n",
    "b.txt": b"x\ny\nx\ny\nx\ny\n",
    "crlf.txt": b"one\r\ntwo\r\nthree\r\n",
    "mixed.txt": b"one\r\ntwo\nthree\r\n",
    "bare.txt": b"one\ntwo",
    "bom.txt": b"\xef\xbb\xbfone\ntwo\n",
    "empty.txt": b"",
    "latin.txt": b"caf\xe9\nplain\n",
    "nul.bin": b"one\0two\n",
    "dir/c.txt": b"alpha\nbeta\n",
    "with space.txt": b"s\n",
    "sep.txt": "a\u2028b\nc\n".encode(),
    "dash.sql": b"-- one\n-- two\nselect;\n",
}


def make_tree(root: Path) -> None:
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "link.txt").symlink_to("a.txt")
    (root / "linkdir").symlink_to("dir")
    (root / "hard1.txt").write_bytes(b"one\n")
    os.link(root / "hard1.txt", root / "hard2.txt")
    os.mkfifo(root / "fifo")
    (root / "setid").write_bytes(b"one\n")
    (root / "setid").chmod(0o4755)
    (root / "big.txt").write_bytes(b"x" * 79 + b"\n")
    with (root / "big.txt").open("ab") as file:
        file.truncate((5 << 20) + 1)


def one(path: str, body: str, header: str = "") -> str:
    """One section for an existing file."""
    return f"{header}--- a/{path}\n+++ b/{path}\n{body}"


NNL = "\\ No newline at end of file\n"
GOOD: dict[str, tuple[str, dict[str, bytes | None]]] = {
    "middle": (
        one("a.txt", "@@ -2,3 +2,3 @@\n two\n-three\n+THREE\n four\n"),
        {"a.txt": FILES["a.txt"].replace(b"three", b"THREE")},
    ),
    "first line": (
        one("a.txt", "@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n"),
        {"a.txt": FILES["a.txt"].replace(b"one", b"ONE")},
    ),
    "last line": (
        one("a.txt", "@@ -7,2 +7,2 @@\n seven\n-eight\n+EIGHT\n"),
        {"a.txt": FILES["a.txt"].replace(b"eight", b"EIGHT")},
    ),
    "append": (
        one("a.txt", "@@ -8 +8,2 @@\n eight\n+nine\n"),
        {"a.txt": FILES["a.txt"] + b"nine\n"},
    ),
    "prepend": (
        one("a.txt", "@@ -1 +1,2 @@\n+zero\n one\n"),
        {"a.txt": b"zero\n" + FILES["a.txt"]},
    ),
    "two hunks": (
        one(
            "a.txt",
            "@@ -1,2 +1,3 @@\n one\n+new\n two\n@@ -7,2 +8,1 @@ section words\n seven\n-eight\n",
        ),
        {"a.txt": b"one\nnew\ntwo\nthree\nfour\nfive\nsix\nseven\n"},
    ),
    "adjacent hunks": (
        one("a.txt", "@@ -1,2 +1,2 @@\n-one\n+1\n two\n@@ -3,2 +3,2 @@\n-three\n+3\n four\n"),
        {"a.txt": b"1\ntwo\n3\nfour\nfive\nsix\nseven\neight\n"},
    ),
    "stripped context space": (
        one("a.txt", "@@ -1,2 +1,3 @@\n one\n+\n two\n"),
        {"a.txt": FILES["a.txt"].replace(b"one\n", b"one\n\n")},
    ),
    "crlf file, crlf lines": (
        one("crlf.txt", "@@ -1,3 +1,3 @@\n one\r\n-two\r\n+TWO\r\n three\r\n"),
        {"crlf.txt": b"one\r\nTWO\r\nthree\r\n"},
    ),
    "mixed ends stay mixed": (
        one("mixed.txt", "@@ -1,3 +1,3 @@\n one\r\n-two\n+TWO\n three\r\n"),
        {"mixed.txt": b"one\r\nTWO\nthree\r\n"},
    ),
    "missing final newline stays": (
        one("bare.txt", f"@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n{NNL}"),
        {"bare.txt": b"ONE\ntwo"},
    ),
    "final newline added": (
        one("bare.txt", f"@@ -1,2 +1,2 @@\n one\n-two\n{NNL}+two\n"),
        {"bare.txt": b"one\ntwo\n"},
    ),
    "final newline removed": (
        one("a.txt", f"@@ -7,2 +7,2 @@\n seven\n-eight\n+eight\n{NNL}"),
        {"a.txt": FILES["a.txt"][:-1]},
    ),
    "byte order mark named": (
        one("bom.txt", "@@ -1,2 +1,2 @@\n \ufeffone\n-two\n+TWO\n"),
        {"bom.txt": b"\xef\xbb\xbfone\nTWO\n"},
    ),
    "line separator is no line end": (
        one("sep.txt", "@@ -1,2 +1,2 @@\n a\u2028b\n-c\n+d\n"),
        {"sep.txt": "a\u2028b\nd\n".encode()},
    ),
    "ASCII part of a Latin-1 file": (
        one("latin.txt", "@@ -2 +2,2 @@\n plain\n+more\n"),
        {"latin.txt": b"caf\xe9\nplain\nmore\n"},
    ),
    "removed lines that look like headers": (
        one("dash.sql", "@@ -1,3 +1,1 @@\n--- one\n--- two\n select;\n"),
        {"dash.sql": b"select;\n"},
    ),
    "added line that looks like a header": (
        one("dash.sql", "@@ -3 +3,2 @@\n select;\n+++ x\n"),
        {"dash.sql": b"-- one\n-- two\nselect;\n++ x\n"},
    ),
    "git create": (
        "diff --git a/n.txt b/n.txt\nnew file mode 100644\nindex 0000000..1111111\n"
        "--- /dev/null\n+++ b/n.txt\n@@ -0,0 +1,2 @@\n+n\n+m\n",
        {"n.txt": b"n\nm\n"},
    ),
    "git create executable": (
        "diff --git a/n.sh b/n.sh\nnew file mode 100755\n--- /dev/null\n+++ b/n.sh\n"
        "@@ -0,0 +1 @@\n+#!/bin/sh\n",
        {"n.sh": b"#!/bin/sh\n"},
    ),
    "git create empty": (
        "diff --git a/n b/n\nnew file mode 100644\nindex 0000000..e69de29\n",
        {"n": b""},
    ),
    "create in new directories": (
        "--- /dev/null\n+++ b/p/q/n.txt\n@@ -0,0 +1 @@\n+n\n",
        {"p/q/n.txt": b"n\n"},
    ),
    "create without final newline": (
        f"--- /dev/null\n+++ b/n.txt\n@@ -0,0 +1 @@\n+n\n{NNL}",
        {"n.txt": b"n"},
    ),
    "create with crlf": (
        "--- /dev/null\n+++ b/n.txt\n@@ -0,0 +1 @@\n+n\r\n",
        {"n.txt": b"n\r\n"},
    ),
    "fill an empty file": (
        one("empty.txt", "@@ -0,0 +1 @@\n+n\n"),
        {"empty.txt": b"n\n"},
    ),
    "empty a file": (
        one("bare.txt", f"@@ -1,2 +0,0 @@\n-one\n-two\n{NNL}"),
        {"bare.txt": b""},
    ),
    "delete": (
        "diff --git a/dir/c.txt b/dir/c.txt\ndeleted file mode 100644\n--- a/dir/c.txt\n"
        "+++ /dev/null\n@@ -1,2 +0,0 @@\n-alpha\n-beta\n",
        {"dir/c.txt": None},
    ),
    "git delete empty": (
        "diff --git a/empty.txt b/empty.txt\ndeleted file mode 100644\nindex e69de29..0000000\n",
        {"empty.txt": None},
    ),
    "name with a space": (
        "--- a/with space.txt\t\n+++ b/with space.txt\t\n@@ -1 +1 @@\n-s\n+t\n",
        {"with space.txt": b"t\n"},
    ),
    "quoted name": (
        '--- /dev/null\n+++ "b/caf\\303\\251.txt"\n@@ -0,0 +1 @@\n+n\n',
        {"café.txt": b"n\n"},
    ),
    "rename": (
        "diff --git a/a.txt b/z.txt\nsimilarity index 100%\nrename from a.txt\nrename to z.txt\n",
        {"a.txt": None, "z.txt": FILES["a.txt"]},
    ),
    "three files": (
        one("a.txt", "@@ -1,2 +1,1 @@\n-one\n two\n")
        + one("dir/c.txt", "@@ -1,2 +1,2 @@\n alpha\n-beta\n+gamma\n")
        + "--- /dev/null\n+++ b/n.txt\n@@ -0,0 +1 @@\n+n\n",
        {
            "a.txt": FILES["a.txt"].removeprefix(b"one\n"),
            "dir/c.txt": b"alpha\ngamma\n",
            "n.txt": b"n\n",
        },
    ),
}
# What git apply reads otherwise: it moves a hunk without trailing context to the end of the file,
# and knows no convention of a file that the diff leaves out.
KEPT: dict[str, tuple[str, dict[str, bytes | None]]] = {
    "repeated lines at the place said": (
        one("b.txt", "@@ -3,2 +3,2 @@\n x\n-y\n+z\n"),
        {"b.txt": b"x\ny\nx\nz\nx\ny\n"},
    ),
    "crlf file, lf diff": (
        one("crlf.txt", "@@ -1,3 +1,4 @@\n one\n-two\n+TWO\n+more\n three\n"),
        {"crlf.txt": b"one\r\nTWO\r\nmore\r\nthree\r\n"},
    ),
    "byte order mark left out": (
        one("bom.txt", "@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n"),
        {"bom.txt": b"\xef\xbb\xbfONE\ntwo\n"},
    ),
    "no prefixes": (
        "--- a.txt\n+++ a.txt\n@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n",
        {"a.txt": FILES["a.txt"].replace(b"one", b"ONE")},
    ),
    "last line of the diff without its end": (
        one("a.txt", "@@ -8 +8,2 @@\n eight\n+nine"),
        {"a.txt": FILES["a.txt"] + b"nine\n"},
    ),
}
BROKEN: dict[str, tuple[str, str, str]] = {
    "empty": ("", "diff", "no file section"),
    "prose": ("please change a.txt\n", "diff line 1", "expected a file header"),
    "fenced": ("```diff\n" + one("a.txt", "@@ -8 +8,2 @@\n eight\n+n\n"), "diff line 1", "header"),
    "trailing prose": (
        one("a.txt", "@@ -8 +8,2 @@\n eight\n+nine\n") + "done\n",
        "diff line 6",
        "header",
    ),
    "count too low": (
        one("a.txt", "@@ -8 +8 @@\n eight\n+nine\n"),
        "diff line 5",
        "outside of the line counts",
    ),
    "count too high": (
        one("a.txt", "@@ -7,3 +7,4 @@\n seven\n eight\n+nine\n"),
        "diff line 3",
        "ends before",
    ),
    "old count too high for the lines": (
        one("a.txt", "@@ -1,2 +1,1 @@\n one\n one\n"),
        "diff line 3",
        "make the counts exact",
    ),
    "wrong context": (
        one("a.txt", "@@ -2,2 +2,2 @@\n twoo\n-three\n+THREE\n"),
        "diff line 3",
        "line 2 is 'two'",
    ),
    "wrong removed line": (
        one("a.txt", "@@ -2,2 +2,1 @@\n two\n-threee\n"),
        "diff line 3",
        "line 3 is 'three'",
    ),
    "white space differs": (
        one("a.txt", "@@ -2,2 +2,1 @@\n  two\n-three\n"),
        "diff line 3",
        "other white space",
    ),
    "relocated": (
        one("a.txt", "@@ -5,2 +5,2 @@\n two\n-three\n+THREE\n"),
        "diff line 3",
        "write -2",
    ),
    "relocated by one": (
        one("a.txt", "@@ -3,2 +3,2 @@\n two\n-three\n+THREE\n"),
        "diff line 3",
        "are at line 2",
    ),
    "ambiguous": (
        one("b.txt", "@@ -2,2 +2,2 @@\n x\n-y\n+z\n"),
        "diff line 3",
        "ambiguous: its lines are at",
    ),
    "past the end": (
        one("a.txt", "@@ -20,1 +20,2 @@\n eleven\n+twelve\n"),
        "diff line 3",
        "does not match",
    ),
    "no context": (one("a.txt", "@@ -3,0 +4 @@\n+new\n"), "diff line 3", "without context"),
    "behind the end of an empty file": (
        one("empty.txt", "@@ -7,0 +8 @@\n+new\n"),
        "diff line 3",
        "without context",
    ),
    "no line numbers": (one("a.txt", "@@ @@\n one\n+new\n"), "diff line 3", "not a hunk header"),
    "wrong new start": (
        one("a.txt", "@@ -2,2 +9,2 @@\n two\n-three\n+THREE\n"),
        "diff line 3",
        "its place is +2",
    ),
    "hunks out of order": (
        one("a.txt", "@@ -7,2 +7,1 @@\n seven\n-eight\n@@ -1,2 +1,1 @@\n-one\n two\n"),
        "diff line 6",
        "overlaps or precedes",
    ),
    "overlapping hunks": (
        one("a.txt", "@@ -1,2 +1,1 @@\n-one\n two\n@@ -2,2 +1,1 @@\n two\n-three\n"),
        "diff line 6",
        "overlaps or precedes",
    ),
    "changes nothing": (one("a.txt", "@@ -1 +1 @@\n one\n"), "diff line 3", "changes nothing"),
    "no hunks": ("--- a/a.txt\n+++ b/a.txt\n", "diff line 1", "no hunks"),
    "two sections for one file": (
        one("a.txt", "@@ -1 +1 @@\n-one\n+1\n") + one("a.txt", "@@ -2 +2 @@\n-two\n+2\n"),
        "diff line 6",
        "second section",
    ),
    "hidden behind a hunk": (
        one("a.txt", "@@ -1 +1 @@\n-one\n+1\n") + "junk\n" + one("b.txt", "@@ -1 +1 @@\n-x\n+1\n"),
        "diff line 6",
        "expected a file header",
    ),
    "create over existing": (
        "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+n\n",
        "diff line 1",
        "exists",
    ),
    "create with old lines": (
        "--- /dev/null\n+++ b/n.txt\n@@ -1 +1 @@\n-o\n+n\n",
        "diff line 3",
        "has old lines",
    ),
    "modify absent": (one("nope.txt", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "does not exist"),
    "modify below absent": (
        one("no/pe.txt", "@@ -1 +1 @@\n-o\n+n\n"),
        "diff line 1",
        "does not exist",
    ),
    "delete absent": (
        "--- a/nope.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-o\n",
        "diff line 1",
        "does not exist",
    ),
    "delete only part": (
        "--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n",
        "diff line 3",
        "7 of its lines",
    ),
    "delete leaves lines": (
        "--- a/dir/c.txt\n+++ /dev/null\n@@ -1,2 +1 @@\n alpha\n-beta\n",
        "diff line 3",
        "leaves",
    ),
    "climbs": (one("../a.txt", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "climbs out"),
    "climbs inside": (one("dir/../a.txt", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "climbs out"),
    "absolute": (
        "--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-o\n+n\n",
        "diff line 1",
        "is absolute",
    ),
    "absolute behind the prefix": (
        one("/etc/passwd", "@@ -1 +1 @@\n-o\n+n\n"),
        "diff line 1",
        "is absolute",
    ),
    "dot component": (one("./a.txt", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "'.' component"),
    "double slash": (one("dir//c.txt", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "empty or '.'"),
    "directory": (one("dir", "@@ -1 +1 @@\n-o\n+n\n"), "diff line 1", "is a directory"),
    "symlink": (one("link.txt", "@@ -1 +1 @@\n-one\n+1\n"), "diff line 1", "symbolic link"),
    "through a symlink": (
        one("linkdir/c.txt", "@@ -1 +1 @@\n-alpha\n+1\n"),
        "diff line 1",
        "symbolic link to 'dir'",
    ),
    "create through a symlink": (
        "--- /dev/null\n+++ b/linkdir/n.txt\n@@ -0,0 +1 @@\n+n\n",
        "diff line 1",
        "symbolic link",
    ),
    "hard link": (one("hard1.txt", "@@ -1 +1 @@\n-one\n+1\n"), "diff line 1", "hard links"),
    "fifo": (one("fifo", "@@ -1 +1 @@\n-one\n+1\n"), "diff line 1", "FIFO"),
    "set-id": (one("setid", "@@ -1 +1 @@\n-one\n+1\n"), "diff line 1", "set-id"),
    "too large": (one("big.txt", "@@ -1 +1 @@\n-one\n+1\n"), "diff line 1", "larger than"),
    "NUL in the file": (one("nul.bin", "@@ -1 +1 @@\n-one\n+1\n"), "nul.bin", "NUL"),
    "NUL in the diff": (one("a.txt", "@@ -1 +1 @@\n-one\n+1\0\n"), "diff", "NUL"),
    "mixed encodings": (
        one("latin.txt", "@@ -2 +2 @@\n-plain\n+pläin\n"),
        "latin.txt",
        "two encodings",
    ),
    "binary patch": (
        "diff --git a/x b/x\nnew file mode 100644\nGIT binary patch\nliteral 1\nIcmZ\n",
        "diff line 3",
        "binary patches",
    ),
    "binary differ": (
        "diff --git a/x b/x\nBinary files a/x and b/x differ\n",
        "diff line 2",
        "binary patches",
    ),
    "rename by headers": (
        "--- a/a.txt\n+++ b/z.txt\n@@ -1 +1 @@\n-one\n+1\n",
        "diff line 1",
        "does not rename",
    ),
    "mode change": (
        "diff --git a/a.txt b/a.txt\nold mode 100644\nnew mode 100755\n",
        "diff line 2",
        "modes",
    ),
    "symlink created": (
        "diff --git a/n b/n\nnew file mode 120000\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+/etc\n",
        "diff line 1",
        "only regular files",
    ),
    "set-id created": (
        "diff --git a/n b/n\nnew file mode 104755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n",
        "diff line 1",
        "only regular files",
    ),
    "git line names another file": (
        one("a.txt", "@@ -1 +1 @@\n-one\n+1\n", "diff --git a/b.txt b/b.txt\n"),
        "diff line 1",
        "names another file",
    ),
    "mode lines that do not fit": (
        one(
            "a.txt", "@@ -1 +1 @@\n-one\n+1\n", "diff --git a/a.txt b/a.txt\nnew file mode 100644\n"
        ),
        "diff line 1",
        "do not fit",
    ),
    "joined lines": (
        one("a.txt", f"@@ -1,2 +1,2 @@\n-one\n+ONE\n{NNL} two\n"),
        "diff line 3",
        "last line",
    ),
    "joined with the rest": (
        one("a.txt", f"@@ -1 +1 @@\n-one\n+ONE\n{NNL}"),
        "diff line 3",
        "would be joined",
    ),
    "newline at the end not there": (
        one("bare.txt", "@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n"),
        "diff line 3",
        "no newline",
    ),
    "crlf diff for an lf file": (
        one("a.txt", "@@ -1,2 +1,2 @@\n-one\r\n+ONE\r\n two\r\n"),
        "diff line 3",
        "ends in LF",
    ),
    "unknown backslash line": (
        one("a.txt", "@@ -1 +1 @@\n-one\n\\ kein Zeilenende\n+1\n"),
        "diff line 5",
        "starts with",
    ),
    "bidirectional override in the name": (
        "--- /dev/null\n+++ b/a\u202etxt.sh\n@@ -0,0 +1 @@\n+n\n",
        "diff line 1",
        "do not display",
    ),
    "newline in the name": (
        '--- /dev/null\n+++ "b/a\\nb"\n@@ -0,0 +1 @@\n+n\n',
        "diff line 1",
        "do not display",
    ),
    "file below a file": (
        "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+n\n--- /dev/null\n+++ b/n/m\n@@ -0,0 +1 @@\n+n\n",
        "diff line 5",
        "lies below",
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "w"
    place.mkdir()
    make_tree(place)
    return place


def planned(root: Path, change: str | list[Edit]) -> PatchFiles:
    answer = plan(str(root), change, "policy")
    assert isinstance(answer, PatchFiles), answer
    return answer


@pytest.mark.as_user
@pytest.mark.parametrize("name", [*GOOD, *KEPT])
def test_an_exact_diff_gives_exact_bytes(root: Path, name: str):
    diff, expected = (GOOD | KEPT)[name]
    found = {file.path: file.after for file in planned(root, diff).files}
    assert found == expected


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("name", BROKEN)
def test_an_inexact_diff_is_refused_with_its_place(root: Path, name: str):
    diff, place, message = BROKEN[name]
    answer = plan(str(root), diff, "policy")
    assert isinstance(answer, PatchRefused)
    assert answer.place == place
    assert message in answer.message


@pytest.mark.parametrize("name", GOOD)
def test_git_apply_agrees_on_what_is_accepted(root: Path, name: str):
    diff, expected = GOOD[name]
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-p1", "-"],
        input=diff.encode(),
        cwd=root,
        check=True,
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(root.parent), "HOME": "/"},
    )
    for path, content in expected.items():
        assert ((root / path).read_bytes() if (root / path).exists() else None) == content


@pytest.mark.parametrize("name", [*GOOD, *KEPT])
def test_the_preview_is_a_diff_that_gives_the_same_bytes(root: Path, name: str):
    diff, expected = (GOOD | KEPT)[name]
    shown = preview(planned(root, diff))
    assert isinstance(shown, str)
    if name == "ASCII part of a Latin-1 file":
        assert "caf\\xe9" in shown  # a person sees it; no text diff could name that byte
        return
    again = {file.path: file.after for file in planned(root, shown).files}
    assert again == expected


@pytest.mark.threat("T21")
def test_the_paths_are_known_before_any_file_is_read():
    diff, _ = GOOD["three files"]
    assert named_paths(diff) == (
        ("modify", "a.txt"),
        ("modify", "dir/c.txt"),
        ("create", "n.txt"),
    )
    assert named_paths([Edit("z", "", "new"), Edit("y", "a", "b")]) == (
        ("create", "z"),
        ("modify", "y"),
    )


def test_what_has_no_exact_paths_is_refused_before_any_decision():
    answer = named_paths(one("../a", "@@ -1 +1 @@\n-o\n+n\n"))
    assert answer == PatchRefused(
        "diff line 1", "'../a' climbs out with '..'; name the file below the workspace"
    )


def test_a_plan_names_the_digest_of_what_it_read(root: Path):
    (file,) = planned(root, GOOD["middle"][0]).files
    assert file.before_sha256 == hashlib.sha256(FILES["a.txt"]).hexdigest()


def test_a_preview_of_a_file_that_changed_is_refused(root: Path):
    made = planned(root, GOOD["middle"][0])
    (root / "a.txt").write_bytes(b"other\n")
    assert preview(made) == PatchRefused("a.txt", "changed since the patch was planned; plan again")


def test_a_root_that_is_a_symlink_is_refused(root: Path):
    (root.parent / "alias").symlink_to(root)
    answer = plan(str(root.parent / "alias"), GOOD["middle"][0], "policy")
    assert isinstance(answer, PatchRefused)
    assert "symbolic link" in answer.message


@pytest.mark.as_user
def test_edits_plan_like_a_diff(root: Path):
    edits = [
        Edit("a.txt", "two", "TWO"),
        Edit("dir/n.txt", "", "new\n"),
        Edit("a.txt", "four\n", ""),
        Edit("crlf.txt", "one\ntwo", "1\n2"),
    ]
    found = {file.path: file.after for file in planned(root, edits).files}
    assert found == {
        "a.txt": b"one\nTWO\nthree\nfive\nsix\nseven\neight\n",
        "dir/n.txt": b"new\n",
        "crlf.txt": b"1\r\n2\r\nthree\r\n",
    }


@pytest.mark.threat("T21")
@pytest.mark.parametrize(
    ("edits", "place", "message"),
    [
        ([Edit("a.txt", "", "x")], "edit 1", "exists"),
        ([Edit("nope", "a", "x")], "edit 1", "does not exist"),
        ([Edit("a.txt", "one", "1"), Edit("link.txt", "one", "x")], "edit 2", "symbolic link"),
        ([Edit("hard1.txt", "one", "x")], "edit 1", "hard links"),
        ([Edit("n", "", "x"), Edit("n/m", "", "x")], "edit 2", "lies below"),
        ([Edit("n", "", "x" * ((5 << 20) + 1))], "edit 1", "larger than"),
        ([Edit(f"n{n}", "", "x") for n in range(501)], "patch", "split it"),
    ],
)
def test_an_edit_that_cannot_be_exact_is_refused(
    root: Path, edits: list[Edit], place: str, message: str
):
    answer = plan(str(root), edits, "policy")
    assert isinstance(answer, PatchRefused)
    assert answer.place == place
    assert message in answer.message


def test_a_root_that_is_not_there_is_refused_with_its_name(root: Path):
    answer = plan(f"{root}/nope", GOOD["middle"][0], "policy")
    assert isinstance(answer, PatchRefused)
    assert "nope" in answer.message


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_preview_of_a_long_file_is_still_a_diff_of_it(root: Path, end: str):
    text = "".join(f"line {n % 7}\n" for n in range(30_000)) + f"last{end}"
    (root / "long").write_text(text)
    made = planned(root, [Edit("long", f"last{end}", f"end{end}")])
    shown = preview(made)
    assert isinstance(shown, str)
    assert len(shown.splitlines()) < 12
    assert "+end" in shown


def test_the_preview_names_a_file_that_became_a_link(root: Path):
    made = planned(root, GOOD["middle"][0])
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to("b.txt")
    answer = preview(made)
    assert isinstance(answer, PatchRefused)
    assert answer.place == "a.txt"


def test_messages_for_a_file_too_large_to_search_name_the_line_said(root: Path):
    old = "".join(f" y{n}\n" for n in range(300))
    (root / "wide").write_text("z\n" * 20_000)
    answer = plan(str(root), one("wide", f"@@ -7,300 +7,301 @@\n{old}+new\n"), "policy")
    assert isinstance(answer, PatchRefused)
    assert "line 7 is 'z', where the diff has 'y0'" in answer.message


@pytest.mark.threat("T06")
def test_a_hostile_hunk_is_refused_in_time(root: Path):
    (root / "wide").write_text("x\n" * 1_000_000)
    old = " x\n" * 400_000 + " y\n"
    started = time.monotonic()
    answer = plan(str(root), one("wide", f"@@ -1,400001 +1,400002 @@\n{old}+new\n"), "policy")
    assert isinstance(answer, PatchRefused)
    assert time.monotonic() - started < 10


def test_a_preview_of_a_root_that_is_gone_is_refused(root: Path):
    made = planned(root, GOOD["middle"][0])
    root.rename(root.parent / "elsewhere")
    assert isinstance(preview(made), PatchRefused)
