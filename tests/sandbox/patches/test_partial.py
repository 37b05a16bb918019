"""Facts about partial plans: what is sound of a patch, and why each other file is not."""

from pathlib import Path

import pytest

from sandbox.patches.edits import Edit
from sandbox.patches.plan import PatchPart, PatchRefused, named_paths, plan

GOOD = "diff --git a/one b/one\n--- a/one\n+++ b/one\n@@ -1 +1 @@\n-1\n+ONE\n"
LATE = "--- a/two\n+++ b/two\n@@ -1,2 +1,2 @@\n-2\n+TWO\n other\n"
BINARY = "diff --git a/logo.png b/logo.png\nBinary files a/logo.png and b/logo.png differ\n"
LITERAL = "diff --git a/x b/x\nnew file mode 100644\nGIT binary patch\nliteral 1\nIcmZ\n\n"
MODE = "diff --git a/two b/two\nold mode 100644\nnew mode 100755\n"
OUT = "--- a/../two\n+++ b/../two\n@@ -1 +1 @@\n-2\n+TWO\n"
MOVE = "diff --git a/two b/one\nsimilarity index 100%\nrename from two\nrename to one\n"
ORDER = "--- a/two\n+++ b/two\n@@ -2 +2 @@\n-b\n+B\n@@ -1 +1 @@\n-2\n+TWO\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "w"
    place.mkdir()
    (place / "one").write_text("1\n")
    (place / "two").write_text("2\nb\n")
    return place


def part(root: Path, change: str | list[Edit]) -> PatchPart:
    answer = plan(str(root), change, "policy", partial=True)
    assert isinstance(answer, PatchPart), answer
    return answer


def planned(answer: PatchPart) -> dict[str, bytes | None]:
    return {file.path: file.after for file in answer.action.files} if answer.action else {}


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize(
    ("bad", "path", "place", "words"),
    [
        (LATE, "two", "diff line 9", "Nearest: line 2 is 'b', where the diff has 'other'"),
        (BINARY, "logo.png", "diff line 8", "binary patches"),
        (LITERAL, "x", "diff line 9", "binary patches"),
        (MODE, "two", "diff line 8", "does not change modes"),
        (OUT, "../two", "diff line 7", "climbs out"),
        (ORDER, "two", "diff line 12", "overlaps or precedes"),
        (GOOD.replace("one", "none"), "none", "diff line 7", "Nearest: 'one'"),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_a_refused_file_is_left_out_with_its_place_and_the_others_are_planned(  # noqa: PLR0917  # a table
    root: Path, bad: str, path: str, place: str, words: str, last: bool
):
    answer = part(root, GOOD + bad if last else bad + GOOD)
    assert planned(answer) == {"one": b"ONE\n"}
    (refused,) = answer.refused
    assert refused.path == path
    assert words in refused.message
    assert refused.place == place or not last


def test_the_paths_for_policy_are_those_of_the_sections_that_are_sound_as_written():
    assert named_paths(GOOD + MODE, partial=True) == (("modify", "one"),)
    assert named_paths(GOOD + LATE, partial=True) == (("modify", "one"), ("modify", "two"))
    assert isinstance(named_paths(GOOD + MODE), PatchRefused)


@pytest.mark.threat("T21")
def test_sections_of_one_file_are_refused_together(root: Path):
    answer = part(root, f"{LATE}{GOOD}{MODE}")
    assert planned(answer) == {"one": b"ONE\n"}
    assert [(one.path, one.place) for one in answer.refused] == [("two", "diff line 14")]


@pytest.mark.threat("T21")
def test_both_files_of_a_rename_are_planned_or_neither_is(root: Path):
    answer = part(
        root, MOVE + "diff --git a/three b/three\n--- /dev/null\n+++ b/three\n@@ -0,0 +1 @@\n+3\n"
    )
    assert planned(answer) == {"three": b"3\n"}
    assert [one.message for one in answer.refused] == [
        "'one' exists; modify it, or delete it first"
    ]


@pytest.mark.threat("T21")
@pytest.mark.parametrize(
    "bad", ["words\n", LATE.replace("1,2 +1,2", "1,9 +1,9"), LATE + "+more\n", "diff --cc x\n"]
)
@pytest.mark.parametrize("last", [True, False])
def test_a_diff_is_refused_as_a_whole_where_a_section_may_end_anywhere(
    root: Path, bad: str, last: bool
):
    answer = plan(str(root), GOOD + bad if last else bad + GOOD, "policy", partial=True)
    assert isinstance(answer, PatchRefused)


@pytest.mark.as_user
def test_edits_are_left_out_by_file(root: Path):
    edits = [
        Edit("two", "2", "TWO"),
        Edit("one", "1", "ONE"),
        Edit("two", "nowhere", ""),
        Edit("../out", "", "x"),
        Edit("three", "", "3"),
    ]
    answer = part(root, edits)
    assert planned(answer) == {"one": b"ONE\n", "three": b"3"}
    assert {(one.path, one.place) for one in answer.refused} == {
        ("two", "edit 3"),
        ("../out", "edit 4"),
    }


def test_nothing_to_do_is_said_when_every_file_is_refused(root: Path):
    answer = part(root, OUT + MODE)
    assert answer.action is None
    assert [one.path for one in answer.refused] == ["../two", "two"]


def test_a_root_that_is_gone_refuses_the_whole_patch(root: Path):
    assert isinstance(plan(f"{root}/gone", GOOD, "policy", partial=True), PatchRefused)


@pytest.mark.threat("T10")
def test_a_refusal_quotes_nothing_of_a_file_that_may_not_be_read(root: Path):
    may_read = [f"{root}/one"]
    change = LATE + GOOD.replace("\n-1", "\n-x")
    answer = plan(str(root), change, "policy", partial=True, may_read=may_read.__contains__)
    assert isinstance(answer, PatchPart)
    hidden, shown = answer.refused
    assert hidden.message == (
        "does not fit 'two', which policy does not let you read; none of it is shown"
    )
    assert "line 1 is '1'" in shown.message
    answer = plan(str(root), LATE.replace("two", "tw"), "policy", may_read=may_read.__contains__)
    assert isinstance(answer, PatchRefused)
    assert answer.message == "'tw' does not exist below the root"
