import os
from pathlib import Path

import pytest

from sandbox.masks import Masks, Walker
from sandbox.sweep import Before, sweep

pytestmark = pytest.mark.as_user


@pytest.fixture
def walker() -> Walker:
    return Walker(lambda _: False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "w"
    (made / ".vscode").mkdir(parents=True)
    (made / ".envrc").write_text("kept")
    return made


def began(walker: Walker, workspace: Path) -> Before:
    return Before.of(walker.find([str(workspace)]), str(workspace), walker)


def swept(walker: Walker, workspace: Path, before: Before) -> tuple[str, ...]:
    return sweep(walker, str(workspace), before, workspace.parent / "held")


@pytest.mark.threat("T09")
def test_what_another_running_command_moves_about_is_nobodys_plant(walker, workspace):
    first = began(walker, workspace)
    missed = Before.of(Masks(), str(workspace), walker)  # moved away while it was searched for
    assert swept(walker, workspace, missed) == ()
    del first, missed
    alone = Before.of(Masks(), str(workspace), walker)
    assert len(swept(walker, workspace, alone)) == 2


@pytest.mark.threat("T09")
def test_what_a_later_command_sees_is_still_the_first_ones_plant(walker, workspace):
    first = began(walker, workspace)
    (workspace / ".mcp.json").write_text("evil")
    second = began(walker, workspace)
    assert swept(walker, workspace, second) == ()
    assert swept(walker, workspace, first) == (f"{workspace}/.mcp.json",)


@pytest.mark.threat("T09")
def test_a_protected_file_that_was_changed_in_place_is_said(walker, workspace):
    before = began(walker, workspace)
    (workspace / ".envrc").write_text("changed")
    (said,) = swept(walker, workspace, before)
    assert said.startswith(f"{workspace}/.envrc (not moved: somebody changed")
    assert (workspace / ".envrc").exists()


@pytest.mark.threat("T09")
def test_the_sweep_follows_no_link_to_what_it_moves(walker, workspace, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    before = began(walker, workspace)
    (workspace / "sub").mkdir()
    (workspace / "sub" / ".bashrc").write_text("planted")
    walker.find([str(workspace)])
    (home / ".bashrc").write_text("the owner's")
    searching = walker.find

    def find_then_swap(roots, max_entries=None):
        found = searching(roots, max_entries)
        (workspace / "sub").rename(workspace / "gone")
        (workspace / "sub").symlink_to(home)
        walker.find = searching
        return found

    walker.find = find_then_swap
    assert "it could not be moved" in swept(walker, workspace, before)[0]
    assert (home / ".bashrc").read_text() == "the owner's"


@pytest.mark.threat("T09")
def test_what_cannot_be_renamed_to_another_filesystem_is_copied_and_removed(
    walker, workspace, monkeypatch
):
    before = began(walker, workspace)
    (workspace / ".idea" / "deep").mkdir(parents=True)
    (workspace / ".idea" / "deep" / "x").write_text("evil")
    os.mkfifo(workspace / ".idea" / "pipe")
    (workspace / ".mcp.json").write_text("evil")

    def refuse(*_args, **_more):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", refuse)
    assert len(swept(walker, workspace, before)) == 2
    assert not (workspace / ".idea").exists()
    kept = {path.name for path in (workspace.parent / "held").rglob("*")}
    assert {".mcp.json", "x"} <= kept
