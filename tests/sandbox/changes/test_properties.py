"""What holds of any edits of any tree: committed they equal a run outside; undone, nothing ran."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes.drafts import drop
from sandbox.changes.record_text import SetError
from sandbox.changes.transaction import apply, revert
from tests.sandbox.changes.edits import Edit, edits, make, starts
from tests.sandbox.changes.overlaid import Tree, tree
from tests.sandbox.changes.rig import Rig

pytestmark = pytest.mark.untraced

OLD = 1_000_000_000_000_000_000


@pytest.mark.as_user
@pytest.mark.threat("T21")
@given(start=starts, todo=edits)
def test_committed_edits_are_those_of_a_run_outside_and_undone_there_were_none(
    tmp_path_factory: pytest.TempPathFactory, start: Sequence[Edit], todo: Sequence[Edit]
):
    base = tmp_path_factory.mktemp("p").resolve()
    rig = Rig(base)
    make(rig.root, start)
    outside = base / "outside"
    outside.mkdir()
    make(outside, start)
    before = tree(rig.root)
    ran = base / "ran"
    held = rig.holds(lambda w: ran.write_text(json.dumps(make(w, todo))))
    said = json.loads(ran.read_text())
    assert tree(rig.root) == before
    done = apply(rig.store, held.set_id) if held.changes else None
    assert done is None or done.conflicts == ()
    # An overlay cannot rename directories of the workspace; nothing comes of it.
    pairs = [(edit, each) for edit, each in zip(todo, said, strict=True) if each != "EXDEV"]
    assert make(outside, [edit for edit, _ in pairs]) == [each for _, each in pairs]
    assert tree(rig.root, with_times=False) == tree(outside, with_times=False)
    last = todo[-1]
    if done is not None and not said[-1] and last[0] == "time":
        assert tree(rig.root)[last[1]][3] == last[2]
    after = tree(rig.root)
    if done is not None:
        revert(rig.store, held.set_id)
        assert tree(rig.root) == before
        apply(rig.store, held.set_id)
        assert tree(rig.root) == after
    assert rig.is_at_rest()
    drop(base)


@pytest.mark.threat("T21")
@pytest.mark.parametrize("is_far", [False, True])
@given(start=starts, todo=edits, picks=st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_whatever_is_turned_in_parts_the_whole_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    is_far: bool,
    start: Sequence[Edit],
    todo: Sequence[Edit],
    picks: list[int],
):
    base = tmp_path_factory.mktemp("p").resolve()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        rig = Rig(base, root=Path(memory) / "w" if is_far else None)
        make(rig.root, start)
        before = seen(rig, is_far=is_far)
        held = rig.holds(lambda w: make(w, todo))
        if held.changes:
            apply(rig.store, held.set_id)
            after = seen(rig, is_far=is_far)
            revert(rig.store, held.set_id)
            assert seen(rig, is_far=is_far) == before
            in_parts(rig, held.set_id, picks)
            with suppress(SetError):
                apply(rig.store, held.set_id)
            assert seen(rig, is_far=is_far) == after
            in_parts(rig, held.set_id, picks[::-1])
            with suppress(SetError):
                revert(rig.store, held.set_id)
            assert seen(rig, is_far=is_far) == before
        assert rig.is_at_rest()
        drop(rig.root)
    drop(base)


def in_parts(rig: Rig, set_id: str, picks: list[int]) -> None:
    """Turn some paths of a set, and some of them back."""
    changes = rig.store.record(set_id).found.changes
    for number, pick in enumerate(picks):
        path = changes[pick % len(changes)].path
        with suppress(SetError):  # it stands there already
            assert (apply, revert)[number % 2](rig.store, set_id, [path]).number


def seen(rig: Rig, *, is_far: bool) -> Tree:
    """Return the workspace; hard links are not put together again across file systems."""
    found = tree(rig.root)
    return {path: facts[:-1] for path, facts in found.items()} if is_far else found
