"""Facts about renames and copies: two files, nothing lost, and what policy hears of them."""

import os
from pathlib import Path

import pytest

from sandbox.action import NewContent, PatchFiles
from sandbox.patches.plan import PatchRefused, named_paths, plan, preview, sha256_or_none


def move(way: str, old: str = "old", new: str = "new") -> str:
    names = f"{way} from {old}\n{way} to {new}\n"
    return f"diff --git a/{old} b/{new}\nsimilarity index 100%\n{names}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "w"
    place.mkdir()
    (place / "old").write_text("1\n")
    (place / "old").chmod(0o750)
    return place


@pytest.mark.as_user
def test_a_rename_deletes_the_one_file_as_it_was_read_and_creates_the_other(root: Path):
    gone = NewContent("old", sha256_or_none(b"1\n"), None)
    made = NewContent("new", None, b"1\n", 0o750)
    assert plan(str(root), move("rename"), "p") == PatchFiles(str(root), (gone, made), "p")
    assert plan(str(root), move("copy"), "p") == PatchFiles(str(root), (made,), "p")


@pytest.mark.threat("T10")
def test_policy_hears_of_a_rename_what_it_hears_of_mv():
    assert named_paths(move("rename")) == (("modify", "old"), ("create", "new"), ("read", "old"))
    assert named_paths(move("copy")) == (("create", "new"), ("read", "old"))


def test_both_files_of_a_rename_are_shown_whole(root: Path):
    planned = plan(str(root), move("rename"), "p")
    assert isinstance(planned, PatchFiles)
    shown = preview(planned)
    assert isinstance(shown, str)
    assert "--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n" in shown
    assert "new file mode 100750\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+1\n" in shown


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_rename_that_would_lose_attributes_is_refused_and_a_copy_is_not(root: Path):
    os.setxattr(root / "old", "user.origin", b"somewhere")
    answer = plan(str(root), move("rename"), "p")
    assert isinstance(answer, PatchRefused)
    assert "extended attributes (user.origin), which a rename by patch would lose" in answer.message
    assert isinstance(plan(str(root), move("copy"), "p"), PatchFiles)


@pytest.mark.threat("T21")
@pytest.mark.root_only
def test_a_rename_that_would_lose_the_owner_is_refused(root: Path):
    os.chown(root / "old", 12_345, 12_345)
    answer = plan(str(root), move("rename"), "p")
    assert isinstance(answer, PatchRefused)
    assert "owner 12345 and group 12345" in answer.message


@pytest.mark.parametrize("size", [5 << 20, (5 << 20) + 1])
def test_a_rename_has_the_limits_of_other_patches(root: Path, size: int):
    (root / "old").write_bytes(b"x" * size)
    answer = plan(str(root), move("rename"), "p")
    assert isinstance(answer, PatchFiles if size == 5 << 20 else PatchRefused)
