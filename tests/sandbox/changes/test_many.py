"""Facts about ten thousand changes: how long they take, and dying among them."""

import os
import resource
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.changes.model import ChangeSet
from sandbox.changes.recovery import recover
from sandbox.changes.transaction import apply, revert
from sandbox.changes.upper import read
from tests.sandbox.changes.crashes import kill_at, steps_of
from tests.sandbox.changes.rig import Rig

SHM = Path("/dev/shm")
DIRECTORIES, FILES = 100, 100
MEBIBYTE = 1 << 20
Seen = dict[str, tuple[int, int, int]]


@pytest.fixture
def shm() -> Iterator[Path]:
    """Yield a directory in memory, where neither a disk nor its other users take time."""
    with tempfile.TemporaryDirectory(dir=SHM) as place:
        yield Path(place)


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


# At how many steps, there and back, somebody dies; copies take their time.
@pytest.mark.threat("T21")
@pytest.mark.parametrize(("is_same", "killed"), [(True, (4, 2)), (False, (1, 1))])
def test_a_kill_among_ten_thousand_steps_ends_old_or_new(
    shm: Path, tmp_path: Path, is_same: bool, killed: tuple[int, int]
):
    rig = rig_of(shm if is_same else tmp_path.resolve(), shm / "w")
    set_ = held(rig)
    old = seen(rig)
    there = steps_of(lambda: apply(rig.store, set_.set_id))
    new = seen(rig)
    back = steps_of(lambda: revert(rig.store, set_.set_id))
    assert min(there, back) > DIRECTORIES * FILES
    turns: list[tuple[Callable[[], object], int, int, Seen, Seen]] = [
        (lambda: apply(rig.store, set_.set_id), there, killed[0], old, new),
        (lambda: revert(rig.store, set_.set_id), back, killed[1], new, old),
    ]
    for turn, steps, times, before, after in turns:
        for nth in range(steps // (times + 1), steps, steps // (times + 1)):
            assert kill_at(nth, turn)
            recover(rig.store)
            assert rig.is_at_rest()
            assert seen(rig) in (before, after)
        if seen(rig) == before:
            turn()
        assert seen(rig) == after


def test_ten_thousand_changes_land_in_a_second_and_take_little_memory(shm: Path):
    rig = rig_of(shm, shm / "w")
    set_ = held(rig)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times: list[float] = []
    for turn in (apply, revert) * 2:
        started = time.perf_counter()
        turn(rig.store, set_.set_id)
        times.append(time.perf_counter() - started)
    assert min(times) < 1.0
    started = time.perf_counter()
    rig.store.digest(set_.set_id)
    assert time.perf_counter() - started < 1.0
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) * 1024 < 100 * MEBIBYTE
