"""What is kept, for people and policy: which change sets there are, and what each of them means.

May touch: the change store and files of the workspace, to read. Nothing here changes either.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox import dirfd
from sandbox.changes import rendered
from sandbox.changes.drafts import opened
from sandbox.changes.model import Change, ChangeSet
from sandbox.changes.objects import reading
from sandbox.changes.record import Record
from sandbox.changes.store import ChangeStore
from sandbox.profile import is_within

COMPARED_BYTES = 1 << 20  # of a file; a larger one is said, not shown


class Shelf:
    """Looks into the change sets of one owner."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store

    def all(self) -> tuple[ChangeSet, ...]:
        """Return every set that can be read, newest last."""
        return self._store.all()

    def one(self, set_id: str) -> ChangeSet:
        """Return one set.

        Raises:
            SetError: there is none of this id, or it cannot be read.
        """
        return self._store.load(set_id)

    def changes(
        self, set_id: str, paths: Sequence[str] | None = None, *, applied: bool | None = None
    ) -> tuple[Change, ...]:
        """Return the changes of a set, or those that are, or are not, in the workspace.

        Raises:
            SetError: there is none of this id, or it cannot be read.
        """
        return _chosen(self._store.record(set_id), paths, applied=applied)

    def digest(self, set_id: str) -> str:
        """Return the digest over every byte that a commit would bring; raises as `one` does."""
        return self._store.digest(set_id)

    def stat(
        self, set_id: str, paths: Sequence[str] | None = None, *, applied: bool | None = None
    ) -> str:
        """Return a line for each file, and how much changed in all."""
        with self._view(set_id) as view:
            changes = _chosen(view.record, paths, applied=applied)
            return rendered.stat(changes, view.before, view.after)

    def diff(
        self, set_id: str, paths: Sequence[str] | None = None, *, applied: bool | None = None
    ) -> str:
        """Return the changes as a unified diff, bounded; what cannot be shown is said."""
        with self._view(set_id) as view:
            changes = _chosen(view.record, paths, applied=applied)
            return rendered.diff(changes, view.before, view.after)

    @contextmanager
    def _view(self, set_id: str) -> Iterator["_View"]:
        record = self._store.record(set_id)
        root = record.about.root
        with opened(self._store.place(set_id)) as own, dirfd.directory(root) as workspace:
            yield _View(record, own, workspace)


class _View:
    """The two sides of every change of one set."""

    def __init__(self, record: Record, own: int, workspace: int) -> None:
        self.record, self._own, self._workspace = record, own, workspace
        self._slots = {each.step.path: each for each in record.standings}

    def before(self, path: str) -> bytes | None:
        """Return what a file held before the set; None: nothing, or too much to show."""
        return self._side(path, ours=False)

    def after(self, path: str) -> bytes | None:
        """Return what a file holds with the set; None: nothing, or too much to show."""
        return self._side(path, ours=True)

    def _side(self, path: str, *, ours: bool) -> bytes | None:
        step = path
        while step and step not in self._slots:
            step = step.rpartition("/")[0]
        standing = self._slots.get(step)
        if standing is None or standing.is_applied == ours:
            return _content(self._workspace, path)
        return _content(self._own, standing.slot + path[len(step) :])


def _chosen(
    record: Record, paths: Sequence[str] | None, *, applied: bool | None
) -> tuple[Change, ...]:
    standings = enumerate(record.standings)
    steps = [n for n, each in standings if applied is None or each.is_applied == applied]
    changes = record.changes_of(steps)
    if paths is None:
        return changes
    return tuple(one for one in changes if any(is_within(one.path, path) for path in paths))


def _content(base: int, path: str) -> bytes | None:
    """Return what a regular file holds, or where a link leads; by descriptors that follow none."""
    try:
        with dirfd.Descent(base) as inside:
            parent, name = inside.parent(path)
            if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                return os.fsencode(os.readlink(name, dir_fd=parent))
            with reading(parent, name) as file:
                content = os.read(file, COMPARED_BYTES + 1)
    except (OSError, dirfd.PathRefusedError):
        return None
    return content if len(content) <= COMPARED_BYTES else None


def at(base: Path) -> Shelf:
    """Return the shelf of a store's directory."""
    return Shelf(ChangeStore(base))
