"""One rename of a transition: done, and taken back by looking at what lies where.

May touch: both places, by rename, and the modes of what is renamed. INVARIANT: taking back is safe
to repeat, and never moves what is not the object that the journal names: somebody else's is theirs.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sandbox.changes.check import Planned, differences, is_same
from sandbox.changes.objects import chmod, dress, listed, open_up, walk
from sandbox.changes.record import Stamp, Standing, Touched, Turn, stamp
from sandbox.changes.renames import Place, shift, swap
from sandbox.changes.site import Site
from sandbox.dirfd import Descent, Metadata, PathRefusedError, lstat

_OPEN = 0o700
# Somebody was faster: what should leave is gone, what should be free is taken, a directory moved.
_OVERTAKEN = (FileExistsError, FileNotFoundError, PathRefusedError)


class Turns:
    """The renames of one transition."""

    def __init__(self, site: Site, staging: int | None, *, to_apply: bool) -> None:
        self._site = site
        self._to_apply = to_apply
        # Where the workspace's objects are exchanged with: on the same mount as they.
        self._side_fd = site.own_fd if staging is None else staging
        self._side = site.beside(self._side_fd)
        self._is_staged = staging is not None

    def do(self, planned: Planned) -> bool:
        """Turn one step; return False, and leave all as it was, if somebody else was faster.

        Raises:
            OSError: no space or no permission.
        """
        turn, standing = planned.turn, planned.standing
        if turn.kind == "dress":
            self._dress(standing, standing.dressed if self._to_apply else standing.undressed)
            return True
        try:
            is_done = self._rename(planned)
        except _OVERTAKEN:
            return False
        if is_done and turn.coming:
            with suppress(*_OVERTAKEN):  # it landed; what others do with it is theirs to do
                coming = self._stamps(standing)[0]
                self._close(standing.step.path, coming, is_bare=standing.is_bare)
        return is_done

    def _rename(self, planned: Planned) -> bool:
        turn, standing = planned.turn, planned.standing
        path, (coming, going) = standing.step.path, self._stamps(standing)
        place, side = self._site.root.parent(path), self._place(turn.slot)
        if turn.going:
            _open_top(place, going)
            if standing.is_bare and going[0].is_directory:
                if listed(self._site.root.at(path)):
                    return False  # it would be taken with what somebody put there
                place = self._site.root.parent(path)
        if turn.coming:
            _open_top(side, coming)
        if turn.kind == "in":
            shift(side, place)
        elif turn.kind == "out":
            shift(place, side)
        else:
            swap(side, place, self._aside(turn))
        if turn.going and not _is(side, turn.going, going[:1] if standing.is_bare else going):
            self._rename_back(turn, path)
            return False
        return True

    def take_back(self, turn: Turn, standing: Standing) -> bool:
        """Bring one step to where it stood before; return False if somebody else's is there now.

        Then what was there before lies in the slot.

        Raises:
            OSError: no space or no permission; trying again goes on where this ended.
        """
        if turn.kind == "dress":
            return self._undress(turn, standing)
        path = standing.step.path
        if not was_done(self._side, turn):
            self._close_unmoved(turn, standing)
            return True
        if self._site.place(path) is None or not self._may_go_back(turn, standing):
            self._hold_what_was(turn)
            return False
        self._rename_back(turn, path)
        if turn.going:
            self._close(path, self._stamps(standing)[1], is_bare=False)
        return True

    def _close_unmoved(self, turn: Turn, standing: Standing) -> None:
        """Give a directory its mode back that was opened to be moved, and was not."""
        going = self._stamps(standing)[1]
        if turn.going and going[0].is_directory and going[0].mode & _OPEN != _OPEN:
            status = self._site.status(standing.step.path)
            if status is not None and status.st_ino == turn.going:
                chmod(*self._site.root.parent(standing.step.path), going[0].mode)

    def _may_go_back(self, turn: Turn, standing: Standing) -> bool:
        """Return whether the workspace has what we brought, or nothing where we took it away."""
        path = standing.step.path
        now = self._site.status(path)
        if turn.kind == "out" or (turn.kind == "swap" and self._is_half_swapped(turn)):
            return now is None
        coming = self._stamps(standing)[0]
        if now is None or now.st_ino != turn.coming:
            return False
        if not stat.S_ISDIR(now.st_mode):
            return is_same(coming[0], stamp("", now))
        # What somebody else wrote in a new directory must not vanish with it.
        place = self._site.root.parent(path)
        open_up(*place, now.st_mode)
        if standing.is_bare:
            return not listed(self._site.root.at(path))
        now_there = [stamp(*each) for each in walk(*place, "open")]
        return not differences(coming, now_there, modes_matter=False)

    def _is_half_swapped(self, turn: Turn) -> bool:
        return lstat(*self._aside(turn)) is not None and _status(self._side, turn.slot) is not None

    def _rename_back(self, turn: Turn, path: str) -> None:
        place, side, aside = self._site.root.parent(path), self._place(turn.slot), self._aside(turn)
        if turn.kind == "in":
            shift(place, side)
        elif turn.kind == "out":
            shift(side, place)
        elif lstat(*aside) is None:
            # This way round: cut off, it is in a state that the way forth can be cut off in too.
            swap(place, side, aside)
        else:
            if lstat(*side) is None:
                shift(place, side)
            shift(aside, place)

    def _hold_what_was(self, turn: Turn) -> None:
        """Finish a swap that was cut off between its renames, on the side of the set."""
        if turn.kind == "swap" and lstat(*self._aside(turn)) is not None:
            side, aside = self._place(turn.slot), self._aside(turn)
            if lstat(*side) is not None:
                shift(side, (aside[0], f"{aside[1]}-ours"))
            shift(aside, side)

    def _undress(self, turn: Turn, standing: Standing) -> bool:
        status = self._site.status(standing.step.path)
        if status is None or status.st_ino != turn.coming:
            return False
        self._dress(standing, standing.undressed if self._to_apply else standing.dressed)
        return True

    def _dress(self, standing: Standing, wanted: Metadata | None) -> None:
        """Give a directory all but a mode that would close it: that comes last of all."""
        if wanted is not None:
            open_mode = replace(wanted, mode=wanted.mode | _OPEN)
            dress(*self._site.root.parent(standing.step.path), open_mode)

    def _stamps(self, standing: Standing) -> tuple[tuple[Stamp, ...], tuple[Stamp, ...]]:
        """Return what comes into the workspace and what leaves it."""
        ours, theirs = standing.ours, standing.theirs
        return (ours, theirs) if self._to_apply else (theirs, ours)

    def _place(self, slot: str) -> Place:
        return self._side.parent(slot) if self._is_staged else self._site.slot(slot)

    def _aside(self, turn: Turn) -> Place:
        """Return a free name, for filesystems that cannot exchange two objects."""
        return self._side_fd, _aside_name(turn)

    def _close(self, path: str, stamps: Sequence[Stamp], *, is_bare: bool) -> None:
        """Give directories that are closed to their owner their modes back, the deepest first."""
        closed = [each for each in stamps if each.is_directory and each.mode & _OPEN != _OPEN]
        for each in sorted(closed, key=lambda each: each.path, reverse=True):
            if each.path or not is_bare:
                place = self._site.root.parent(f"{path}/{each.path}" if each.path else path)
                chmod(*place, each.mode)


def was_done(held_by: Descent, turn: Turn) -> bool:
    """Return whether a rename was done, or begun, from what lies on the set's side alone."""
    held = _status(held_by, turn.slot)
    if turn.kind == "in":
        return held is None
    if turn.kind == "out":
        return held is not None
    if turn.kind == "dress":
        return False
    is_swapped = held is None or held.st_ino != turn.coming
    return is_swapped or _status(held_by, _aside_name(turn)) is not None


def _status(held_by: Descent, slot: str) -> os.stat_result | None:
    try:
        return lstat(*held_by.parent(slot))
    except FileNotFoundError:
        return None


def _aside_name(turn: Turn) -> str:
    return f"aside-{turn.nth}"


def touch(site: Site, touched: Sequence[Touched]) -> None:
    """Give the directories of a finished transition their modes and times."""
    for each in reversed(touched):
        _set(site, each.path, each.mode_after, each.mtime_after)


def untouch(site: Site, touched: Sequence[Touched]) -> None:
    """Give the directories of a transition that was taken back what they had."""
    for each in reversed(touched):
        status = site.status(each.path)
        if status is not None and status.st_ino == each.inode:
            _set(site, each.path, each.mode_before, each.mtime_before)


def open_all(site: Site, touched: Sequence[Touched]) -> None:
    """Let the owner into the directories of a transition that is to be taken back."""
    for each in touched:
        status = site.status(each.path)
        if status is not None and status.st_ino == each.inode:
            open_up(*site.root.parent(each.path), status.st_mode)


def _set(site: Site, path: str, mode: int, mtime_ns: int) -> None:
    status = site.status(path)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return
    site.set_mtime(path, mtime_ns)
    if stat.S_IMODE(status.st_mode) != mode:
        chmod(*site.root.parent(path), mode)


def _open_top(place: Place, stamps: Sequence[Stamp]) -> None:
    """Let a directory be renamed: its owner must be able to write in it."""
    if stamps[0].is_directory:
        open_up(*place, stamps[0].mode)


def _is(place: Place, inode: int, expected: Sequence[Stamp]) -> bool:
    """Return whether an object is what it was, with all below it; directories may be open now."""
    status = lstat(*place)
    if status is None or status.st_ino != inode:
        return False
    if len(expected) == 1:
        return is_same(expected[0], stamp("", status), mode_matters=False)
    now = [stamp(*each) for each in walk(*place, "pass")]
    return not differences(expected, now, modes_matter=False)
