"""What stands where a step would move something: as expected, or changed by somebody else.

May touch: both places, to read. Before a step was ever applied, its place must be as the command
saw it: no later transition of ours touched it, and nothing there has a ctime after the command
began. Once we put something there, it must be what we put, by kind, size, time and mode.
"""

import os
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from sandbox.changes.objects import listed, metadata, walk
from sandbox.changes.record import Record, Stamp, Standing, Turn, stamp
from sandbox.changes.record_text import SetError
from sandbox.changes.site import Site
from sandbox.changes.store import ChangeStore
from sandbox.dirfd import lstat

_LOOK_IN = 0o500


class Planned(NamedTuple):
    """One step that can be turned."""

    turn: Turn
    standing: Standing  # as it will be


class Touches:
    """Paths of a workspace that other sets moved since a moment."""

    def __init__(self, paths: Iterable[str] = (), dressed: Iterable[str] = ()) -> None:
        self._paths = sorted(paths)
        self._dressed = frozenset(dressed)

    def hit(self, path: str, *, is_dress: bool) -> bool:
        """Return whether one is this path, above it or below it."""
        if not self._paths and not self._dressed:
            return False
        if is_dress:
            return path in self._dressed or self._has(path)
        return self._has(path) or self._has_below(path) or any(map(self._has, _above(path)))

    def _has(self, path: str) -> bool:
        at = bisect_left(self._paths, path)
        return at < len(self._paths) and self._paths[at] == path

    def _has_below(self, path: str) -> bool:
        at = bisect_left(self._paths, path + "/")
        return at < len(self._paths) and self._paths[at].startswith(path + "/")


def touches(store: ChangeStore, record: Record) -> Touches:
    """Return what other sets moved in the workspace since the set's command began."""
    moved: list[str] = []
    dressed: list[str] = []
    root, after = record.about.root, record.about.after
    others = {line.set_id: line.root for line in store.history.since(after)}
    for set_id, other_root in others.items():
        if set_id == record.set_id or not _overlap(root, other_root):
            continue
        with suppress(SetError):  # it is gone; times tell as well
            for each in store.record(set_id).standings:
                path = _relative(f"{other_root}/{each.step.path}", root)
                if each.numbers and each.numbers[-1] > after and path is not None:
                    (dressed if each.step.move == "dress" else moved).append(path)
    return Touches(moved, dressed)


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _relative(path: str, root: str) -> str | None:
    """Return a path as seen from a root: "" for the root or what is above it, None for others."""
    if path.startswith(root + "/"):
        return path[len(root) + 1 :]
    return "" if path == root or root.startswith(path + "/") else None


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


class Check:
    """Looks at the steps of one transition, in the order in which they turn."""

    def __init__(
        self, record: Record, site: Site, others: Touches, opened: Mapping[str, int], number: int
    ) -> None:
        """Look at steps.

        Args:
            record: the set.
            site: where it stands.
            others: what other sets moved since its command began.
            opened: directories that are open for now: the mode each is to have.
            number: of the transition.
        """
        self._record = record
        self._number = number
        self._site = site
        self._others = others
        self._opened = opened
        self._arriving: set[str] = set()
        self._leaving: set[str] = set()
        self.planned: dict[int, Planned] = {}
        self.changed: list[str] = []  # paths that somebody else changed

    def step(self, index: int) -> None:
        """Look at one step: it is planned then, or what was changed is noted."""
        standing = self._record.standings[index]
        if standing.step.move == "dress":
            self._dress(index, standing)
            return
        to_apply = not standing.is_applied
        here, there = standing.ours, standing.theirs
        coming, going = (here, there) if to_apply else (there, here)
        is_going = standing.step.move != ("place" if to_apply else "take")
        is_coming = standing.step.move != ("take" if to_apply else "place")
        found = self._found(standing, going) if is_going else self._absent(standing)
        if found is None:
            return
        now, inode = found
        if standing.is_bare and is_coming and coming[0].is_directory:
            self._arriving.add(standing.step.path)
        if is_going:
            self._leaving.add(standing.step.path)
        turn = Turn(
            index,
            ("swap" if is_going else "in") if is_coming else "out",
            standing.slot,
            standing.slot,
            self._held(standing, coming[0]) if is_coming else 0,
            inode,
        )
        theirs = now if to_apply else standing.theirs
        numbers = (*standing.numbers, self._number)
        self.planned[index] = Planned(turn, standing._replace(numbers=numbers, theirs=theirs))

    def _absent(self, standing: Standing) -> tuple[tuple[Stamp, ...], int] | None:
        """Return that nothing leaves, if the place is free."""
        path = standing.step.path
        if not self._arriving.isdisjoint(_above(path)):
            return (), 0
        place = self._site.place(path)
        is_free = place is not None and lstat(*place) is None
        if is_free and (standing.numbers or not self._was_deleted(path)):
            return (), 0
        self.changed.append(path)
        return None

    def _was_deleted(self, path: str) -> bool:
        """Return whether the workspace had this name when the command began, or another set did."""
        is_orphan = path in self._record.found.orphans
        return is_orphan or self._others.hit(path, is_dress=False)

    def _found(
        self, standing: Standing, expected: Sequence[Stamp]
    ) -> tuple[tuple[Stamp, ...], int] | None:
        """Return what leaves the workspace and its inode, if it is what is to leave."""
        path = standing.step.path
        status = self._site.status(path)
        if status is None:
            self.changed.append(path)
            return None
        walked = [("", status)]
        if stat.S_ISDIR(status.st_mode) and not standing.is_bare:
            walked = list(walk(*self._site.root.parent(path), "pass"))
        now = tuple(self._stamp(path, inner, each) for inner, each in walked)
        changed = [_joined(path, inner) for inner in differences(expected, now)] if expected else []
        if not expected and not standing.is_bare:
            newest_ns = max(each.st_ctime_ns for _, each in walked)
            is_touched = self._others.hit(path, is_dress=False)
            changed = [path] * (is_touched or newest_ns > self._record.about.since_ns)
        if standing.is_bare and now[0].is_directory:
            names = (_joined(path, name) for name, _ in listed(self._site.root.at(path)))
            changed += [name for name in names if name not in self._leaving]
        self.changed += changed
        return None if changed else (now, status.st_ino)

    def _stamp(self, path: str, inner: str, status: os.stat_result) -> Stamp:
        seen = stamp(inner, status)
        mode = self._opened.get(_joined(path, inner)) if self._opened else None
        return seen if mode is None else seen._replace(mode=mode)

    def _held(self, standing: Standing, expected: Stamp) -> int:
        """Return the inode of what the set holds for a step."""
        try:
            status = lstat(*self._site.own.parent(standing.slot))
        except FileNotFoundError:
            status = None
        # A directory may have been opened; what is in it is the digest's to tell.
        if status is not None and is_same(expected, stamp("", status), mode_matters=False):
            return status.st_ino
        raise SetError(
            f"change set {self._record.set_id} is damaged: what it keeps for "
            f"{standing.step.path!r} is not what it was; nothing was changed"
        )

    def _dress(self, index: int, standing: Standing) -> None:
        path = standing.step.path
        status = self._site.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            self.changed.append(path)
            return
        now = metadata(*self._site.root.parent(path))
        now = replace(now, mode=self._opened.get(path, now.mode))
        expected = standing.dressed if standing.is_applied else standing.undressed
        is_changed = now != expected
        if expected is None:
            before = next(c.mode_before for c in self._record.found.changes if c.path == path)
            is_changed = now.mode != before or self._others.hit(path, is_dress=True)
        if is_changed:
            self.changed.append(path)
            return
        undressed = standing.undressed if standing.is_applied else now
        numbers = (*standing.numbers, self._number)
        turn = Turn(index, "dress", standing.slot, standing.slot, status.st_ino)
        self.planned[index] = Planned(turn, standing._replace(numbers=numbers, undressed=undressed))


def differences(
    expected: Sequence[Stamp], now: Sequence[Stamp], *, modes_matter: bool = True
) -> list[str]:
    """Return the paths of a tree that are not as they were, or are there no more, or anew.

    Modes of directories do not matter where we opened some.
    """
    if tuple(expected) == tuple(now):
        return []
    before, after = ({each.path: each for each in stamps} for stamps in (expected, now))
    hidden: set[str] = set()
    if os.geteuid():  # what is closed to its owner was looked into by nobody
        hidden = {s.path for s in expected if s.is_directory and s.mode & _LOOK_IN != _LOOK_IN}
    return [
        path
        for path in sorted(before.keys() | after.keys())
        if hidden.isdisjoint(_above(path))
        and not (
            path in before
            and path in after
            and is_same(before[path], after[path], mode_matters=modes_matter)
        )
    ]


def is_same(one: Stamp, other: Stamp, *, mode_matters: bool = True) -> bool:
    """Return whether an object was not changed; of a directory, not what is in it."""
    if one.kind != other.kind:
        return False
    if one.is_directory:  # its time changes with what is in it, and that is compared
        return not mode_matters or one.mode == other.mode
    return one[2:] == other[2:]


def _joined(path: str, inner: str) -> str:
    return f"{path}/{inner}" if inner else path
