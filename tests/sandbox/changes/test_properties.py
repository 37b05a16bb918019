"""What holds of any edits of any tree: committed they equal a run outside; undone, nothing ran."""

import json
import shutil
from collections.abc import Sequence

import pytest
from hypothesis import given

from sandbox.changes.transaction import apply, revert
from tests.sandbox.changes.edits import Edit, edits, make, starts
from tests.sandbox.changes.overlaid import tree
from tests.sandbox.changes.rig import Rig

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
    shutil.copytree(rig.root, outside, symlinks=True)
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
    for place in base.rglob("*"):
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o700)
    shutil.rmtree(base)
