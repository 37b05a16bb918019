"""Facts about applying and reverting: theirs stays theirs, ours is never lost, all or nothing."""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.changes.model import Applied, ChangeSet
from sandbox.changes.record_text import SetError
from sandbox.changes.transaction import ChangedError, apply, apply_whole, revert
from sandbox.permit import SandboxError
from tests.sandbox.changes.overlaid import tree, write
from tests.sandbox.changes.rig import Rig

OLD = 1_000_000_000_000_000_000


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path.resolve())
    write(made.root / "a", "1")
    write(made.root / "d/x", "2")
    write(made.root / "d/e/y", "3")
    write(made.root / "d/e/z", "4", 0o640)
    for path in ("d/e/y", "d/e", "d", ""):
        os.utime(made.root / path, ns=(OLD, OLD))
    return made


def edit(w: Path) -> None:
    """Do one of each: modify, delete, create, change attributes."""
    (w / "a").write_text("mine")
    (w / "d/x").unlink()
    write(w / "n/m/o", "new", 0o600)
    (w / "d/e").chmod(0o700)


def committed(rig: Rig, set_: ChangeSet) -> Applied:
    return apply(rig.store, set_.set_id)


@pytest.mark.as_user
def test_a_set_lands_and_goes_and_lands_again(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(edit)
    assert tree(rig.root) == before
    assert held.state == "held"
    done = committed(rig, held)
    assert done.conflicts == ()
    assert len(done.changes) == held.changes == 6
    after = tree(rig.root)
    assert after["a"][2] == b"mine"
    assert set(after) == {"", "a", "d", "d/e", "d/e/y", "d/e/z", "n", "n/m", "n/m/o"}
    assert rig.store.load(held.set_id).state == "applied"
    reverted = revert(rig.store, held.set_id)
    assert reverted.changes == done.changes
    assert tree(rig.root) == before
    assert rig.store.load(held.set_id).state == "undone"
    committed(rig, held)
    assert tree(rig.root) == after
    assert rig.is_at_rest()


@pytest.mark.as_user
def test_the_old_object_itself_comes_back(rig: Rig):
    os.link(rig.root / "a", rig.root / "twin")
    os.setxattr(rig.root / "a", "user.note", b"kept")
    inodes = {path: (rig.root / path).stat().st_ino for path in ("a", "d/e/y", "d")}
    before = tree(rig.root)
    held = rig.holds(lambda w: ((w / "a").write_text("9"), shutil.rmtree(w / "d")))
    committed(rig, held)
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before
    assert inodes == {path: (rig.root / path).stat().st_ino for path in inodes}
    assert (rig.root / "a").stat().st_nlink == 2


@pytest.mark.as_user
def test_directories_have_the_times_of_a_run_outside_and_then_their_own(rig: Rig):
    held = rig.holds(lambda w: (write(w / "d/new"), os.utime(w / "d", ns=(7, 7))))
    committed(rig, held)
    assert (rig.root / "d").stat().st_mtime_ns == 7
    assert (rig.root / "d/e").stat().st_mtime_ns == OLD
    assert rig.root.stat().st_mtime_ns == OLD
    revert(rig.store, held.set_id)
    assert (rig.root / "d").stat().st_mtime_ns == OLD


@pytest.mark.as_user
def test_a_directory_in_which_somebody_worked_keeps_the_later_time(rig: Rig):
    held = rig.holds(
        lambda w: (write(w / "d/new"), os.utime(w / "d", ns=(7, 7))),
        meanwhile=lambda w: write(w / "d/theirs"),
    )
    theirs = (rig.root / "d").stat().st_mtime_ns
    committed(rig, held)
    assert (rig.root / "d").stat().st_mtime_ns == theirs


MEANWHILE = {
    "modified": lambda w: (w / "a").write_text("theirs"),
    "replaced": lambda w: write(w / "t", "theirs").rename(w / "a"),
    "touched": lambda w: os.utime(w / "a", ns=(1, 1)),
    "deleted": lambda w: (w / "a").unlink(),
    "made a directory": lambda w: ((w / "a").unlink(), (w / "a").mkdir()),
}


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("how", MEANWHILE)
@pytest.mark.parametrize("is_held", [False, True])
def test_what_somebody_else_changed_meanwhile_stays_theirs_and_the_rest_lands(
    rig: Rig, how: str, is_held: bool
):
    if is_held:
        held = rig.holds(edit)
        MEANWHILE[how](rig.root)
    else:
        held = rig.holds(edit, MEANWHILE[how])
    theirs = tree(rig.root).get("a")
    done = committed(rig, held)
    assert done.conflicts == ("a",)
    assert {change.path for change in done.changes} == {"d/x", "d/e", "n", "n/m", "n/m/o"}
    assert tree(rig.root).get("a") == theirs
    assert not (rig.root / "d/x").exists()
    assert rig.store.load(held.set_id).state == "partly"
    assert rig.store.content(held.set_id, "a", 100) == b"mine"
    assert rig.is_at_rest()


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_place_that_was_taken_meanwhile_stays_theirs(rig: Rig):
    held = rig.holds(edit, lambda w: write(w / "n", "theirs"))
    assert committed(rig, held).conflicts == ("n",)
    assert (rig.root / "n").read_text() == "theirs"


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("path", ["d/e/y", "d/e/new", "d/x"])
def test_a_directory_is_not_taken_with_what_somebody_else_wrote_in_it(rig: Rig, path: str):
    held = rig.holds(lambda w: shutil.rmtree(w / "d"), lambda w: write(w / path, "theirs"))
    before = tree(rig.root)
    assert committed(rig, held).conflicts == ("d",)
    assert tree(rig.root) == before


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_what_its_owner_deleted_meanwhile_does_not_come_back(rig: Rig):
    def command(w: Path) -> None:
        (w / "a").write_text("mine")
        (w / "d/e/y").write_text("mine")

    held = rig.holds(command, lambda w: ((w / "a").unlink(), shutil.rmtree(w / "d/e")))
    assert committed(rig, held).conflicts == ("a", "d/e")
    assert set(tree(rig.root)) == {"", "d", "d/x"}


@pytest.mark.as_user
def test_a_file_that_the_command_renamed_lands(rig: Rig):
    held = rig.holds(lambda w: (w / "a").rename(w / "b"))
    assert committed(rig, held).conflicts == ()
    assert (rig.root / "b").read_text() == "1"
    assert not (rig.root / "a").exists()


@pytest.mark.as_user
def test_commands_one_right_after_the_other_are_in_no_conflict(rig: Rig):
    for number in range(40):
        held = rig.holds(lambda w, text=str(number): (w / "a").write_text(text))
        assert committed(rig, held).conflicts == ()
    assert (rig.root / "a").read_text() == "39"


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_set_that_began_before_another_landed_is_in_conflict_where_both_went(rig: Rig):
    second = rig.holds(lambda w: ((w / "a").write_text("second"), write(w / "s")))
    first = rig.holds(lambda w: (w / "a").write_text("first"))
    committed(rig, first)
    assert committed(rig, second).conflicts == ("a",)
    assert (rig.root / "a").read_text() == "first"
    assert (rig.root / "s").exists()


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_set_that_was_undone_meanwhile_is_a_conflict_too(rig: Rig):
    held = rig.holds(lambda w: write(w / "new", "held"))
    other = rig.holds(lambda w: write(w / "new", "other"))
    committed(rig, other)
    revert(rig.store, other.set_id)
    assert committed(rig, held).conflicts == ("new",)


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_set_of_a_directory_inside_counts_as_another(rig: Rig, tmp_path: Path):
    inside = Rig(tmp_path.resolve(), root=rig.root / "d")
    held = rig.holds(lambda w: (write(w / "d/n", "outer"), write(w / "m")))
    other = inside.holds(lambda w: write(w / "n", "inner"))
    inner_held = inside.holds(lambda w: write(w / "late", "inner"))
    committed(inside, other)
    assert committed(rig, held).conflicts == ("d/n",)
    whole = rig.holds(lambda w: shutil.rmtree(w / "d"))
    committed(rig, whole)
    revert(rig.store, whole.set_id)
    assert committed(inside, inner_held).conflicts == ("late",)


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize(
    "how",
    [
        lambda w: (w / "d/e").chmod(0o711),
        lambda w: (w / "d/e").rename(w / "elsewhere"),
        lambda w: ((w / "d/e").rename(w / "elsewhere"), write(w / "d/e", "a file")),
    ],
    ids=["changed", "gone", "a file"],
)
def test_a_directory_whose_attributes_somebody_changed_keeps_them(
    rig: Rig, how: Callable[[Path], object]
):
    held = rig.holds(lambda w: ((w / "d/e").chmod(0o700), write(w / "n")))
    how(rig.root)
    before = tree(rig.root)
    assert committed(rig, held).conflicts == ("d/e",)
    assert {path: facts for path, facts in tree(rig.root).items() if path not in {"", "n"}} == {
        path: facts for path, facts in before.items() if path
    }


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_two_sets_that_changed_the_same_attributes_are_in_conflict(rig: Rig):
    one = rig.holds(lambda w: (w / "d").chmod(0o700))
    two = rig.holds(lambda w: (w / "d").chmod(0o700))
    other = rig.holds(lambda w: write(w / "d/n"))
    committed(rig, one)
    assert committed(rig, two).conflicts == ("d",)
    assert committed(rig, other).conflicts == ()


@pytest.mark.as_user
@pytest.mark.parametrize("is_far", [False, True])
def test_pipes_sockets_and_holes_survive_in_what_is_taken(rig: Rig, tmp_path: Path, is_far: bool):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        made = Rig(tmp_path.resolve(), root=Path(memory)) if is_far else rig
        write(made.root / "s/sparse")
        os.truncate(made.root / "s/sparse", 1 << 30)
        with (made.root / "s/sparse").open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"x")
        os.mkfifo(made.root / "s/pipe", 0o640)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(f"{made.root}/s/door")
        os.link(made.root / "s/sparse", made.root / "s/twin")
        facts = [(path, path.lstat()) for path in sorted((made.root / "s").iterdir())]
        held = made.holds(lambda w: shutil.rmtree(w / "s"))
        committed(made, held)
        assert not (made.root / "s").exists()
        revert(made.store, held.set_id)
        for path, was in facts:
            now = path.lstat()
            assert (now.st_mode, now.st_size, now.st_nlink) == (
                was.st_mode, was.st_size, was.st_nlink,
            )  # fmt: skip
            assert now.st_blocks <= was.st_blocks
        with (made.root / "s/twin").open("rb") as file:
            file.seek(1 << 20)
            assert file.read(2) == b"x\0"


@pytest.mark.as_user
def test_sets_that_went_elsewhere_both_land(rig: Rig):
    one = rig.holds(lambda w: write(w / "d/one"))
    two = rig.holds(lambda w: (write(w / "d/two"), (w / "d/e/y").write_text("2")))
    assert committed(rig, two).conflicts == committed(rig, one).conflicts == ()


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize(
    ("path", "told"),
    [("a", "a"), ("n/m/o", "n/m/o"), ("n/theirs", "n/theirs"), ("d/x", "d/x")],
)
def test_an_undo_that_would_lose_what_somebody_wrote_since_is_refused(
    rig: Rig, path: str, told: str
):
    held = rig.holds(edit)
    committed(rig, held)
    write(rig.root / path, "theirs")
    before = tree(rig.root)
    with pytest.raises(ChangedError) as refused:
        revert(rig.store, held.set_id)
    assert refused.value.paths == (told,)
    assert repr(told) in str(refused.value)
    assert tree(rig.root) == before
    assert rig.is_at_rest()


@pytest.mark.as_user
def test_an_undo_may_leave_out_what_was_changed_since(rig: Rig):
    held = rig.holds(edit)
    committed(rig, held)
    (rig.root / "a").write_text("theirs")
    revert(rig.store, held.set_id, ["d/x", "d/e", "n"])
    assert (rig.root / "a").read_text() == "theirs"
    assert (rig.root / "d/x").read_text() == "2"
    assert stat.S_IMODE((rig.root / "d/e").stat().st_mode) == 0o755
    assert not (rig.root / "n").exists()
    assert rig.store.load(held.set_id).state == "partly"


@pytest.mark.as_user
@pytest.mark.parametrize("redo", [False, True])
def test_doing_the_same_twice_says_what_to_do(rig: Rig, redo: bool):
    held = rig.holds(edit)
    committed(rig, held)
    if not redo:
        revert(rig.store, held.set_id)
    before = tree(rig.root)
    with pytest.raises(SetError, match="applied already" if redo else "redo"):
        (apply if redo else revert)(rig.store, held.set_id)
    assert tree(rig.root) == before
    assert rig.is_at_rest()


@pytest.mark.as_user
def test_some_files_are_accepted_and_the_others_later(rig: Rig):
    held = rig.holds(edit)
    done = apply(rig.store, held.set_id, ["a", "n/m"])
    assert {change.path for change in done.changes} == {"a", "n", "n/m", "n/m/o"}
    assert (rig.root / "d/x").exists()
    rest = apply(rig.store, held.set_id)
    assert {change.path for change in rest.changes} == {"d/x", "d/e"}
    assert rig.store.load(held.set_id).state == "applied"


@pytest.mark.as_user
def test_one_file_of_a_new_directory_lands_with_the_directories_it_needs(rig: Rig):
    def command(w: Path) -> None:
        write(w / "n/m/one", "1")
        write(w / "n/m/two", "2")
        write(w / "n/three", "3")
        (w / "n/m").chmod(0o750)
        os.utime(w / "n/m", ns=(5, 5))
        os.utime(w / "n", ns=(6, 6))

    before = tree(rig.root)
    held = rig.holds(command)
    apply(rig.store, held.set_id, ["n/m/one"])
    now = tree(rig.root)
    assert set(now) - set(before) == {"n", "n/m", "n/m/one"}
    assert (stat.S_IMODE(int(str(now["n/m"][0]))), now["n/m"][3], now["n"][3]) == (0o750, 5, 6)
    apply(rig.store, held.set_id)
    assert set(tree(rig.root)) - set(before) == {"n", "n/m", "n/m/one", "n/m/two", "n/three"}
    assert (rig.root / "n").stat().st_mtime_ns == 6
    revert(rig.store, held.set_id, ["n/m/two"])
    assert not (rig.root / "n/m/two").exists()
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.as_user
def test_one_file_of_a_deleted_directory_comes_back_with_its_directories(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(lambda w: shutil.rmtree(w / "d"))
    committed(rig, held)
    revert(rig.store, held.set_id, ["d/e/z"])
    now = tree(rig.root)
    assert set(now) == {"", "a", "d", "d/e", "d/e/z"}
    assert {path: now[path] for path in ("d", "d/e", "d/e/z")} == {
        path: before[path] for path in ("d", "d/e", "d/e/z")
    }
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before
    committed(rig, held)
    assert set(tree(rig.root)) == {"", "a"}


@pytest.mark.as_user
def test_one_deletion_of_a_deleted_directory_can_be_accepted(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(lambda w: shutil.rmtree(w / "d"))
    apply(rig.store, held.set_id, ["d/e/y"])
    assert set(tree(rig.root)) == set(before) - {"d/e/y"}
    committed(rig, held)
    assert set(tree(rig.root)) == {"", "a"}
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.as_user
@pytest.mark.parametrize("path", ["d/x", "d/e", "d/e/y", "d/f/g"])
def test_one_path_of_a_replaced_directory_can_be_turned(rig: Rig, path: str):
    def command(w: Path) -> None:
        shutil.rmtree(w / "d")
        write(w / "d/x", "mine")
        write(w / "d/f/g", "new")
        (w / "d").chmod(0o711)

    before = tree(rig.root)
    held = rig.holds(command)
    done = apply(rig.store, held.set_id, [path])
    assert path in {change.path for change in done.changes}
    committed(rig, held)
    after = tree(rig.root)
    assert set(after) == {"", "a", "d", "d/f", "d/f/g", "d/x"}
    revert(rig.store, held.set_id, [path])
    assert tree(rig.root).get(path) == before.get(path)
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before
    committed(rig, held)
    assert tree(rig.root) == after


@pytest.mark.as_user
def test_a_file_of_a_directory_that_became_a_file_brings_the_directory_back(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(lambda w: (shutil.rmtree(w / "d"), write(w / "d", "a file")))
    committed(rig, held)
    revert(rig.store, held.set_id, ["d/x"])
    assert set(tree(rig.root)) == {"", "a", "d", "d/x"}
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before
    committed(rig, held)
    assert (rig.root / "d").read_text() == "a file"


@pytest.mark.as_user
def test_a_file_of_a_directory_that_was_a_file_needs_the_directory(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(lambda w: ((w / "a").unlink(), write(w / "a/b/c", "1"), write(w / "a/d")))
    apply(rig.store, held.set_id, ["a/b"])
    assert set(tree(rig.root)) - set(before) == {"a/b", "a/b/c"}
    committed(rig, held)
    assert set(tree(rig.root)) - set(before) == {"a/b", "a/b/c", "a/d"}
    revert(rig.store, held.set_id, ["a/b/c"])
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.as_user
@pytest.mark.parametrize("path", ["", "nope", "d/e/nope", "../a", "/etc", "a/"])
def test_a_path_that_is_no_change_is_refused(rig: Rig, path: str):
    held = rig.holds(edit)
    before = tree(rig.root)
    if path == "a/":
        assert len(apply(rig.store, held.set_id, [path]).changes) == 1
        return
    with pytest.raises(SetError, match="not among the changes"):
        apply(rig.store, held.set_id, [path])
    assert tree(rig.root) == before
    assert rig.is_at_rest()


@pytest.mark.as_user
def test_modes_that_close_directories_land_and_go(rig: Rig):
    def command(w: Path) -> None:
        (w / "d/x").chmod(0o000)
        write(w / "d/e/y", "mine")
        write(w / "n/m/o", "new", 0o000)
        (w / "n/m").chmod(0o000)
        (w / "n").chmod(0o400)
        (w / "d/e").chmod(0o500)
        (w / "d").chmod(0o000)

    (rig.root / "d/e").chmod(0o500)
    before = tree(rig.root)
    held = rig.holds(lambda w: ((w / "d/e").chmod(0o700), command(w)))
    digest = rig.store.digest(held.set_id)
    assert committed(rig, held).conflicts == ()
    after = tree(rig.root)
    modes = {path: stat.S_IMODE(int(str(facts[0]))) for path, facts in after.items()}
    assert modes == {
        "": 0o755, "a": 0o644, "d": 0o000, "d/e": 0o500, "d/e/y": 0o644, "d/e/z": 0o640,
        "d/x": 0o000, "n": 0o400, "n/m": 0o000, "n/m/o": 0o000,
    }  # fmt: skip
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before
    assert rig.store.digest(held.set_id) == digest
    committed(rig, held)
    assert tree(rig.root) == after


@pytest.mark.as_user
def test_a_directory_that_its_owner_may_not_write_is_moved_all_the_same(rig: Rig):
    (rig.root / "d/e").chmod(0o500)
    before = tree(rig.root)
    held = rig.holds(lambda w: ((w / "d/e").chmod(0o700), shutil.rmtree(w / "d")))
    committed(rig, held)
    assert not (rig.root / "d").exists()
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_only_what_was_approved_is_applied(rig: Rig):
    held = rig.holds(edit)
    digest = rig.store.digest(held.set_id)
    with pytest.raises(SetError, match="not what was approved"):
        apply(rig.store, held.set_id, approved="0" * 64)
    assert apply(rig.store, held.set_id, approved=digest).conflicts == ()


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_applying_as_a_whole_is_refused_by_one_conflict(rig: Rig):
    held = rig.holds(edit, MEANWHILE["modified"])
    before = tree(rig.root)
    with pytest.raises(ChangedError, match="'a'"):
        apply_whole(rig.store, held.set_id, durable=True)
    assert tree(rig.root) == before
    assert rig.is_at_rest()
    other = rig.holds(edit)
    assert apply_whole(rig.store, other.set_id, durable=True).conflicts == ()


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_link_that_took_a_directorys_place_leads_nowhere(rig: Rig, tmp_path: Path):
    outside = tmp_path / "outside"
    held = rig.holds(edit)
    (rig.root / "d").rename(outside)
    (rig.root / "d").symlink_to(outside)
    before = tree(outside)
    assert committed(rig, held).conflicts == ("d/e", "d/x")
    assert tree(outside) == before


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("set_id", ["", "../../etc", "0" * 32, "A" * 32, "0" * 32 + "\n", "."])
def test_an_id_that_was_never_given_is_refused(rig: Rig, set_id: str):
    for work in (apply, revert):
        with pytest.raises(SetError):
            work(rig.store, set_id)


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_what_the_set_keeps_is_put_back_only_as_it_was(rig: Rig):
    held = rig.holds(edit)
    committed(rig, held)
    before = tree(rig.root)
    (rig.store.place(held.set_id) / "upper/a").write_text("planted")
    with pytest.raises(SandboxError, match="damaged"):
        revert(rig.store, held.set_id)
    (rig.store.place(held.set_id) / "record").write_text("{}\n{}\n{}\n")
    with pytest.raises(SandboxError, match="damaged"):
        revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.as_user
def test_names_may_be_any_bytes(rig: Rig):
    names = [os.fsdecode(name) for name in (b"\xff\xfe", b"two\nlines", b"n" * 255, b" ")]

    def command(w: Path) -> None:
        for name in names:
            write(w / name / name, "x")
            (w / "d" / name).symlink_to(name)

    before = tree(rig.root)
    held = rig.holds(command)
    assert committed(rig, held).conflicts == ()
    assert set(names) < set(tree(rig.root))
    revert(rig.store, held.set_id, [names[0]])
    revert(rig.store, held.set_id)
    assert tree(rig.root) == before


@pytest.mark.as_user
def test_a_workspace_that_is_gone_is_said(rig: Rig):
    held = rig.holds(edit)
    shutil.rmtree(rig.root)
    with pytest.raises(SandboxError, match="nothing was changed"):
        committed(rig, held)
