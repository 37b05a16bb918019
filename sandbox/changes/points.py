"""Restore points: bring a workspace back to what it was at a mark, by turning sets back.

May touch: what `transaction.py` touches. Every step that does not stand as it stood at the mark is
turned, those of the newest transition first; so a set that was undone since is applied again.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sandbox.changes.marks import Mark
from sandbox.changes.model import Change
from sandbox.changes.record import Record
from sandbox.changes.record_text import SetError
from sandbox.changes.recovery import recover_locked
from sandbox.changes.store import ChangeStore
from sandbox.changes.transaction import How, turn
from sandbox.permit import SandboxError


@dataclass(frozen=True, slots=True)
class Inversion:
    """Steps of one set that restoring turns back, all of one transition."""

    set_id: str
    to_apply: bool  # it was undone since the mark; else it was applied
    steps: tuple[int, ...]
    changes: tuple[Change, ...]  # that are made again, or taken back


def mark(store: ChangeStore, name: str, root: str) -> Mark:
    """Name this moment; a mark of the same name moves to now.

    Raises:
        SetError: the name does not display as written, or is too long.
    """
    with store.locked():
        recover_locked(store)
        return store.marks.add(name, root, store.history.last())


def marks(store: ChangeStore, root: str) -> tuple[Mark, ...]:
    """Return the marks of a workspace, the newest last."""
    found = (each for each in store.marks.all() if each.root == root)
    return tuple(sorted(found, key=lambda each: (each.number, each.made_s)))


def restore_plan(store: ChangeStore, name: str, root: str) -> tuple[Inversion, ...]:
    """Return what restoring would turn back, in order; nothing is changed.

    Raises:
        SetError: there is no such mark, or a set since then is gone.
    """
    with store.locked():
        recover_locked(store)
        return _plan(store, name, root)


def restore(store: ChangeStore, name: str, root: str) -> tuple[Inversion, ...]:
    """Bring the workspace to what it was at a mark, or leave it; return what was turned back.

    Each set is turned as a whole. A crash between two sets leaves what was turned until then, and
    restoring again goes on.

    Raises:
        SetError: there is no such mark, or a set since then is gone.
        ChangedError: somebody else changed what would be replaced; its `paths` say what.
        SandboxError: no space or no permission.
    """
    with store.locked():
        recover_locked(store)
        plan = _plan(store, name, root)
        for done, each in enumerate(plan):
            try:
                turn(store, each.set_id, How(to_apply=each.to_apply, steps=each.steps))
            except SandboxError:
                _forth_again(store, plan[:done])
                raise
    return plan


def _forth_again(store: ChangeStore, done: Sequence[Inversion]) -> None:
    for each in reversed(done):
        with suppress(SandboxError):  # who changed a file in this moment keeps it
            turn(store, each.set_id, How(to_apply=not each.to_apply, steps=each.steps))


def _plan(store: ChangeStore, name: str, root: str) -> tuple[Inversion, ...]:
    at = next((each for each in marks(store, root) if each.name == name), None)
    if at is None:
        raise SetError(f"there is no restore point {name!r} of {root!r}; nothing was changed")
    since = store.history.since(at.number)
    touched = dict.fromkeys(line.set_id for line in since if line.root == root)
    found: dict[int, Inversion] = {}
    for set_id in touched:
        record = _record(store, set_id, name)
        if record.forgotten > at.number:
            raise SetError(
                f"restore point {name!r} is out of reach: a part of change set {set_id} was "
                "discarded since; nothing was changed"
            )
        found |= _of_set(record, at.number)
    return tuple(found[number] for number in sorted(found, reverse=True))


def _record(store: ChangeStore, set_id: str, name: str) -> Record:
    try:
        return store.record(set_id)
    except SetError as error:
        raise SetError(f"restore point {name!r} is out of reach: {error}") from error


def _of_set(record: Record, number: int) -> dict[int, Inversion]:
    """Return what to turn back of one set, by the transition that turned it last."""
    found: dict[int, Inversion] = {}
    for index, standing in enumerate(record.standings):
        to_apply = standing.was_applied(number)
        if to_apply != standing.is_applied:
            last = standing.numbers[-1]
            empty = Inversion(record.set_id, to_apply, (), ())
            known = found.get(last, empty)
            found[last] = replace(known, steps=(*known.steps, index))
    return {
        last: replace(each, changes=record.changes_of(each.steps)) for last, each in found.items()
    }
