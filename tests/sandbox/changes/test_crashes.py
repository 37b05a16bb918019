"""Facts about dying, or running out of space, at any step: old or new, and nothing between."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.changes import renames
from sandbox.changes.model import ChangeSet
from sandbox.changes.recovery import recover
from sandbox.changes.transaction import ChangedError, apply, apply_whole, revert
from sandbox.permit import SandboxError
from tests.sandbox.changes.crashes import fails_at, kill_at
from tests.sandbox.changes.overlaid import Tree, tree, write
from tests.sandbox.changes.rig import Rig

pytestmark = pytest.mark.untraced

SHM = Path("/dev/shm")  # another file system than that of temporary files


SAME = pytest.param("same", marks=pytest.mark.as_user)  # the others differ for no user


@pytest.fixture(params=[SAME, "plain", "other"])
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """A store on the workspace's file system, one where nothing is exchanged, one on another."""
    if request.param == "plain":
        monkeypatch.setattr(renames, "rename2", unsupported)
    if request.param != "other":
        yield started(Rig(tmp_path.resolve()))
    else:
        with tempfile.TemporaryDirectory(dir=SHM) as root:
            yield started(Rig(tmp_path.resolve(), root=Path(root)))


def unsupported(*_: object) -> None:
    """Rename as NFS does."""
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def started(rig: Rig) -> Rig:
    assert (rig.root.stat().st_dev == rig.base.parent.stat().st_dev) == (
        not rig.root.is_relative_to(SHM)
    )
    write(rig.root / "a", "1")
    os.link(rig.root / "a", rig.root / "twin")
    write(rig.root / "d/x", "2")
    write(rig.root / "d/e/y", "3", 0o600)
    write(rig.root / "g/one", "4")
    write(rig.root / "g/two", "5")
    (rig.root / "link").symlink_to("a")
    for path in ("d/e", "d", "g", ""):
        os.utime(rig.root / path, ns=(10**18, 10**18))
    return rig


def one(w: Path) -> None:
    (w / "a").write_text("mine")


def ten(w: Path) -> None:
    """Leave ten steps, of every kind."""
    (w / "a").write_text("mine")
    (w / "d/x").unlink()
    (w / "d/e").chmod(0o700)
    (w / "d/e/y").write_text("mine")
    write(w / "n/m/o", "new", 0o600)
    os.link(w / "n/m/o", w / "n/twin")
    write(w / "d/new", "new")
    (w / "link").unlink()
    (w / "link").symlink_to("d")
    shutil.rmtree(w / "g")
    write(w / "g/one", "mine")
    (w / "twin").unlink()
    (w / "twin").mkdir()
    (w / "pipe").symlink_to("nowhere")


Turn = Callable[[], object]


class Case:
    """One set, turned one way again and again."""

    def __init__(self, rig: Rig, held: ChangeSet, *, to_apply: bool) -> None:
        self.rig = rig
        self.set_id = held.set_id
        self.forth = lambda: apply(rig.store, held.set_id)
        self.back = lambda: revert(rig.store, held.set_id)
        if not to_apply:
            self.forth()
            self.forth, self.back = self.back, self.forth
        self.old = self.seen()
        self.forth()
        self.new = self.seen()
        self.back()
        assert self.seen() == self.old

    def seen(self) -> Tree:
        """Return the workspace; hard links are not put together again across file systems."""
        found = tree(self.rig.root)
        if self.rig.root.is_relative_to(SHM):
            found = {path: facts[:-1] for path, facts in found.items()}
        return found

    def settled(self) -> str:
        """Return whether old or new is there, and see that nothing is left over."""
        seen = self.seen()
        assert seen in (self.old, self.new)
        assert self.rig.is_at_rest()
        parts = list(self.rig.store.place(self.set_id).glob("part/*"))
        assert len(parts) <= self.rig.store.record(self.set_id).parts
        if seen == self.old:
            return "old"
        self.back()
        assert self.seen() == self.old
        return "new"


@pytest.mark.threat("T21")
@pytest.mark.parametrize("edit", [one, ten])
@pytest.mark.parametrize("to_apply", [True, False])
def test_a_kill_at_any_step_ends_old_or_new(rig: Rig, edit: Turn, to_apply: bool):
    case = Case(rig, rig.holds(edit), to_apply=to_apply)
    outcomes: list[str] = []
    for nth in range(1_000):
        was_killed = kill_at(nth, case.forth)
        if nth % 2:  # a recovery that is itself killed changes nothing
            kill_at(nth // 2, lambda: recover(rig.store))
        recover(rig.store)
        outcomes.append(case.settled())
        if not was_killed:
            break
    assert outcomes == sorted(outcomes, reverse=True)  # there is one moment at which it happens
    assert set(outcomes) == {"old", "new"}
    assert recover(rig.store) == ()


def closed(w: Path) -> None:
    """Change what an ordinary owner has closed to himself, and close more."""
    for path in ("shut", "shut/in"):
        (w / path).chmod(0o700)
    (w / "shut/in/x").write_text("mine")
    write(w / "new/in/x", "mine")
    for path in ("shut/in", "shut", "new/in", "new"):
        (w / path).chmod(0o000)
    (w / "d").chmod(0o500)
    write(w / "a", "mine")


@pytest.mark.threat("T21")
@pytest.mark.parametrize("rig", [SAME], indirect=True)
@pytest.mark.parametrize("to_apply", [True, False])
def test_a_kill_leaves_no_directory_open_that_its_owner_closed(rig: Rig, to_apply: bool):
    write(rig.root / "shut/in/x", "1")
    (rig.root / "shut/in").chmod(0o500)
    (rig.root / "shut").chmod(0o500)
    case = Case(rig, rig.holds(closed), to_apply=to_apply)
    for nth in range(1_000):
        was_killed = kill_at(nth, case.forth)
        if nth % 2:
            kill_at(nth // 2, lambda: recover(rig.store))
        recover(rig.store)
        outcome = case.settled()
        if not was_killed:
            break
    assert outcome == "new"


@pytest.mark.threat("T21")
@pytest.mark.parametrize("rig", [SAME], indirect=True)
@pytest.mark.parametrize("to_apply", [True, False])
def test_a_kill_while_a_part_is_turned_loses_nothing(rig: Rig, to_apply: bool):
    paths = ["g/one", "n/m", "d/e"]
    before = tree(rig.root)
    for nth in range(1_000):
        set_id = rig.holds(ten).set_id
        if not to_apply:
            apply(rig.store, set_id)
        turn = apply if to_apply else revert
        was_killed = kill_at(nth, lambda turn=turn, set_id=set_id: turn(rig.store, set_id, paths))
        recover(rig.store)
        if rig.store.load(set_id).state != "applied":
            apply(rig.store, set_id)
        revert(rig.store, set_id)
        assert tree(rig.root) == before
        assert rig.is_at_rest()
        if not was_killed:
            break


def test_what_cannot_be_recovered_now_is_told_and_stops_nothing(rig: Rig):
    case = Case(rig, rig.holds(ten), to_apply=True)
    other = rig.holds(lambda w: write(w / "other"))
    interrupted(case, (rig.root / "n").exists)
    (rig.base / "active" / other.set_id).write_text("no journal")
    told = recover(rig.store)
    assert len(told) == 2
    assert sum("could not be recovered yet" in line for line in told) == 1
    assert case.seen() == case.old
    with pytest.raises(SandboxError, match="could not be recovered"):
        apply(rig.store, other.set_id)
    with pytest.raises(SandboxError, match="waits for recovery"):
        rig.store.discard(other.set_id)
    (rig.base / "active" / other.set_id).unlink()
    assert apply(rig.store, other.set_id).conflicts == ()


@pytest.mark.parametrize("rig", [SAME], indirect=True)
def test_numbers_that_a_power_failure_took_are_not_given_out_again(rig: Rig):
    number = apply(rig.store, rig.holds(one).set_id).number
    (rig.base / "transitions").unlink()
    assert recover(rig.store) == ()
    assert apply(rig.store, rig.holds(lambda w: write(w / "x")).set_id).number > number


@pytest.mark.threat("T21")
@pytest.mark.parametrize(("to_apply", "number"), [(True, errno.ENOSPC), (False, errno.EDQUOT)])
def test_a_step_that_fails_changes_nothing_or_everything(rig: Rig, to_apply: bool, number: int):
    case = Case(rig, rig.holds(ten), to_apply=to_apply)
    for nth in range(1_000):
        told: list[str] = []

        def attempt(told: list[str] = told) -> None:
            try:
                case.forth()
            except SandboxError as error:
                told.append(str(error))

        has_failed = fails_at(nth, attempt, number)
        if not rig.is_at_rest():  # taking back may have failed as well
            recover(rig.store)
        outcome = case.settled()
        if told:
            assert outcome == "old"
            assert "nothing was changed" in told[0]
            assert os.strerror(number) in told[0]
        if not has_failed:
            break
    assert outcome == "new"


def interrupted(case: Case, until: Callable[[], bool]) -> None:
    """Kill at the first step after which something holds."""
    for nth in range(1_000):
        assert kill_at(nth, case.forth), "it never stood half done"
        if until():
            return
        recover(case.rig.store)


@pytest.mark.threat("T21")
@pytest.mark.parametrize(("to_apply", "looks"), [(True, "other"), (True, "same"), (False, "other")])
def test_a_file_that_someone_replaced_after_a_crash_stays_theirs(
    rig: Rig, to_apply: bool, looks: str
):
    case = Case(rig, rig.holds(ten), to_apply=to_apply)
    old, new = case.old["d/e/y"][2], case.new["d/e/y"][2]
    interrupted(case, lambda: tree(rig.root).get("d/e/y", [None] * 3)[2] == new)
    status = (rig.root / "d/e/y").stat()
    theirs = "theirs" if looks == "other" else "?" * status.st_size
    write(rig.root / "t", theirs, status.st_mode & 0o7777)
    if looks == "same":
        os.utime(rig.root / "t", ns=(status.st_mtime_ns, status.st_mtime_ns))
    (rig.root / "t").rename(rig.root / "d/e/y")
    (told,) = recover(rig.store)
    assert "left: d/e/y" in told
    assert (rig.root / "d/e/y").read_text() == theirs
    seen = case.seen()
    assert {path: facts for path, facts in seen.items() if path != "d/e/y"} == {
        path: facts for path, facts in case.old.items() if path != "d/e/y"
    }
    assert rig.store.content(case.set_id, "d/e/y", 100) == old  # what was there is not lost
    assert rig.is_at_rest()
    assert recover(rig.store) == ()


@pytest.mark.threat("T21")
def test_what_someone_wrote_in_a_new_directory_after_a_crash_is_not_lost(rig: Rig):
    case = Case(rig, rig.holds(ten), to_apply=True)
    interrupted(case, (rig.root / "n").exists)
    write(rig.root / "n/theirs", "theirs")
    (told,) = recover(rig.store)
    assert "left: n," in told
    assert (rig.root / "n/theirs").read_text() == "theirs"
    assert rig.store.load(case.set_id).state == "partly"


def test_a_workspace_that_is_gone_stops_no_recovery(rig: Rig):
    case = Case(rig, rig.holds(ten), to_apply=True)
    interrupted(case, (rig.root / "n").exists)
    elsewhere = rig.root.with_name(f"{rig.root.name}-elsewhere")
    rig.root.rename(elsewhere)
    (told,) = recover(rig.store)
    assert "gone" in told
    assert recover(rig.store) == ()
    elsewhere.rename(rig.root)


@pytest.mark.threat("T21")
@pytest.mark.parametrize("path", ["g/one", "g/new"])
@pytest.mark.parametrize("is_split", [False, True])
def test_a_directory_does_not_go_with_what_someone_wrote_in_it_in_the_middle(
    rig: Rig, path: str, is_split: bool, monkeypatch: pytest.MonkeyPatch
):
    held = rig.holds(lambda w: (shutil.rmtree(w / "g"), (w / "a").write_text("mine")))
    if is_split:  # the directory and what is in it are steps of their own then
        apply(rig.store, held.set_id, ["g/one"])
        revert(rig.store, held.set_id)
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (real(file), write(rig.root / path, "new")))
    conflicts = apply(rig.store, held.set_id).conflicts
    monkeypatch.undo()
    assert {"g", path} & set(conflicts)
    assert (rig.root / path).read_text() == "new"
    assert (rig.root / "a").read_text() == "mine"
    assert rig.is_at_rest()


@pytest.mark.threat("T21")
@pytest.mark.parametrize("how", ["write", "replace", "create", "delete"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_change_by_someone_else_in_the_middle_keeps_theirs(
    rig: Rig, how: str, is_whole: bool, monkeypatch: pytest.MonkeyPatch
):
    held = rig.holds(ten)
    real = os.fdatasync  # the last step before anything is renamed
    path = "d/new" if how == "create" else "d/e/y"

    def meddle(descriptor: int) -> None:
        real(descriptor)
        if how == "write":
            (rig.root / path).write_text("theirs")
        elif how == "delete":
            (rig.root / path).unlink(missing_ok=True)
        else:
            write(rig.root / "t", "theirs").rename(rig.root / path)

    before = tree(rig.root)
    monkeypatch.setattr(os, "fdatasync", meddle)
    if is_whole:
        with pytest.raises(ChangedError, match=path):
            apply_whole(rig.store, held.set_id)
    else:
        assert apply(rig.store, held.set_id).conflicts == (path,)
    monkeypatch.undo()
    after = tree(rig.root)
    assert (rig.root / path).exists() == (how != "delete")
    if how != "delete":
        assert (rig.root / path).read_text() == "theirs"
    assert (before["a"] == after["a"]) == is_whole
    assert rig.is_at_rest()
    assert rig.store.content(held.set_id, path, 100) in (b"mine", b"new")
