"""Applying and reverting: steps of a change set turn together, or not at all.

May touch: the workspace, by rename, and the set. The order:
  1. directories closed to their owner are opened; a marker says so, and that 3 will happen
  2. what stands at each place is looked at; what somebody else changed is left out, or ends it
  3. across filesystems: what comes is copied into a directory in the workspace
  4. the journal is durable: the record as it will be, with inodes of all that moves
  5. the renames, then modes, owners and times of directories
  6. across filesystems: what left is copied into the set
  7. the journal becomes the record: this rename is the moment at which it has happened
  8. what is not needed any more goes away, the marker last
If the power fails before 7, recovery takes back what was done; after 7 it finishes 8. An error on
the way is recovered from by the same code.
"""

import gc
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sandbox.changes import staging
from sandbox.changes.active import Marker, sync_path
from sandbox.changes.check import Check, Planned, Touches, touches
from sandbox.changes.choose import ancestors, choose
from sandbox.changes.model import Applied, Reverted
from sandbox.changes.objects import is_closed, make_durable, open_up, sync_directory
from sandbox.changes.record import Record, Touched, Transition
from sandbox.changes.record_text import SetError
from sandbox.changes.recovery import recover_locked, settle
from sandbox.changes.site import Site, site
from sandbox.changes.store import RECORD, ChangeStore
from sandbox.changes.times import Touching
from sandbox.changes.turns import Turns, touch
from sandbox.permit import SandboxError

_SHOWN = 10


class ChangedError(SandboxError):
    """Somebody else changed what a transition would replace; nothing was changed."""

    def __init__(self, message: str, paths: tuple[str, ...]) -> None:
        super().__init__(message)
        self.paths = paths


@dataclass(frozen=True, slots=True)
class How:
    """What is wanted of a transition."""

    to_apply: bool
    paths: Sequence[str] | None = None  # with all below them; None for everything
    steps: Sequence[int] | None = None  # instead of paths: these, by their index
    is_whole: bool = True  # or nothing, if somebody else changed a place
    is_durable: bool = False  # on disk when it ends
    approved: str | None = None  # the digest that a person approved; another one is an error


def apply(
    store: ChangeStore,
    set_id: str,
    paths: Sequence[str] | None = None,
    *,
    durable: bool = False,
    approved: str | None = None,
) -> Applied:
    """Apply what is not applied; what somebody else changed meanwhile stays theirs.

    Args:
        store: where the set is; must not be locked by the caller.
        set_id: the set.
        paths: apply only these, with all below them.
        durable: everything is on disk when this returns.
        approved: the digest that a person approved; another one is an error.

    Raises:
        SetError: there is no such set, nothing to apply, or the digest is another.
        SandboxError: no space or no permission; nothing was changed.
    """
    how = How(True, paths, is_whole=False, is_durable=durable, approved=approved)
    with store.locked():
        recover_locked(store)
        return turn(store, set_id, how)


def apply_whole(store: ChangeStore, set_id: str, *, durable: bool = False) -> Applied:
    """Apply all that is not applied, or nothing; else as `apply`.

    Raises:
        ChangedError: somebody else changed a place meanwhile.
    """
    with store.locked():
        recover_locked(store)
        return turn(store, set_id, How(to_apply=True, is_durable=durable))


def revert(
    store: ChangeStore,
    set_id: str,
    paths: Sequence[str] | None = None,
    *,
    durable: bool = False,
) -> Reverted:
    """Put back what was there before, all of it or, of these paths, or nothing.

    Raises:
        ChangedError: somebody else changed what would be replaced; its `paths` say what.
        SetError: there is no such set, it is undone already, or what it keeps is damaged.
        SandboxError: no space or no permission; nothing was changed.
    """
    how = How(to_apply=False, paths=paths, is_durable=durable)
    with store.locked():
        recover_locked(store)
        done = turn(store, set_id, how)
    return Reverted(set_id, done.number, done.changes)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let nobody search for cycles: a large set makes many objects, and none of them has one."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_uncollected()
def turn(store: ChangeStore, set_id: str, how: How) -> Applied:
    """Carry out one transition; the caller holds the lock and nothing waits for recovery.

    Raises as `apply`, `apply_whole` and `revert` do.
    """
    if store.active.has(set_id):
        raise SetError(f"change set {set_id} could not be recovered yet; nothing was changed")
    record = store.record(set_id)
    if how.approved is not None and store.digest_of(record) != how.approved:
        raise SetError(f"change set {set_id} is not what was approved; nothing was changed")
    transition = _Transition(store, record, how)
    try:
        with site(record.about.root, store.place(set_id)) as place:
            return transition.run(place)
    except OSError as error:
        _end(store, set_id)
        where = transition.at or record.about.root
        raise SandboxError(f"{where!r}: {error.strerror}; nothing was changed") from error
    except SandboxError:
        _end(store, set_id)
        raise


def _end(store: ChangeStore, set_id: str) -> None:
    """Take back what was done, or finish it; what cannot be done now is done at the next start."""
    with suppress(OSError, SandboxError):
        settle(store, set_id)


class _Transition:
    """One transition of one set; the numbers are those at the top."""

    def __init__(self, store: ChangeStore, record: Record, how: How) -> None:
        self._store = store
        self._record = record
        self._how = how
        self._number = 0
        self._marker = Marker(0, 0, is_staged=False)
        self._opened: dict[str, int] = {}
        self._touched: tuple[Touched, ...] = ()
        self.at = ""  # the path that is worked on, for errors

    def run(self, place: Site) -> Applied:
        self._begin(place)
        planned, changed = self._look(place)
        if not planned:
            return self._nothing(changed)
        is_staged = not place.is_one_mount
        self._touch(place, planned, is_staged=is_staged)
        if is_staged:
            self.at = self._record.about.root
            staging.make(place, self._record.set_id)
        with staging.opened(place, self._record.set_id) as stage:
            if stage is not None:
                planned = self._bring(place, stage, planned)
            done, overtaken = self._turn(place, stage, planned)
            if not done:
                return self._nothing((*changed, *overtaken))
            self._commit(place, stage, done)
        return Applied(
            self._record.set_id,
            self._number,
            self._record.changes_of([each.turn.nth for each in done]),
            tuple(sorted({*changed, *overtaken})),
        )

    def _nothing(self, changed: Iterable[str]) -> Applied:
        settle(self._store, self._record.set_id)
        return Applied(self._record.set_id, 0, conflicts=tuple(sorted(set(changed))))

    def _begin(self, place: Site) -> None:
        """Do 1."""
        record = self._record
        self.at = str(self._store.place(record.set_id))
        self._number = self._store.history.add(record.set_id, record.about.root)
        mtime_ns = os.fstat(place.root_fd).st_mtime_ns
        self._marker = Marker(self._number, mtime_ns, is_staged=not place.is_one_mount)
        if not place.is_one_mount:
            self._store.active.mark(record.set_id, self._marker)
        if os.geteuid():
            turning = [
                each.step.path for each in record.standings if each.is_applied != self._how.to_apply
            ]
            paths = {*turning, *(self._how.paths or ())}
            above = {directory for path in paths for directory in ancestors(path)}
            for path in sorted(above):
                self._open(place, path)

    def _open(self, place: Site, path: str) -> None:
        status = place.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode) or not is_closed(status.st_mode):
            return
        self.at = path
        self._opened[path] = stat.S_IMODE(status.st_mode)
        self._marker = replace(self._marker, opened=tuple(self._opened.items()))
        self._store.active.mark(self._record.set_id, self._marker)
        open_up(*place.root.parent(path), status.st_mode)

    def _look(self, place: Site) -> tuple[list[Planned], tuple[str, ...]]:
        """Do 2; return what can be turned, and the paths of what cannot."""
        how = self._how
        if how.steps is None:
            self._record, chosen = choose(self._record, how.paths, place, to_apply=how.to_apply)
        else:
            chosen = sorted(how.steps, reverse=not how.to_apply)
        others = Touches()
        if how.to_apply and self._number > self._record.about.after + 1:
            others = touches(self._store, self._record)
        check = Check(self._record, place, others, self._opened, self._number)
        for index in chosen:
            self.at = self._record.standings[index].step.path
            check.step(index)
        changed = tuple(sorted(set(check.changed)))
        if changed and how.is_whole:
            raise _changed(changed, to_apply=how.to_apply)
        return [check.planned[index] for index in chosen if index in check.planned], changed

    def _turn(
        self, place: Site, stage: int | None, planned: list[Planned]
    ) -> tuple[list[Planned], list[str]]:
        """Do 4 and 5; return what was turned, and the paths of what somebody changed just now."""
        before, how = self._record, self._how
        self._record = self._after(before, planned, stage)
        self._write_journal(place, planned)
        done: list[Planned] = []
        overtaken: list[str] = []
        turns = Turns(place, stage, to_apply=how.to_apply)
        for each in sorted(planned, key=lambda each: each.turn.kind == "dress"):
            self.at = each.standing.step.path
            if turns.do(each):
                done.append(each)
            elif how.is_whole:
                raise _changed((self.at,), to_apply=how.to_apply)
            else:
                overtaken.append(self.at)
        if overtaken and done:
            self._record = self._after(before, done, stage)
            self._write_journal(place, ())
        touch(place, self._touched)
        return done, overtaken

    def _bring(self, place: Site, stage: int, planned: list[Planned]) -> list[Planned]:
        """Do 3."""
        bringing = staging.Bringing(place, stage, self._record.parts, durable=self._how.is_durable)
        brought: list[Planned] = []
        for each in planned:
            self.at = each.standing.step.path
            brought.append(bringing.bring(each))
        self._record = replace(self._record, parts=bringing.parts)
        return brought

    def _touch(self, place: Site, planned: list[Planned], *, is_staged: bool) -> None:
        """Find the directories that are touched, before anything touches them."""
        how = self._how
        touching = Touching(place, self._record, self._opened, to_apply=how.to_apply)
        turning = {each.turn.nth for each in planned}
        is_last = all(
            each.is_applied == how.to_apply or index in turning
            for index, each in enumerate(self._record.standings)
        )
        # A directory that only has another time has no step; it goes with all, or with the rest.
        also = touching.all() if how.paths is None or is_last else set()
        self._touched = touching.directories(planned, also | ({"."} if is_staged else set()))
        self._record = replace(self._record, times=touching.times)

    def _after(self, before: Record, planned: Iterable[Planned], stage: int | None) -> Record:
        standings = {each.turn.nth: each.standing for each in planned}
        turns = tuple(each.turn for each in planned)
        last = Transition(
            self._number,
            self._how.to_apply,
            time.time_ns(),
            stage is not None,
            turns,
            self._touched,
        )
        return replace(before.with_standings(standings), last=last)

    def _write_journal(self, place: Site, planned: Iterable[Planned]) -> None:
        if self._how.is_durable:
            for each in planned:
                if each.turn.coming and each.turn.kind != "dress":
                    make_durable(*place.own.parent(each.turn.source))
        self.at = str(self._store.place(self._record.set_id))
        is_far = self._how.is_durable or not place.is_one_mount
        self._store.active.write_journal(self._record, durable_name=is_far)
        if self._how.is_durable:
            sync_path(str(self._store.place(self._record.set_id).parent))

    def _commit(self, place: Site, stage: int | None, done: list[Planned]) -> None:
        """Do 6, 7 and 8."""
        durable = self._how.is_durable
        self.at = str(self._store.place(self._record.set_id))
        if stage is not None:
            turns = [each.turn for each in done]
            staging.copy_out(place, stage, self._record, turns, durable=durable)
        if durable and self._record.last is not None:
            for each in self._record.last.touched:
                with suppress(FileNotFoundError):
                    sync_directory(place.root.at(each.path))
        set_id = self._record.set_id
        self._store.active.commit(set_id, f"{self._store.place(set_id)}/{RECORD}")
        with suppress(OSError, SandboxError):  # it has happened; the rest can be done later
            if durable:
                sync_directory(place.own_fd)
            if self._store.active.has(set_id):
                settle(self._store, set_id)


def _changed(paths: tuple[str, ...], *, to_apply: bool) -> ChangedError:
    shown = ", ".join(repr(path) for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    since = "meanwhile" if to_apply else "since"
    return ChangedError(f"changed {since}: {shown}{more}; nothing was changed", paths)
