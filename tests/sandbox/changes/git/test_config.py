"""Facts about configurations: git itself is the oracle of what a text means."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.changes.git.config import EXISTING, GITMODULES, NEW, is_address, unexplained
from tests.sandbox.changes.git.repositories import ENVIRONMENT

Entries = list[tuple[str, str, str]]  # (section with `.*` for a name, key, value)
MAY_GO = ("branch.*", "remote.*", "submodule.*")


def git_config(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "config", "-f", file, *arguments], env=ENVIRONMENT, check=False,
        capture_output=True, text=True, errors="surrogateescape",
    )  # fmt: skip


def entries(file: Path, text: bytes) -> Entries | None:
    """Return what git reads from a text; None when it refuses it."""
    file.write_bytes(text)
    done = git_config(file, "--list", "--null")
    if done.returncode != 0:
        return None
    found = []
    for entry in done.stdout.split("\0")[:-1]:
        name, _, value = entry.partition("\n")
        section, _, rest = name.partition(".")
        below, _, key = rest.rpartition(".")
        found.append((f"{section}.*" if "." in rest else section, key, value or below))
    return found


def others(found: Entries) -> Entries:
    """Return the entries that git may not write by itself."""
    return [e for e in found if not ((check := EXISTING.get(e[:2])) and check(e[2]))]


PIECES = st.sampled_from(
    [
        "[core]", '[remote "up"]', '[branch "main"]', "[branch.main]", '[submodule "s"]', "[alias]",
        '[remote "a\\"b"]', '[Remote "up"]', "[core] url = x", " [core]", '[remote "up"',
        "\tfsmonitor = ./x", "\turl = a", "\turl = b", "\turl = ext::x", "\tmerge = refs/heads/x",
        "\tactive = true", "\tupdate = !x", '\turl = "a;b"', "\turl = a;b", "\turl = a \\", "url=c",
        "\turl = a\\", "\turl = a\\\\", "\tURL = q", "# remark \\", "; remark", "", " ", "\turl",
        '\turl = "a', '\turl = a"', '\turl = "a" "b"', "\turl = \\n", "\tst = !x", "\r", "\ufeff",
        "\turl = a # b", "\tdescription = x\\n[core]", "\x0b", "[", "]", "\turl = a\\ \\",
    ]
)  # fmt: skip
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from(["\n", "\n", "\n", "\r\n", ""])), max_size=9)


@given(TEXTS, st.data())
@settings(max_examples=200)
def test_what_passes_means_the_same_to_git_but_for_what_git_may_write(
    tmp_path_factory: pytest.TempPathFactory, before: list[tuple[str, str]], data: st.DataObject
):
    after = list(before)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(after)))
        after[place : place + data.draw(st.integers(0, 2))] = data.draw(TEXTS.map(lambda t: t[:2]))
    old, new = ("".join(a + b for a, b in lines).encode() for lines in (before, after))
    if unexplained(old, new, EXISTING):
        return
    file = tmp_path_factory.getbasetemp() / "oracle"
    was = entries(file, old)
    if was is None:
        return  # git would have run nothing here
    found = entries(file, new)
    assert found is not None
    waiting = iter(others(was))
    for entry in others(found):
        lost = []
        while (known := next(waiting, None)) != entry:
            assert known is not None, f"{entry} is new in {new!r}"
            lost.append(known)
        assert all(section in MAY_GO for section, _, _ in lost)
    assert all(section in MAY_GO for section, _, _ in waiting)


PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)
VALUES = st.text(st.one_of(PRINTABLE, st.sampled_from('\n\t"\\;# =[]')), max_size=12)
NAMES = st.text(st.one_of(PRINTABLE, st.sampled_from('"\\].')), min_size=1, max_size=8)


@given(NAMES, st.lists(VALUES, min_size=1, max_size=3))
@settings(max_examples=25)
def test_whatever_git_writes_of_a_description_passes(
    tmp_path_factory: pytest.TempPathFactory, name: str, values: list[str]
):
    file = tmp_path_factory.getbasetemp() / "written"
    file.write_text("[core]\n\tbare = false\n")
    before = file.read_bytes()
    for value in values:
        assert git_config(file, "--add", f"branch.{name}.description", value).returncode == 0
    after = file.read_bytes()
    assert unexplained(before, after, EXISTING) == ""
    git_config(file, "--remove-section", f"branch.{name}")  # git itself finds some names not
    assert unexplained(after, file.read_bytes(), EXISTING) == ""


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_text_raises(before: bytes, after: bytes):
    assert unexplained(before, before, EXISTING) in {"", *_unread(before)}
    unexplained(before, after, NEW)
    unexplained(before, after, GITMODULES)


def _unread(text: bytes) -> set[str]:
    lines = text.split(b"\n")
    return {
        f"line {number} {why}"
        for number in range(1, len(lines) + 1)
        for why in ("has a NUL byte", "goes on in the next one")
    }


ODD = b"""\
; by hand
[core]
repositoryformatversion=0
    editor = vim   # mine
[alias]   ; short
\tst = "status -s"
\tl = !git log
[remote "up"]
\turl = ext::sh -c x
\tvcs = own
"""


@pytest.mark.parametrize(
    ("after", "passes"),
    [
        (ODD, True),
        (ODD + b'[branch "x"]\n\tremote = up\n', True),
        (ODD.replace(b"up", b"down"), False),
        (ODD.partition(b"[remote")[0], True),
        (ODD.replace(b"; by hand\n", b""), True),
        (ODD.replace(b"\tvcs = own\n", b""), True),
        (ODD.replace(b"\tl = !git log\n", b""), False),
        (ODD.replace(b"   # mine", b""), False),
        (ODD.replace(b"st = ", b"l = "), False),
        (b"[remote" + ODD.partition(b"[remote")[2] + ODD.partition(b"[remote")[0], False),
    ],
)
def test_lines_that_somebody_wrote_by_hand_stay_as_they_are(after: bytes, passes: bool):
    assert (unexplained(ODD, after, EXISTING) == "") == passes


@pytest.mark.threat("T09")
@pytest.mark.parametrize("end", ["\\\n", "\\\r\n", '"x" \\\n'])
def test_nothing_is_added_behind_a_line_that_goes_on(end: str):
    before = f"[core]\n\tsshCommand = ssh {end}".encode()
    assert unexplained(before, before + b'[remote "up"]\n\turl = x\n', EXISTING)


@pytest.mark.parametrize(
    "address",
    [
        "", ".", "..", "../x", "/srv/x.git", "origin", "https://h/x?y=1#z", "ssh://git@h:22/x",
        "git@h:a/b.git", "h:x", "file:///x y", "GIT://h/x", "git+ssh://h/x", "a-b/c",
    ],
)  # fmt: skip
def test_an_address_that_git_reaches_by_itself_passes(address: str):
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "ext::sh -c x", "fd::3", "a.b+c::x", "::x", "own://x", "://x", "-x", "ssh://-x/y",
        "git@-x:y", "a\nb", "a\x7fb", "a\u202eb", "file::/x",
    ],
)  # fmt: skip
@pytest.mark.threat("T09")
def test_an_address_that_starts_a_program_or_is_an_option_does_not(address: str):
    assert not is_address(address)
