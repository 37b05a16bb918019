"""How much of the past stays: which sets go, and what servers that died have left.

May touch: the store's directory. A set goes by one rename out of sight, so that a crash leaves it
whole, or among the drafts that the next server sweeps.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.changes.drafts import drop
from sandbox.changes.model import ChangeSet
from sandbox.leftovers import is_left_over

if TYPE_CHECKING:
    from sandbox.changes.store import ChangeStore

YOUNGEST_S = 60.0


def prune(store: "ChangeStore") -> tuple[str, ...]:
    """Remove what is too old or too much, the oldest sets first; return their ids."""
    with store.locked():
        gone = [each.set_id for each in _too_many(store, time.time())]
        trash = [store.out_of_sight(set_id) for set_id in gone]
        store.marks.forget(time.time() - store.keep.max_age_s)
        oldest = min((mark.number for mark in store.marks.all()), default=store.history.last())
        store.history.prune(set(store.ids()), oldest)
    for path in trash:
        drop(path)
    return tuple(gone)


def sweep(drafts: Path) -> None:
    """Remove the drafts of servers that are dead."""
    for path in list(drafts.iterdir()) if drafts.is_dir() else ():
        if is_left_over(path.name):
            drop(path)


def _too_many(store: "ChangeStore", now_s: float) -> Iterator[ChangeSet]:
    """Yield the sets to remove; none that a crash cut off, none younger than a minute."""
    sets = sorted(store.all(), key=_age_began_s)
    kept, kept_bytes = len(sets), sum(each.kept_bytes for each in sets)
    busy = store.active.sets()
    for each in sets:
        age_s = now_s - _age_began_s(each)
        is_over = kept > store.keep.max_sets or kept_bytes > store.keep.max_bytes
        if not is_over and age_s <= store.keep.max_age_s:
            return
        if age_s >= YOUNGEST_S and each.set_id not in busy:
            kept, kept_bytes = kept - 1, kept_bytes - each.kept_bytes
            yield each


def _age_began_s(each: ChangeSet) -> float:
    return max(each.moved_s, each.about.created_s)
