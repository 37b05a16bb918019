"""What a crash, or an error, left half done: taken back before the commit, finished after it.

May touch: the workspace, by rename, and the set. INVARIANT: safe to repeat, and safe to be killed
in: each step looks at what is there, and the marker of a set goes last.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sandbox.changes import staging
from sandbox.changes.drafts import opened
from sandbox.changes.objects import chmod, listed, open_up, remove
from sandbox.changes.record import Record, Standing, Transition, Turn, owner
from sandbox.changes.site import Site, site
from sandbox.changes.store import RECORD, ChangeStore
from sandbox.changes.turns import Turns, open_all, touch, untouch, was_done
from sandbox.dirfd import Descent, PathRefusedError, directory
from sandbox.permit import SandboxError


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a transition."""

    root: str
    has_happened: bool
    kept: tuple[str, ...] = ()  # paths that somebody else changed in between; theirs stayed


def recover(store: ChangeStore) -> tuple[str, ...]:
    """Bring what a crash left to old or new; return a line for the operator for each set."""
    with store.locked():
        told = recover_locked(store)
        highest = max((each.number for each in store.all()), default=0)
        if highest > store.history.last():  # the power failed before the line was on disk
            store.history.add("", "", highest - 1)
    store.sweep()
    return tuple(told)


def recover_locked(store: ChangeStore) -> list[str]:
    """Settle every set that is at work; the caller holds the lock, so nobody works on it."""
    told: list[str] = []
    for set_id in sorted(store.active.sets()):
        try:
            told.append(_line(set_id, settle(store, set_id)))
        except (OSError, SandboxError) as error:
            told.append(f"change set {set_id} could not be recovered yet: {error}")
    return told


def _line(set_id: str, settled: Settled | None) -> str:
    if settled is None:
        return f"change set {set_id} or its workspace is gone, and with it an interrupted change"
    if settled.has_happened:
        return f"{settled.root}: a finished change was cleaned up, id {set_id}"
    left = f"; changed by someone else and left: {', '.join(settled.kept)}" if settled.kept else ""
    return f"{settled.root}: an interrupted change was rolled back{left}, id {set_id}"


def settle(store: ChangeStore, set_id: str) -> Settled | None:
    """Bring one set to old or new and say that it is at rest; None if it or its root is gone.

    Raises:
        OSError, SandboxError: not possible now; trying again goes on where this ended.
    """
    own = store.place(set_id)
    settled: Settled | None = None
    if own.is_dir():
        record, journal = store.record(set_id), store.active.journal(set_id)
        if _is_there(record.about.root):
            with site(record.about.root, own) as place:
                settled = _Settling(store, place, record, journal).run()
        elif journal is not None:
            _leave(store, journal)
    store.active.end(set_id)
    return settled


def _is_there(root: str) -> bool:
    try:
        with directory(root):
            return True
    except (FileNotFoundError, PathRefusedError):
        return False


def _leave(store: ChangeStore, journal: Record) -> None:
    """Keep for people what a workspace that is gone had before; the set knows what is where."""
    if journal.last is None or journal.last.is_staged:
        return
    with opened(store.place(journal.set_id)) as own, Descent(own) as held:
        kept = [turn for turn in journal.last.turns if was_done(held, turn)]
    if kept:
        store.replace_record(_as_left(journal, journal.last, kept))


class _Settling:
    """One set, brought to rest."""

    def __init__(
        self, store: ChangeStore, place: Site, record: Record, journal: Record | None
    ) -> None:
        self._store = store
        self._place = place
        self._record = record
        self._journal = journal
        self._marker = store.active.marker(record.set_id)

    def run(self) -> Settled:
        last = self._record.last
        has_happened = (
            self._journal is None and last is not None and last.number == self._marker.number
        )
        kept: list[Turn] = []
        with staging.opened(self._place, self._record.set_id) as stage:
            if self._journal is not None and self._journal.last is not None:
                kept = self._take_back(self._journal, self._journal.last, stage)
        if self._journal is None and not has_happened:
            self._close_again()
        self._clear(has_happened=has_happened)
        standings = self._record.standings
        paths = tuple(sorted(standings[turn.nth].step.path for turn in kept))
        return Settled(self._record.about.root, has_happened, paths)

    def _take_back(self, journal: Record, last: Transition, stage: int | None) -> list[Turn]:
        open_all(self._place, last.touched)
        if last.is_staged and stage is None:  # taken back before, or somebody removed it
            kept = [each for each in last.turns if self._stands(each, journal)]
        else:
            turns = Turns(self._place, stage, to_apply=last.to_apply)
            kept = [
                turn
                for turn in reversed(last.turns)
                if not turns.take_back(turn, journal.standings[turn.nth])
            ]
        self._mend_held(last)
        if kept:
            self._record = _as_left(journal, last, kept)
            if last.is_staged and stage is not None:
                staging.copy_out(self._place, stage, self._record, kept, durable=False)
            self._store.replace_record(self._record)
        return kept

    def _mend_held(self, last: Transition) -> None:
        """Give directories their times back from which something was moved, and back again.

        That is a directory the set holds as a whole, and the transition would have split.
        """
        slots = {standing.slot: standing for standing in self._record.standings}
        for path in sorted({turn.slot.rpartition("/")[0] for turn in last.turns}, reverse=True):
            slot = owner(path, slots)
            standing = slots.get(slot)
            held = () if standing is None else standing.theirs or standing.ours
            if standing is not None and not standing.is_applied:
                held = standing.ours
            for each in held:
                if each.is_directory and each.path == path[len(slot) + 1 :]:
                    parent, name = self._place.own.parent(path)
                    times = (each.mtime_ns, each.mtime_ns)
                    with suppress(FileNotFoundError):
                        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _stands(self, turn: Turn, journal: Record) -> bool:
        """Return whether the workspace is as a step left it."""
        status = self._place.status(journal.standings[turn.nth].step.path)
        if turn.kind == "dress":
            return False
        return (
            status is None
            if turn.kind == "out"
            else (status is not None and status.st_ino == turn.coming)
        )

    def _close_again(self) -> None:
        """Give directories their modes back; those above may have them already, if we died here."""
        there: list[tuple[str, int]] = []
        for path, mode in self._marker.opened:
            status = self._place.status(path)
            if status is not None and stat.S_ISDIR(status.st_mode):
                open_up(*self._place.root.parent(path), status.st_mode)
                there.append((path, mode))
        for path, mode in reversed(there):
            chmod(*self._place.root.parent(path), mode)

    def _clear(self, *, has_happened: bool) -> None:
        """Remove what only the transition needed, and give directories their times."""
        staging.clear(self._place, self._record.set_id)
        last = self._record.last
        if self._journal is not None and self._journal.last is not None:
            untouch(self._place, self._journal.last.touched)
        elif has_happened and last is not None:
            touch(self._place, [each for each in last.touched if each.path == "."])
            self._remove_sources(last)
        elif self._marker.is_staged:
            self._place.set_mtime(".", self._marker.root_mtime_ns)
        with suppress(FileNotFoundError):
            os.unlink(f"{RECORD}.new", dir_fd=self._place.own_fd)
        self._remove_parts()

    def _remove_sources(self, last: Transition) -> None:
        """Remove the originals of what was copied into the workspace."""
        used = {standing.slot for standing in self._record.standings}
        for turn in last.turns:
            if last.is_staged and turn.coming and turn.kind != "dress" and turn.source not in used:
                with suppress(FileNotFoundError):
                    remove(*self._place.own.parent(turn.source))

    def _remove_parts(self) -> None:
        with suppress(FileNotFoundError):
            parts = self._place.own.at("part")
            for name, _ in listed(parts):
                if int(name) > self._record.parts:
                    remove(parts, name)


def _as_left(journal: Record, last: Transition, kept: Sequence[Turn]) -> Record:
    """Return the record when some steps could not be taken back: they count as turned."""
    stayed = {turn.nth for turn in kept}
    back = {
        turn.nth: _as_before(journal.standings[turn.nth], turn)
        for turn in last.turns
        if turn.nth not in stayed
    }
    return replace(journal.with_standings(back), last=replace(last, turns=tuple(kept)))


def _as_before(standing: Standing, turn: Turn) -> Standing:
    numbers = standing.numbers[:-1]
    slot = turn.source if turn.coming and turn.kind != "dress" else standing.slot
    before = standing._replace(numbers=numbers, slot=slot)
    return before if numbers else before._replace(theirs=(), undressed=None)
