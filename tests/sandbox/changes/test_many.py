"""Facts about ten thousand changes: what memory they take, and dying among them."""

import os
import resource
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.changes.model import ChangeSet
from sandbox.changes.recovery import recover
from sandbox.changes.transaction import apply, revert
from sandbox.changes.upper import read
from tests.sandbox.changes.crashes import kill_at, steps_of
from tests.sandbox.changes.overlaid import enter, in_child, mount
from tests.sandbox.changes.rig import Rig

pytestmark = pytest.mark.untraced

DIRECTORIES, FILES = 100, 100
MEBIBYTE = 1 << 20
Seen = dict[str, tuple[int, int, int]]


def in_memory(tmp_path: Path, work: Callable[[Path, Path], object]) -> None:
    """Run `work` in a child with two file systems, where neither a disk nor its users take time."""
    places = tmp_path / "one", tmp_path / "two"

    def inside() -> None:
        enter()
        for place in places:
            place.mkdir()
            mount(b"tmpfs", place, "mode=700")
        work(*places)

    in_child(inside)


def rig_of(base: Path, root: Path) -> Rig:
    made = Rig(base, root=root)
    for number in range(DIRECTORIES):
        (root / f"d{number}").mkdir()
        for inner in range(FILES):
            (root / f"d{number}/{inner}").write_text("1")
    return made


def held(rig: Rig) -> ChangeSet:
    """Keep a set of ten thousand changes; in place of an overlay, as tmpfs may have no xattrs."""
    draft = rig.store.draft(str(rig.root))
    for number in range(DIRECTORIES):
        (draft.upper / f"d{number}").mkdir()
        shutil.copystat(rig.root / f"d{number}", draft.upper / f"d{number}")
        for inner in range(FILES):
            (draft.upper / f"d{number}/{inner}").write_text("22")
    found = read(draft.upper, rig.root)
    return rig.store.keep_set(draft, found, rig.about(draft.since_ns, draft.after))


def seen(rig: Rig) -> Seen:
    """Return size, time and mode of everything: enough to tell old from new."""
    found: Seen = {}
    for path, _, files in os.walk(rig.root):
        for place in (path, *(f"{path}/{name}" for name in files)):
            status = os.lstat(place)
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            found[place] = (size, status.st_mtime_ns, status.st_mode)
    return found


@pytest.mark.threat("T21")
@pytest.mark.parametrize(("is_same", "killed"), [(True, (1, 0)), (False, (0, 1))])
def test_a_kill_among_ten_thousand_steps_ends_old_or_new(
    tmp_path: Path, is_same: bool, killed: tuple[int, int]
):
    def work(one: Path, two: Path) -> None:
        rig = rig_of(one if is_same else two, one / "w")
        set_ = held(rig)
        old = seen(rig)
        there = steps_of(lambda: apply(rig.store, set_.set_id))
        new = seen(rig)
        back = steps_of(lambda: revert(rig.store, set_.set_id))
        assert min(there, back) > DIRECTORIES * FILES
        die(rig, lambda: apply(rig.store, set_.set_id), (there, killed[0]), (old, new))
        die(rig, lambda: revert(rig.store, set_.set_id), (back, killed[1]), (new, old))

    in_memory(tmp_path.resolve(), work)


def die(
    rig: Rig, turn: Callable[[], object], often: tuple[int, int], tree: tuple[Seen, Seen]
) -> None:
    """Die at some of the steps; what is there then is old or new."""
    (steps, times), (before, after) = often, tree
    for nth in range(steps // (times + 1), steps, steps // (times + 1)):
        if seen(rig) == before:
            kill_at(nth, turn)
            recover(rig.store)
        assert rig.is_at_rest()
        assert seen(rig) in (before, after)
    if seen(rig) == before:
        turn()
    assert seen(rig) == after


def test_ten_thousand_changes_take_little_memory(tmp_path: Path):
    def work(one: Path, _: Path) -> None:
        rig = rig_of(one, one / "w")
        set_ = held(rig)
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for turn in (apply, revert):
            turn(rig.store, set_.set_id)
        rig.store.digest(set_.set_id)
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
        assert taken * 1024 < 100 * MEBIBYTE

    in_memory(tmp_path.resolve(), work)
