"""Facts about keeping change sets: ids, lists, digests, drafts, and how much of the past stays."""

import fcntl
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes import drafts
from sandbox.changes.history import History
from sandbox.changes.model import About, Change, Found, Keep, Reason, Step
from sandbox.changes.pruning import YOUNGEST_S
from sandbox.changes.record import Record, Stamp, Standing
from sandbox.changes.record_text import SetError, from_text, head_from_text, to_text
from sandbox.changes.recovery import recover
from sandbox.changes.store import ChangeStore
from sandbox.changes.transaction import apply, revert
from sandbox.dirfd import Metadata
from tests.sandbox.changes.overlaid import tree, write
from tests.sandbox.changes.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path.resolve())
    write(made.root / "a", "1")
    write(made.root / "d/x", "2")
    return made


def edit(w: Path) -> None:
    (w / "a").write_text("mine")
    write(w / "n/m", "new")
    os.setxattr(w / "n/m", "user.note", b"1")
    (w / "n/link").symlink_to("m")
    (w / "d/x").unlink()
    (w / "d").chmod(0o700)


@pytest.mark.as_user
def test_the_store_is_for_its_owner_alone_and_ids_cannot_be_guessed(rig: Rig):
    one, two = rig.holds(edit), rig.holds(edit)
    assert one.set_id != two.set_id
    assert len(bytes.fromhex(one.set_id)) == 16
    for path in (rig.base, *rig.base.iterdir(), *(rig.base / "sets").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.is_file()


@pytest.mark.as_user
def test_sets_are_listed_by_workspace_the_newest_last(rig: Rig, tmp_path: Path):
    other = Rig(tmp_path.resolve() / "..", root=tmp_path.resolve() / "o")
    other.store = rig.store
    first, second, third = rig.holds(edit), other.holds(lambda w: write(w / "x")), rig.holds(edit)
    assert rig.store.all() == (first, second, third)
    assert rig.store.all(str(rig.root)) == (first, third)
    assert rig.store.load(second.set_id) == second
    assert ChangeStore(tmp_path / "nothing").all() == ()


def test_a_thousand_sets_are_listed_at_once(rig: Rig):
    held = rig.holds(edit)
    record = rig.store.record(held.set_id)
    many = replace(record, reasons=(Reason("deletions", "many", ("a",) * 100),))
    for number in range(1_000):
        place = rig.base / "sets" / f"{number:032x}"
        place.mkdir()
        (place / "record").write_bytes(to_text(replace(many, set_id=place.name)))
    times: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        assert len(rig.store.all()) == 1_001
        times.append(time.perf_counter() - started)
    assert min(times) < 5  # what looks at each against all others would take minutes


@pytest.mark.as_user
def test_a_draft_looks_like_the_root_and_knows_the_moment(rig: Rig):
    rig.root.chmod(0o751)
    os.setxattr(rig.root, "user.note", b"x")
    os.utime(rig.root, ns=(5, 5))
    before = rig.store.draft(str(rig.root))
    committed = rig.holds(edit)
    number = apply(rig.store, committed.set_id).number
    after = rig.store.draft(str(rig.root))
    assert (before.after, after.after) == (0, number)
    assert before.since_ns < (rig.root / "a").stat().st_ctime_ns <= after.since_ns
    assert tree(before.upper)[""][:2] == tree(rig.root)[""][:2]
    assert tree(before.upper)[""][3:] == (5, ((("user.note", b"x")),), None)
    before.drop()
    before.drop()
    assert not before.path.exists()
    after.drop()


@pytest.mark.as_user
def test_a_draft_never_waits_and_does_not_count_what_goes_on(rig: Rig):
    apply(rig.store, rig.holds(edit).set_id)
    with rig.store.locked():
        rig.store.history.add("0" * 32, str(rig.root))
        draft = rig.store.draft(str(rig.root))
    assert draft.after == 1
    draft.drop()


@pytest.mark.as_user
def test_a_draft_is_dropped_whatever_the_command_left(rig: Rig):
    draft = rig.store.draft(str(rig.root))
    write(draft.upper / "n/m/o", "", 0o000)
    (draft.upper / "n/m").chmod(0o000)
    (draft.upper / "n").chmod(0o000)
    (draft.work / "work").mkdir(mode=0o000)
    draft.drop()
    assert not draft.path.exists()


def test_a_draft_that_cannot_be_made_whole_leaves_nothing(rig: Rig, monkeypatch):
    monkeypatch.setattr(drafts, "WORK", "w" * 256)  # longer than a name may be
    with pytest.raises(OSError, match="File name too long"):
        rig.store.draft(str(rig.root))
    assert rig.is_at_rest()


@pytest.mark.as_user
def test_a_draft_of_a_root_that_is_not_there_leaves_nothing(rig: Rig):
    with pytest.raises(FileNotFoundError):
        rig.store.draft(f"{rig.root}/nope")
    assert rig.is_at_rest()


@pytest.mark.threat("T16")
@pytest.mark.as_user
def test_drafts_of_dead_servers_are_swept_and_those_of_the_living_stay(rig: Rig):
    mine = rig.store.draft(str(rig.root))
    ended = subprocess.Popen(["/bin/true"])
    name = mine.path.name.split("-")
    name[1], name[2] = str(ended.pid), "1"
    ended.wait()
    left = mine.path.with_name("-".join(name))
    shutil.copytree(mine.path, left)
    (left / "upper").chmod(0o000)
    assert recover(rig.store) == ()
    assert not left.exists()
    assert mine.path.exists()


def changed_bytes(upper: Path) -> None:
    (upper / "n/m").write_text("NEW")


TAMPERED: dict[str, Callable[[Path], object]] = {
    "a byte": changed_bytes,
    "a mode": lambda upper: (upper / "n/m").chmod(0o755),
    "a mode of a directory": lambda upper: (upper / "n").chmod(0o711),
    "a target": lambda upper: ((upper / "n/link").unlink(), (upper / "n/link").symlink_to("x")),
    "an attribute": lambda upper: os.setxattr(upper / "n/m", "user.note", b"2"),
    "another attribute": lambda upper: os.setxattr(upper / "n/m", "user.more", b""),
    "a name more": lambda upper: write(upper / "n/more"),
    "a name less": lambda upper: (upper / "n/link").unlink(),
    "a kind": lambda upper: ((upper / "n/m").unlink(), (upper / "n/m").mkdir()),
}


@pytest.mark.threat("T06")
@pytest.mark.as_user
@pytest.mark.parametrize("what", TAMPERED)
def test_a_digest_is_of_exactly_what_would_land(rig: Rig, what: str):
    held = rig.holds(edit)
    digest = rig.store.digest(held.set_id)
    assert len(bytes.fromhex(digest)) == 32
    assert rig.store.digest(held.set_id) == digest
    upper = rig.store.place(held.set_id) / "upper"
    os.utime(upper / "n/m", ns=(1, 1))
    assert rig.store.digest(held.set_id) == digest
    TAMPERED[what](upper)
    if what == "a mode of a directory":  # it lands with the recorded one
        assert rig.store.digest(held.set_id) == digest
    else:
        assert rig.store.digest(held.set_id) != digest


@pytest.mark.threat("T06")
@pytest.mark.as_user
def test_digests_differ_by_step_path_and_root(rig: Rig):
    edits: list[Callable[[Path], object]] = [
        lambda w: (w / "a").unlink(),
        lambda w: (w / "d/x").unlink(),
        lambda w: (w / "d").chmod(0o700),
        lambda w: (w / "d").chmod(0o711),
        lambda w: write(w / "n/x", "1"),
        lambda w: write(w / "nx", "1"),
        lambda w: write(w / "n", "x1"),
        lambda w: shutil.rmtree(w / "d"),
    ]
    digests = {rig.store.digest(rig.holds(edit).set_id) for edit in edits}
    assert len(digests) == len(edits)


@pytest.mark.as_user
def test_a_digest_is_of_what_is_not_applied(rig: Rig):
    held = rig.holds(edit)
    whole = rig.store.digest(held.set_id)
    apply(rig.store, held.set_id, ["a"])
    rest = rig.store.digest(held.set_id)
    assert rest != whole
    changed_bytes(rig.store.place(held.set_id) / "upper")
    assert rig.store.digest(held.set_id) != rest
    (rig.store.place(held.set_id) / "upper/a").write_text("what was there")
    shutil.rmtree(rig.store.place(held.set_id) / "upper/n")
    with pytest.raises(SetError, match="cannot be approved"):
        rig.store.digest(held.set_id)


@pytest.mark.as_user
def test_a_set_that_is_discarded_is_gone(rig: Rig):
    held = rig.holds(edit)
    before = tree(rig.root)
    rig.store.discard(held.set_id)
    assert tree(rig.root) == before
    assert rig.store.all() == ()
    assert rig.is_at_rest()
    with pytest.raises(SetError, match="there is no change set"):
        apply(rig.store, held.set_id)


@pytest.mark.as_user
def test_of_a_set_that_landed_in_part_the_rest_is_discarded(rig: Rig):
    before = tree(rig.root)
    held = rig.holds(edit)
    apply(rig.store, held.set_id, ["a", "n/link"])
    rig.store.discard(held.set_id)
    left = rig.store.load(held.set_id)
    assert left.state == "applied"
    assert {c.path for c in rig.store.record(held.set_id).found.changes} == {"a", "n", "n/link"}
    assert rig.store.content(held.set_id, "n/m", 100) is None
    assert rig.store.content(held.set_id, "a", 100) == b"1"
    assert revert(rig.store, held.set_id).number
    assert tree(rig.root) == before


@pytest.mark.as_user
def test_what_a_set_holds_can_be_read_within_bounds(rig: Rig):
    held = rig.holds(edit)
    with rig.store.kept(held.set_id) as content:
        assert content("n/m", 3) == b"new"
        for path in ("n/m/x", "n", "n/link", "nope", "d/x", ""):
            assert content(path, 100) is None
        assert content("n/m", 2) is None


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("set_id", ["", "..", "0" * 31, "g" * 32, "0" * 32])
def test_an_id_is_no_path(rig: Rig, set_id: str):
    rig.holds(edit)
    for work in (rig.store.load, rig.store.record, rig.store.digest, rig.store.discard):
        with pytest.raises(SetError):
            work(set_id)


def aged(rig: Rig, count: int, age_s: float, kept_bytes: int = 0) -> list[str]:
    """Keep sets that landed a while ago, the oldest first."""
    record = rig.store.record(rig.holds(edit).set_id)
    rig.store.discard(record.set_id)
    made: list[str] = []
    for number in range(count):
        set_id = f"{number:032x}"
        created_s = time.time() - age_s + number
        about = replace(record.about, created_s=created_s)
        (place := rig.base / "sets" / set_id).mkdir()
        aged_record = replace(record, set_id=set_id, about=about)
        lines = to_text(aged_record).split(b"\n")
        first = json.loads(lines[0])
        first["head"] |= {"kept_bytes": kept_bytes} if kept_bytes else {}
        (place / "record").write_bytes(b"\n".join([json.dumps(first).encode(), *lines[1:]]))
        made.append(set_id)
    return made


@pytest.mark.parametrize(
    ("keep", "age_s", "gone"),
    [
        (Keep(max_age_s=1_000.0), 1_002.5, 3),
        (Keep(max_sets=2), 500.0, 3),
        (Keep(max_bytes=250), 500.0, 3),
        (Keep(max_sets=2), YOUNGEST_S - 30.0, 0),
        (Keep(), 500.0, 0),
    ],
)
def test_the_oldest_sets_go_first_and_no_young_one(
    tmp_path: Path, keep: Keep, age_s: float, gone: int
):
    rig = Rig(tmp_path.resolve(), keep=keep)
    write(rig.root / "a")
    write(rig.root / "d/x")
    made = aged(rig, 5, age_s, kept_bytes=100)
    assert list(rig.store.prune()) == made[:gone]
    assert sorted(each.set_id for each in rig.store.all()) == made[gone:]
    assert rig.is_at_rest()


def test_a_set_that_waits_for_recovery_is_not_pruned(tmp_path: Path):
    rig = Rig(tmp_path.resolve(), keep=Keep(max_sets=0))
    write(rig.root / "a")
    write(rig.root / "d/x")
    made = aged(rig, 2, 500.0)
    (rig.base / "active" / made[0]).write_bytes(b"journal")
    assert rig.store.prune() == (made[1],)
    assert rig.store.load(made[0]).set_id == made[0]


def test_keeping_sets_prunes_now_and_then(tmp_path: Path):
    rig = Rig(tmp_path.resolve(), keep=Keep(max_sets=3))
    write(rig.root / "a")
    write(rig.root / "d/x")
    made = aged(rig, 5, 500.0)
    for _ in range(70):
        draft = rig.store.draft(str(rig.root))
        rig.store.keep_set(draft, Found(), rig.about(draft.since_ns, draft.after))
    left = {each.set_id for each in rig.store.all()}
    assert left.isdisjoint(made)


def test_the_history_forgets_sets_that_are_gone_but_never_its_last_number(tmp_path: Path):
    history = History(tmp_path / "transitions")
    assert history.last() == 0
    for number in range(1, 8):
        assert history.add(f"{number % 2:032x}", "/w") == number
    history.prune({f"{1:032x}"}, after=5)
    assert [line.number for line in history.since(0)] == [7, 6, 5, 3, 1]
    history.prune(set(), after=99)
    assert [line.number for line in history.since(0)] == [7]
    assert history.add("0" * 32, "/w") == 8


def test_a_line_of_the_history_that_a_crash_cut_off_is_no_line(tmp_path: Path):
    history = History(tmp_path / "transitions")
    history.add("0" * 32, os.fsdecode(b"/w/\xff"))
    with (tmp_path / "transitions").open("ab") as file:
        file.write(b'\n{"number": 7, "set_')
    assert history.last() == 1
    assert history.add("0" * 32, "/w") == 2
    assert [line.root for line in history.since(0)] == ["/w", os.fsdecode(b"/w/\xff")]


@pytest.mark.as_user
def test_two_servers_share_one_store(rig: Rig):
    other = ChangeStore(rig.base)
    held = rig.holds(edit)
    with (rig.base / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError), (rig.base / "lock").open("wb") as second:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert apply(other, held.set_id).number == 1
    assert revert(rig.store, held.set_id).number == 2
    assert other.load(held.set_id).state == "undone"


names = st.one_of(st.text(min_size=1), st.binary(min_size=1).map(os.fsdecode)).filter(
    lambda name: "\0" not in name and "/" not in name and name not in ("..", ".")
)


def is_a_name(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


@given(
    path=names.filter(is_a_name),
    root=names.filter(is_a_name),
    summary=st.text(),
    size=st.integers(0, 1 << 60),
)
def test_a_record_reads_as_it_was_written(path: str, root: str, summary: str, size: int):
    about = About(f"/{root}", 1, 2, "exec", summary, "s", 0.5)
    found = Found(
        (Change(path, "created", "file", 0, size, 0, 0o644, -5),),
        times=((".", 1), (path, 2)),
        left_out=(path,),
        orphans=(path,),
    )
    record = Record("0" * 32, about, found, (), (Reason("names", "x", (path,)),))
    text = to_text(record)
    assert from_text(text) == replace(
        record, about=replace(about, summary=summary.encode(errors="backslashreplace").decode())
    )
    assert head_from_text(text.split(b"\n")[0]) == from_text(text).head


@pytest.mark.threat("T21")
@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        (b'"version":2', b'"version":1'),
        (b'"since_ns":1', b'"since_ns":"1"'),
        (b'"since_ns":1', b'"since_ns":1,"until_ns":2'),
        (b'["","f",1,', b'["","f",true,'),
        (b'["","f",1,', b'["","f",1,1,'),
        (b'["","f",1,', b'["","x",1,'),
        (b'"00ff"', b'"0g"'),
        (b'"source":"exec"', b'"source":"other"'),
    ],
)
def test_a_record_is_read_strictly(wanted: bytes, written: bytes):
    about = About("/w", 1, 2, "exec", "a command", "s", 0.5)
    ours = (Stamp("", "f", 1, 2, 0o644),)
    kept = Metadata(0o755, 0, 0, (("user.a\udcff", b"\x00\xff"),))
    standings = (
        Standing(Step("place", "a"), "upper/a", ours=ours),
        Standing(Step("dress", "d"), "upper/d", dressed=kept),
    )
    steps = tuple(each.step for each in standings)
    record = Record("0" * 32, about, Found(steps=steps), standings)
    text = to_text(record)
    assert from_text(text) == record
    assert text.count(wanted) == 1
    with pytest.raises(SetError, match="damaged"):
        from_text(text.replace(wanted, written))


@given(st.binary())
def test_what_is_no_record_is_said_to_be_damaged(text: bytes):
    for read in (from_text, head_from_text):
        with pytest.raises(SetError, match="damaged"):
            read(text)


@pytest.mark.threat("T21")
@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_a_record_names_nothing_outside(rig: Rig, path: str):
    text = to_text(rig.store.record(rig.holds(edit).set_id))
    for wanted in (b'"d/x"', b'"upper/d/x"'):
        assert text.count(wanted) >= 1
        with pytest.raises(SetError, match="damaged"):
            from_text(text.replace(wanted, json.dumps(path).encode()))
