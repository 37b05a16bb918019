"""Facts about disks that are full or read-only: nothing changes, the set stays, and it is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.changes.model import ChangeSet
from sandbox.changes.transaction import apply, revert
from sandbox.changes.upper import read
from sandbox.permit import SandboxError
from tests.sandbox.changes.overlaid import READ_ONLY, enter, in_child, mount, tree, write
from tests.sandbox.changes.rig import Rig

KIBIBYTE = 1 << 10
BIG = "x" * (300 * KIBIBYTE)
Work = Callable[[Path, Path], object]


def on_small_disks(tmp_path: Path, work: Work) -> None:
    """Run `work` in a child with two file systems of a mebibyte."""
    places = tmp_path.resolve() / "one", tmp_path.resolve() / "two"

    def inside() -> None:
        enter()
        for place in places:
            place.mkdir()
            mount(b"tmpfs", place, "size=1m,mode=700")
        work(*places)

    in_child(inside)


def held(rig: Rig) -> ChangeSet:
    """Keep a set that replaces one file by a large one, and makes another; without an overlay."""
    draft = rig.store.draft(str(rig.root))
    write(draft.upper / "a", BIG)
    write(draft.upper / "d/new", BIG)
    found = read(draft.upper, rig.root)
    return rig.store.keep_set(draft, found, rig.about(draft.since_ns, draft.after))


def fill(place: Path) -> Path:
    """Leave no byte free."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * KIBIBYTE):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk has no end")


def refused(rig: Rig, turn: Callable[[], object], match: str) -> None:
    before = tree(rig.root)
    with pytest.raises(SandboxError, match=match) as error:
        turn()
    assert "nothing was changed" in str(error.value)
    assert tree(rig.root) == before
    assert rig.is_at_rest()


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_workspace_without_room_is_left_as_it_was(tmp_path: Path):
    def work(one: Path, two: Path) -> None:
        rig = Rig(one, root=two / "w")
        write(rig.root / "a", "1")
        set_ = held(rig)
        filler = fill(two)
        refused(rig, lambda: apply(rig.store, set_.set_id), "^'(a|d)': No space left on device")
        filler.unlink()
        assert apply(rig.store, set_.set_id).conflicts == ()
        assert (rig.root / "a").read_text() == BIG

    on_small_disks(tmp_path, work)


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_store_without_room_for_what_was_there_changes_nothing(tmp_path: Path):
    def work(one: Path, two: Path) -> None:
        rig = Rig(one, root=two / "w")
        write(rig.root / "a", "1")
        set_ = held(rig)
        apply(rig.store, set_.set_id)
        filler = fill(one)
        refused(rig, lambda: revert(rig.store, set_.set_id), "sets/.*: No space left on device")
        filler.unlink()
        revert(rig.store, set_.set_id)
        assert sorted(tree(rig.root)) == ["", "a"]

    on_small_disks(tmp_path, work)


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_full_disk_that_has_both_takes_no_journal_and_changes_nothing(tmp_path: Path):
    def work(one: Path, _: Path) -> None:
        rig = Rig(one)
        write(rig.root / "a", "1")
        set_ = held(rig)
        filler = fill(one)
        refused(rig, lambda: apply(rig.store, set_.set_id), "No space left on device")
        filler.unlink()
        assert apply(rig.store, set_.set_id).conflicts == ()

    on_small_disks(tmp_path, work)


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_workspace_that_became_read_only_is_said(tmp_path: Path):
    def work(one: Path, two: Path) -> None:
        rig = Rig(one, root=two / "w")
        write(rig.root / "a", "1")
        set_ = held(rig)
        mount(b"tmpfs", two, "size=1m", READ_ONLY)
        refused(rig, lambda: apply(rig.store, set_.set_id), "Read-only file system")
        assert rig.store.load(set_.set_id).state == "held"

    on_small_disks(tmp_path, work)
