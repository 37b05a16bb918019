"""Facts about reading what a command did: made on a real overlay, as an ordinary user too."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.changes.drafts import drop
from sandbox.changes.model import Change, Found, Step
from sandbox.changes.upper import MAX_COMPARED_BYTES, UpperError, clean, read
from tests.sandbox.changes.overlaid import overlaid, tree, write

OLD = 1_000_000_000_000_000_000


class Bench:
    """A workspace, and what a command may do to it."""

    def __init__(self, base: Path) -> None:
        self.root = base / "w"
        self.upper = base / "draft" / "upper"
        self.work = base / "draft" / "work"
        for path in (self.root, self.upper, self.work):
            path.mkdir(parents=True)
        write(self.root / "a", "1\n")
        write(self.root / "d/x", "2\n")
        write(self.root / "d/e/y", "3\n")
        (self.root / "link").symlink_to("a")
        for path in (self.root / "d/e", self.root / "d", self.root, self.upper):
            os.utime(path, ns=(OLD, OLD))

    def does(self, edit: Callable[[Path], object]) -> Found:
        """Return what is read after an edit; the workspace stays as it was."""
        before = tree(self.root)
        overlaid(self.root, self.upper, self.work, edit)
        found = read(self.upper, self.root)
        assert tree(self.root) == before
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path.resolve())


def told(found: Found) -> list[str]:
    """Return operations and paths."""
    return [f"{change.operation} {change.path}" for change in found.changes]


def steps(found: Found) -> list[str]:
    """Return moves and paths."""
    return [f"{step.move} {step.path}" for step in found.steps]


@pytest.mark.as_user
def test_a_command_that_did_nothing_changed_nothing(bench: Bench):
    found = bench.does(lambda w: (w / "a").read_text())
    assert found == Found(times=((".", OLD),))


@pytest.mark.as_user
def test_files_are_created_modified_and_deleted(bench: Bench):
    def edit(w: Path) -> None:
        (w / "a").write_text("changed\n")
        (w / "a").chmod(0o755)
        (w / "d/x").unlink()
        (w / "n").write_text("new")

    found = bench.does(edit)
    assert found.changes == (
        Change("a", "modified", "file", 2, 8, 0o644, 0o755, found.changes[0].mtime_ns),
        Change("d/x", "deleted", "file", bytes_before=2, mode_before=0o644),
        Change("n", "created", "file", 0, 3, 0, 0o644, found.changes[2].mtime_ns),
    )
    assert found.steps == (Step("exchange", "a"), Step("take", "d/x"), Step("place", "n"))
    assert found.changes[0].mtime_ns == (bench.upper / "a").stat().st_mtime_ns
    assert [path for path, _ in found.times] == [".", "d"]


@pytest.mark.as_user
def test_a_new_tree_lands_by_one_rename(bench: Bench):
    found = bench.does(lambda w: write(w / "n/m/o", "x"))
    assert told(found) == ["created n", "created n/m", "created n/m/o"]
    assert steps(found) == ["place n"]


@pytest.mark.as_user
def test_a_deleted_directory_says_all_that_was_in_it(bench: Bench):
    found = bench.does(lambda w: shutil.rmtree(w / "d"))
    assert told(found) == ["deleted d", "deleted d/e", "deleted d/e/y", "deleted d/x"]
    assert steps(found) == ["take d"]


@pytest.mark.as_user
def test_a_directory_deleted_and_made_again_says_the_difference(bench: Bench):
    def edit(w: Path) -> None:
        shutil.rmtree(w / "d")
        write(w / "d/x", "2\n")
        write(w / "d/f/z", "4\n")
        os.utime(w / "d/x", ns=(7, 7))

    found = bench.does(edit)
    assert told(found) == [
        "deleted d/e", "deleted d/e/y", "created d/f", "created d/f/z", "attributes d/x",
    ]  # fmt: skip
    assert steps(found) == ["exchange d"]


@pytest.mark.as_user
def test_a_kind_that_changed_says_both(bench: Bench):
    def edit(w: Path) -> None:
        shutil.rmtree(w / "d")
        (w / "d").write_text("now a file")
        (w / "a").unlink()
        write(w / "a/b", "now a directory")
        (w / "link").unlink()
        (w / "link").mkdir()

    found = bench.does(edit)
    assert told(found) == [
        "modified a", "created a/b", "modified d", "deleted d/e", "deleted d/e/y", "deleted d/x",
        "modified link",
    ]  # fmt: skip
    assert steps(found) == ["exchange a", "exchange d", "exchange link"]
    assert [change.kind for change in found.changes][:3] == ["directory", "file", "file"]


@pytest.mark.as_user
def test_attributes_alone_are_told_from_bytes(bench: Bench):
    def edit(w: Path) -> None:
        (w / "a").chmod(0o600)
        os.setxattr(w / "d/e/y", "user.note", b"x")
        os.utime(w / "d/x", ns=(5, 5))
        (w / "d").chmod(0o700)
        os.setxattr(w / "d/e", "user.note", b"x")

    found = bench.does(edit)
    assert told(found) == [f"attributes {path}" for path in ("a", "d", "d/e", "d/e/y", "d/x")]
    assert steps(found) == ["exchange a", "dress d", "dress d/e", "exchange d/e/y", "exchange d/x"]


@pytest.mark.as_user
def test_what_was_opened_for_writing_and_not_written_is_no_change(bench: Bench):
    def edit(w: Path) -> None:
        with (w / "a").open("r+"):
            pass

    assert bench.does(edit).steps == ()


@pytest.mark.as_user
def test_a_second_name_for_a_file_brings_both(bench: Bench):
    found = bench.does(lambda w: os.link(w / "a", w / "b"))
    assert steps(found) == ["exchange a", "place b"]


@pytest.mark.as_user
def test_a_link_is_compared_by_its_target_and_never_followed(bench: Bench):
    def edit(w: Path) -> None:
        (w / "link").unlink()
        (w / "link").symlink_to("/etc/passwd")
        (w / "new").symlink_to("/etc")
        (w / "d/e/y").unlink()
        (w / "d/e").rmdir()
        (w / "d/e").symlink_to("/etc")

    found = bench.does(edit)
    assert told(found) == [
        "modified d/e", "deleted d/e/y", "modified link", "created new",
    ]  # fmt: skip
    assert {change.kind for change in found.changes if change.path != "d/e/y"} == {"symlink"}


@pytest.mark.as_user
def test_a_link_in_the_workspace_is_not_followed(bench: Bench):
    found = bench.does(lambda w: (w / "d/e/y").write_text("2"))
    shutil.move(bench.root / "d", bench.root / "elsewhere")
    (bench.root / "d").symlink_to("elsewhere")
    again = read(bench.upper, bench.root)
    assert steps(found) == ["exchange d/e/y"]
    assert steps(again) == ["exchange d"]


@pytest.mark.as_user
def test_what_is_no_file_is_left_out(bench: Bench):
    def edit(w: Path) -> None:
        os.mkfifo(w / "pipe")
        write(w / "n/file")
        os.mkfifo(w / "n/pipe")
        with socket.socket(socket.AF_UNIX) as door:
            os.chdir(w / "n")
            door.bind("door")
        (w / "a").unlink()
        os.mkfifo(w / "a")

    found = bench.does(edit)
    assert found.left_out == ("a", "n/door", "n/pipe", "pipe")
    assert told(found) == ["deleted a", "created n", "created n/file"]
    cleaned(bench)
    assert sorted(tree(bench.upper)) == ["", "n", "n/file"]


def cleaned(bench: Bench) -> None:
    opened = os.open(bench.upper, os.O_RDONLY)
    clean(opened)
    os.close(opened)


@pytest.mark.as_user
def test_cleaning_alters_nothing_but_what_the_overlay_noted(bench: Bench):
    def edit(w: Path) -> None:
        os.setxattr(w / "a", "user.note", b"x")
        (w / "a").chmod(0o444)
        (w / "d/x").unlink()
        shutil.move(w / "d/e/y", w / "d/e/z")
        shutil.rmtree(w / "d/e")
        write(w / "d/e/new", "n", 0o400)

    bench.does(edit)
    names = {"user.overlay.origin", "user.overlay.impure", "user.overlay.opaque"}
    before = tree(bench.upper)
    cleaned(bench)
    after = tree(bench.upper)
    seen = {name for facts in before.values() for name, _ in facts[4]}
    assert names <= seen
    assert after == {
        path: (*facts[:4], tuple(x for x in facts[4] if "overlay" not in x[0]), facts[5])
        for path, facts in before.items()
        if path != "d/x"
    }


@pytest.mark.as_user
def test_what_its_owner_closed_is_read_and_its_mode_kept(bench: Bench):
    def edit(w: Path) -> None:
        write(w / "n/m/o", "x", 0o000)
        (w / "n/m").chmod(0o000)
        (w / "n").chmod(0o400)
        write(w / "a", "9\n", 0o000)
        (w / "d/e/new").write_text("n")
        (w / "d/e").chmod(0o500)

    found = bench.does(edit)
    modes = {change.path: change.mode_after for change in found.changes}
    assert modes == {
        "a": 0o000, "d/e": 0o500, "d/e/new": 0o644, "n": 0o400, "n/m": 0o000, "n/m/o": 0o000,
    }  # fmt: skip
    closed = (("d/e", 0o500), ("n", 0o400), ("n/m", 0o000))
    assert found.closed == (closed if os.geteuid() else ())
    assert (bench.upper / "a").stat().st_mode & 0o777 == 0


@pytest.mark.as_user
@pytest.mark.ordinary_only
@pytest.mark.parametrize(
    "edit", [lambda w: shutil.rmtree(w / "d"), lambda w: write(w / "d/e/y")], ids=["gone", "other"]
)
def test_a_change_nobody_can_look_into_is_refused(bench: Bench, edit: Callable[[Path], object]):
    (bench.root / "d/e").chmod(0o000)
    overlaid(bench.root, bench.upper, bench.work, lambda w: ((w / "d/e").chmod(0o700), edit(w)))
    with pytest.raises(UpperError, match="closed even to its owner"):
        read(bench.upper, bench.root)


@pytest.mark.as_user
def test_a_directory_closed_in_the_end_still_tells_what_happened_in_it(bench: Bench):
    def edit(w: Path) -> None:
        (w / "d/x").write_text("changed")
        (w / "d").chmod(0o000)

    assert told(bench.does(edit)) == ["attributes d", "modified d/x"]


@pytest.mark.as_user
def test_what_was_copied_up_and_is_gone_below_is_an_orphan(bench: Bench):
    def edit(w: Path) -> None:
        (w / "a").write_text("mine")
        (w / "d/e/y").write_text("mine")
        (w / "new").mkdir()

    overlaid(bench.root, bench.upper, bench.work, edit)
    (bench.root / "a").unlink()
    shutil.rmtree(bench.root / "d/e")
    found = read(bench.upper, bench.root)
    assert steps(found) == ["place a", "place d/e", "place new"]
    assert found.orphans == ("a", "d/e")


@pytest.mark.as_user
def test_times_are_those_that_a_run_outside_would_have_left(bench: Bench):
    found = bench.does(lambda w: ((w / "d/x").write_text("2"), (w / "d/e/n").write_text("2")))
    assert dict(found.times)["d/e"] > OLD
    assert dict(found.times)["d"] == OLD
    assert dict(found.times)["."] == OLD


@pytest.mark.as_user
def test_whiteouts_in_the_form_of_files_are_understood(bench: Bench):
    write(bench.upper / "d/x")
    write(bench.upper / "d/empty")
    os.setxattr(bench.upper / "d", "user.overlay.opaque", b"x")
    os.setxattr(bench.upper / "d/x", "user.overlay.whiteout", b"y")
    found = read(bench.upper, bench.root)
    assert steps(found)[-2:] == ["place d/empty", "take d/x"]
    cleaned(bench)
    assert "d/x" not in tree(bench.upper)


@pytest.mark.as_user
def test_a_whiteout_over_nothing_is_nothing(bench: Bench):
    overlaid(bench.root, bench.upper, bench.work, lambda w: (w / "a").unlink())
    (bench.root / "a").unlink()
    found = read(bench.upper, bench.root)
    assert (found.changes, found.steps) == ((), ())


@pytest.mark.as_user
def test_names_may_be_any_bytes(bench: Bench):
    names = [b"\xff\xfe", b"two\nlines", b"-rf", b" ", b"n" * 255, "ß".encode(), b"READ", b"read"]

    def edit(w: Path) -> None:
        for name in names:
            write(w / os.fsdecode(name) / os.fsdecode(name), "x")

    found = bench.does(edit)
    paths = {os.fsencode(change.path) for change in found.changes}
    assert paths == {*names, *(name + b"/" + name for name in names)}


@pytest.mark.as_user
def test_a_path_that_no_program_can_name_is_refused(bench: Bench):
    def edit(w: Path) -> None:
        os.chdir(w)
        for _ in range(30):
            Path("n" * 200).mkdir()
            os.chdir("n" * 200)

    with pytest.raises(UpperError, match="longer than 4095 bytes"):
        bench.does(edit)


@pytest.mark.as_user
def test_a_path_as_long_as_can_be_is_read(bench: Bench):
    depth = (4095 - len(os.fsencode(bench.root)) - 1) // 2

    def edit(w: Path) -> None:
        os.chdir(w)
        for _ in range(depth):
            Path("n").mkdir()
            os.chdir("n")

    assert len(bench.does(edit).changes) == depth
    drop(bench.upper.parent)  # pytest could not


def test_very_large_files_are_not_compared(bench: Bench):
    big = write(bench.root / "big")
    os.truncate(big, MAX_COMPARED_BYTES + 1)
    found = bench.does(lambda w: os.utime(w / "big", ns=(3, 3)))
    assert told(found) == ["modified big"]


@pytest.mark.as_user
def test_ten_thousand_new_files_are_listed_at_once(bench: Bench):
    def edit(w: Path) -> None:
        for number in range(100):
            (w / f"n{number}").mkdir()
            for inner in range(99):
                os.close(os.open(w / f"n{number}/{inner}", os.O_CREAT))

    overlaid(bench.root, bench.upper, bench.work, edit)
    times: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        assert len(read(bench.upper, bench.root).changes) == 10_000
        times.append(time.perf_counter() - started)
    assert min(times) < 5  # what looks at each against all others would take minutes
