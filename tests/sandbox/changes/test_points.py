"""Facts about restore points: the workspace is what it was at the mark, or it is left."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes.points import mark, marks, restore, restore_plan
from sandbox.changes.record_text import SetError
from sandbox.changes.transaction import ChangedError, apply, revert
from tests.sandbox.changes.overlaid import Tree, tree, write
from tests.sandbox.changes.rig import Edit, Rig

pytestmark = pytest.mark.untraced


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path.resolve())
    write(made.root / "a", "0")
    write(made.root / "d/x", "0")
    return made


def commits(rig: Rig, edit: Edit) -> str:
    held = rig.holds(edit)
    assert apply(rig.store, held.set_id).conflicts == ()
    return held.set_id


@pytest.mark.as_user
def test_everything_since_a_mark_is_turned_back_the_newest_first(rig: Rig):
    undone_later = commits(rig, lambda w: write(w / "early"))
    point = mark(rig.store, "before", str(rig.root))
    at_mark = tree(rig.root)
    one = commits(rig, lambda w: (w / "a").write_text("1"))
    two = commits(rig, lambda w: ((w / "a").write_text("22"), (w / "d/x").unlink()))
    revert(rig.store, undone_later)
    plan = restore_plan(rig.store, "before", str(rig.root))
    assert [(each.set_id, each.to_apply) for each in plan] == [
        (undone_later, True), (two, False), (one, False),
    ]  # fmt: skip
    assert tree(rig.root) != at_mark
    assert restore(rig.store, "before", str(rig.root)) == plan
    assert tree(rig.root) == at_mark
    assert restore(rig.store, "before", str(rig.root)) == ()
    assert marks(rig.store, str(rig.root)) == (point,)


@pytest.mark.as_user
def test_what_was_made_and_undone_since_is_not_touched(rig: Rig):
    mark(rig.store, "m", str(rig.root))
    revert(rig.store, commits(rig, lambda w: write(w / "n")))
    assert restore_plan(rig.store, "m", str(rig.root)) == ()


@pytest.mark.as_user
def test_a_restore_can_be_restored(rig: Rig):
    mark(rig.store, "empty", str(rig.root))
    commits(rig, lambda w: write(w / "n/m"))
    mark(rig.store, "full", str(rig.root))
    full = tree(rig.root)
    restore(rig.store, "empty", str(rig.root))
    assert not (rig.root / "n").exists()
    restore(rig.store, "full", str(rig.root))
    assert tree(rig.root) == full
    assert [each.name for each in marks(rig.store, str(rig.root))] == ["empty", "full"]


@pytest.mark.threat("T21")
@pytest.mark.as_user
def test_a_restore_that_would_lose_what_somebody_wrote_leaves_all_as_it_is(rig: Rig):
    mark(rig.store, "m", str(rig.root))
    commits(rig, lambda w: (w / "a").write_text("1"))
    commits(rig, lambda w: write(w / "n"))
    (rig.root / "a").write_text("theirs")
    before = tree(rig.root)
    with pytest.raises(ChangedError) as refused:
        restore(rig.store, "m", str(rig.root))
    assert refused.value.paths == ("a",)
    assert tree(rig.root) == before


@pytest.mark.as_user
def test_a_mark_moves_and_is_of_one_workspace(rig: Rig):
    mark(rig.store, "m", str(rig.root))
    commits(rig, lambda w: write(w / "n"))
    mark(rig.store, "m", str(rig.root))
    mark(rig.store, "m", "/elsewhere")
    (found,) = marks(rig.store, str(rig.root))
    assert found.number == 1
    assert restore_plan(rig.store, "m", str(rig.root)) == ()


@pytest.mark.as_user
@pytest.mark.parametrize("name", ["", "two\nlines", "\u202ehidden", "n" * 101])
def test_a_name_that_does_not_display_is_refused(rig: Rig, name: str):
    with pytest.raises(SetError, match="no name"):
        mark(rig.store, name, str(rig.root))


@pytest.mark.as_user
def test_a_point_out_of_reach_is_said(rig: Rig):
    with pytest.raises(SetError, match="no restore point 'nope'"):
        restore(rig.store, "nope", str(rig.root))
    mark(rig.store, "m", str(rig.root))
    part = commits(rig, lambda w: (write(w / "n"), write(w / "o")))
    revert(rig.store, part, ["n"])
    rig.store.discard(part)
    with pytest.raises(SetError, match="out of reach: a part"):
        restore(rig.store, "m", str(rig.root))
    revert(rig.store, part)
    rig.store.discard(part)
    with pytest.raises(SetError, match="out of reach: there is no change set"):
        restore(rig.store, "m", str(rig.root))


turns = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.sampled_from(["a", "d/x", "n", "d"]), st.integers(0, 9)),
        st.tuples(st.just("turn"), st.integers(0, 9), st.none()),
        st.tuples(st.just("mark"), st.none(), st.none()),
    ),
    min_size=3,
    max_size=8,
)


def changed(w: Path, path: str, number: int) -> None:
    """Change a path, or remove it; a directory is replaced as a whole."""
    place = w / path
    if place.is_dir():
        for inner in place.iterdir():
            inner.unlink()
        place.rmdir()
        place.mkdir()
        write(place / str(number))
    elif number > 6:
        place.unlink(missing_ok=True)
    else:
        place.parent.mkdir(exist_ok=True)
        place.write_text(str(number) * (number + 1))


@pytest.mark.threat("T21")
@given(todo=turns)
def test_restoring_to_any_mark_brings_the_workspace_of_that_mark(
    tmp_path_factory: pytest.TempPathFactory, todo: list[tuple[str, str | int | None, int | None]]
):
    rig = Rig(tmp_path_factory.mktemp("p").resolve())
    write(rig.root / "a", "0")
    write(rig.root / "d/x", "0")
    os.utime(rig.root / "d", ns=(1, 1))
    sets: list[str] = []
    seen: dict[str, Tree] = {}
    for what, one, two in (("mark", None, None), *todo):
        if what == "mark":
            name = str(len(seen))
            mark(rig.store, name, str(rig.root))
            seen[name] = tree(rig.root)
        elif what == "commit":
            held = rig.holds(lambda w, one=str(one), two=int(two or 0): changed(w, one, two))
            if held.changes:
                apply(rig.store, held.set_id)
                sets.append(held.set_id)
        elif sets:
            turned(rig, sets[int(one or 0) % len(sets)])
    for name, there in reversed(seen.items()):
        restore(rig.store, name, str(rig.root))
        assert tree(rig.root) == there


def turned(rig: Rig, set_id: str) -> None:
    """Undo a set, or redo it, if nothing is in the way."""
    try:
        if rig.store.load(set_id).state == "applied":
            revert(rig.store, set_id)
        else:
            apply(rig.store, set_id)
    except ChangedError:
        pass
