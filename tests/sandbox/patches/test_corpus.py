"""Facts about the corpus of diffs: exact or refused, and in agreement with git apply."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.action import NewContent, PatchFiles
from sandbox.patches.plan import (
    PatchPart,
    PatchRefused,
    named_paths,
    plan,
    preview,
    sha256_or_none,
)
from tests.sandbox.patches.rows import Row, Seen, rows, seen

ROWS = rows()
ACCEPTED = [row for row in ROWS if row.refused_at is None]
APPLY = """
umask 022
for row in "$1"/*/; do
    (cd "$row/tree" && git apply --whitespace=nowarn $(cat ../options) ../diff) 2> "$row/said"
    echo $? > "$row/code"
done
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "w"
    place.mkdir()
    return place


def after(row: Row, before: dict[str, Seen]) -> dict[str, Seen]:
    """What the tree of a row is once its files are as expected."""
    left = dict(before)
    for path, made in row.makes.items():
        if made is None:
            del left[path]
        else:
            mode = left[path][1] if path in left else made[0] or 0o644
            left[path] = ("file", mode, made[1])
    return left


def contents(row: Row) -> set[NewContent]:
    """What a plan of an accepted row says of each file."""
    made: set[NewContent] = set()
    for path, new in row.makes.items():
        _, old = row.tree.files.get(path, (0, None))
        mode = None if old is not None or new is None else new[0] or 0o644
        made.add(NewContent(path, sha256_or_none(old), new and new[1], mode))
    return made


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.ordinary_only
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_diff_is_planned_exactly_or_refused_with_its_place(row: Row, root: Path):
    row.tree.make(root)
    answer = plan(str(root), row.diff, "policy")
    if row.refused_at is None:
        assert isinstance(answer, PatchFiles), answer
        assert set(answer.files) == contents(row)
    else:
        assert isinstance(answer, PatchRefused), answer
        assert answer.place == row.refused_at
        assert row.says
        for words in row.says:
            assert words in answer.message
        assert answer.message.isprintable()


@pytest.mark.as_user
@pytest.mark.ordinary_only
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_partial_plan_is_the_whole_one_or_leaves_out_what_that_refuses(row: Row, root: Path):
    row.tree.make(root)
    whole = plan(str(root), row.diff, "policy")
    part = plan(str(root), row.diff, "policy", partial=True)
    if isinstance(whole, PatchFiles):
        assert part == PatchPart(whole, ())
    elif isinstance(part, PatchPart):
        assert whole in part.refused
        named = named_paths(row.diff, partial=True)
        files = part.action.files if part.action else ()
        assert {file.path for file in files} <= {path for _, path in named}
        assert not {file.path for file in files} & {one.path for one in part.refused}
    else:
        assert part == whole


@pytest.mark.threat("T21")
def test_git_apply_makes_the_same_bytes_and_modes_or_the_corpus_says_why_not(tmp_path: Path):
    before = [laid_out(row, tmp_path / f"{number:04}") for number, row in enumerate(ROWS)]
    subprocess.run(
        ["sh", "-c", APPLY, "sh", str(tmp_path)],
        check=True,
        timeout=60,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
        },
    )
    wrong: list[str] = []
    for number, row in enumerate(ROWS):
        place = tmp_path / f"{number:04}"
        found = answered(place, row, before[number])
        expected = row.git or ("refuses" if row.refused_at else "agrees")
        if found != expected:
            said = (place / "said").read_text()
            wrong.append(f"{row}: git {found}, not {expected} as written; it said {said!r}")
    assert wrong == [], "\n".join(wrong)


def laid_out(row: Row, place: Path) -> dict[str, Seen]:
    """Write what git needs to try a row; return what it finds."""
    (place / "tree").mkdir(parents=True)
    row.tree.make(place / "tree")
    (place / "diff").write_bytes(row.diff.encode())
    (place / "options").write_text(" ".join(row.git_options))
    return seen(place / "tree")


def answered(place: Path, row: Row, before: dict[str, Seen]) -> str:
    if (place / "code").read_text() != "0\n":
        return "refuses"
    if row.refused_at is not None:
        return "applies"
    return "agrees" if seen(place / "tree") == after(row, before) else "differs"


@pytest.mark.parametrize("row", ACCEPTED, ids=str)
def test_what_is_shown_of_a_plan_is_a_diff_that_gives_the_same_bytes(row: Row, root: Path):
    row.tree.make(root)
    first = plan(str(root), row.diff, "policy")
    assert isinstance(first, PatchFiles)
    shown = preview(first)
    assert isinstance(shown, str)
    if "\\x" in shown or "mode 100600" in shown:
        return  # a byte that is no UTF-8, or a mode that git does not have: a person sees it
    assert plan(str(root), shown, "policy") == first


def test_the_corpus_is_large_and_says_why_wherever_git_does_otherwise():
    assert len({(row.diff, str(row.tree)) for row in ROWS}) == len(ROWS) >= 150
    assert all(row.git_why for row in ROWS if row.git)
    assert len([row for row in ACCEPTED if row.git]) <= 12
