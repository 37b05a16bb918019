"""Which steps a transition turns: all, or those of some paths, split where a path lies inside one.

May touch: the set's directory, to make directories for split steps; both places, to read. The steps
of a directory that moves whole are split like this, `slot` being where the set holds its object:
- the directory gets a step of its own (`is_bare`); if the set holds it, an empty copy takes its
  place and what is in it stays where it is;
- each name in it gets a step; if the workspace holds it, with a new slot;
- a directory for a directory is no rename any more: the names in them are, and its attributes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from sandbox.changes.model import Move, Step
from sandbox.changes.objects import dress, listed, metadata, open_up
from sandbox.changes.record import Record, Stamp, Standing, stamp
from sandbox.changes.record_text import SetError
from sandbox.changes.site import Site
from sandbox.dirfd import Metadata

_PART = "part"
_OPEN = 0o700


def choose(
    record: Record, paths: Sequence[str] | None, site: Site, *, to_apply: bool
) -> tuple[Record, list[int]]:
    """Return the record, with steps split where needed, and which of them to turn.

    Args:
        record: the set.
        paths: what to turn, with all below; None for everything.
        site: where it stands.
        to_apply: whether steps are to be applied, or reverted.

    Raises:
        SetError: a path is not among the changes, or there is nothing to turn.
    """
    if paths is not None:
        wanted = _Wanted(paths)
        record = _Splitter(record, site, wanted, to_apply=to_apply).split()
        covered = {n for n, each in enumerate(record.standings) if wanted.covers(each.step.path)}
        _require_known(record, paths)
    else:
        covered = set(range(len(record.standings)))
    turned = [n for n in covered if record.standings[n].is_applied != to_apply]
    if not turned:
        raise SetError(nothing_to_do(record.set_id, to_apply=to_apply))
    if paths is not None:
        turned += _directories_for(record, turned, to_apply=to_apply)
    return record, sorted(turned, reverse=not to_apply)


def nothing_to_do(set_id: str, *, to_apply: bool) -> str:
    """Return why a set cannot be applied, or reverted, and what can be done with it."""
    if to_apply:
        return f"change set {set_id} is applied already; nothing was changed"
    return (
        f"change set {set_id} is undone already, or was never applied; nothing was changed "
        "(to apply it again, redo it: undo with redo)"
    )


class _Wanted:
    """Paths and all below them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = {path.rstrip("/") for path in paths}
        self._above = {above for path in self._paths for above in ancestors(path)}

    def covers(self, path: str) -> bool:
        return path in self._paths or any(above in self._paths for above in ancestors(path))

    def lies_below(self, path: str) -> bool:
        return path in self._above


def ancestors(path: str) -> Iterator[str]:
    """Yield the directories above a path, the nearest first; not the root."""
    while path := path.rpartition("/")[0]:
        yield path


def _require_known(record: Record, paths: Sequence[str]) -> None:
    known = {change.path for change in record.found.changes}
    known |= {above for path in list(known) for above in ancestors(path)}
    for path in paths:
        if path.rstrip("/") not in known:
            raise SetError(
                f"{path!r} is not among the changes of set {record.set_id}; nothing was changed"
            )


def _directories_for(record: Record, turned: Sequence[int], *, to_apply: bool) -> list[int]:
    """Return the directories that must come so that what is turned has a place."""
    above = {path for n in turned for path in ancestors(record.standings[n].step.path)}
    return [
        n
        for n, each in enumerate(record.standings)
        if each.is_bare
        and each.is_applied != to_apply
        and each.step.path in above
        and _is_directory(each.ours if to_apply else each.theirs)
        and n not in turned
    ]


def _is_directory(stamps: Sequence[Stamp]) -> bool:
    return bool(stamps) and stamps[0].is_directory


class _Splitter:
    """Splits the steps of one record along the wanted paths."""

    def __init__(self, record: Record, site: Site, wanted: _Wanted, *, to_apply: bool) -> None:
        self._record = record
        self._site = site
        self._wanted = wanted
        self._to_apply = to_apply
        self._parts = record.parts
        self._times: list[tuple[str, int, int]] = []
        changed = {change.path for change in record.found.changes}
        self._changed = changed | {above for path in changed for above in ancestors(path)}

    def split(self) -> Record:
        pieces = tuple(piece for each in self._record.standings for piece in self._fine(each))
        times = tuple((path, after) for path, _, after in self._times)
        return replace(
            self._record,
            standings=pieces,
            parts=self._parts,
            times=(*self._record.times, *self._times),
            found=replace(self._record.found, times=(*self._record.found.times, *times)),
        )

    def _fine(self, standing: Standing) -> Iterator[Standing]:
        path = standing.step.path
        is_whole = (
            standing.is_applied == self._to_apply
            or standing.is_bare
            or standing.step.move == "dress"
            or self._wanted.covers(path)
            or not self._wanted.lies_below(path)
        )
        if is_whole:
            yield standing
            return
        for piece in self._pieces(standing):
            yield from self._fine(piece) if piece.step.path != path else (piece,)

    def _pieces(self, standing: Standing) -> list[Standing]:
        theirs = self._theirs(standing)
        is_ours, is_theirs = _is_directory(standing.ours), _is_directory(theirs)
        if is_ours and is_theirs:
            return self._merged(standing, theirs)
        if is_ours:
            slot = standing.slot if standing.is_applied else self._copy(standing, standing.ours[0])
            bare = standing._replace(slot=slot, is_bare=True, ours=standing.ours[:1])
            return [bare, *self._children(standing, "place", standing.ours)]
        if is_theirs:
            slot = self._copy(standing, theirs[0]) if standing.is_applied else standing.slot
            bare = standing._replace(slot=slot, is_bare=True, theirs=standing.theirs[:1])
            return [*self._children(standing, "take", theirs), bare]
        return [standing]

    def _theirs(self, standing: Standing) -> tuple[Stamp, ...]:
        """Return what the step replaces; only names count where it was never applied."""
        if standing.theirs or standing.step.move == "place":
            return standing.theirs
        status = self._site.status(standing.step.path)
        if status is None:
            return ()
        top = stamp("", status)
        if not top.is_directory:
            return (top,)
        inside = self._site.root.at(standing.step.path)
        return (top, *(stamp(name, status) for name, status in listed(inside)))

    def _children(self, standing: Standing, move: Move, stamps: Sequence[Stamp]) -> list[Standing]:
        return [self._child(standing, move, name) for name in _names(stamps)]

    def _child(self, standing: Standing, move: Move, name: str) -> Standing:
        is_held = move == "exchange" or (move == "take") == standing.is_applied
        slot = f"{standing.slot}/{name}" if is_held else self._part()
        return Standing(
            Step(move, f"{standing.step.path}/{name}"),
            slot,
            standing.numbers,
            ours=() if move == "take" else _of(standing.ours, name),
            theirs=() if move == "place" else _of(standing.theirs, name),
        )

    def _merged(self, standing: Standing, theirs: Sequence[Stamp]) -> list[Standing]:
        """Split one directory for another: what both have alike stays where it is."""
        path = standing.step.path
        here, there = _names(standing.ours), _names(theirs)
        changed = [name for name in here if f"{path}/{name}" in self._changed]
        moves: dict[str, Move] = {
            name: "exchange" if name in there else "place" for name in changed
        }
        moves |= {name: "take" for name in there if name not in here}
        self._times.append((path, theirs[0].mtime_ns, standing.ours[0].mtime_ns))
        children = [self._child(standing, moves[name], name) for name in sorted(moves)]
        ours_kept, theirs_kept = self._metadata(standing, theirs[0])
        if ours_kept == theirs_kept:
            return children
        step = Step("dress", path)
        bare = standing._replace(step=step, ours=(), theirs=())
        return [bare._replace(dressed=ours_kept, undressed=theirs_kept), *children]

    def _metadata(self, standing: Standing, theirs: Stamp) -> tuple[Metadata, Metadata]:
        held = self._held(standing)
        live = metadata(*self._site.root.parent(standing.step.path))
        ours, other = (live, held) if standing.is_applied else (held, live)
        return replace(ours, mode=standing.ours[0].mode), replace(other, mode=theirs.mode)

    def _copy(self, standing: Standing, like: Stamp) -> str:
        """Make an empty directory that looks like the one in the step's slot; return its slot."""
        wanted, slot = self._held(standing), self._part()
        parent, name = self._site.slot(slot)
        with suppress(FileExistsError):  # of a transition that a crash cut off
            os.mkdir(name, _OPEN, dir_fd=parent)
        dress(parent, name, replace(wanted, mode=like.mode | _OPEN))
        return slot

    def _held(self, standing: Standing) -> Metadata:
        """Return what the held directory keeps, and open it: what is in it will move by itself."""
        parent, name = self._site.own.parent(standing.slot)
        kept = metadata(parent, name)
        open_up(parent, name, kept.mode)
        return kept

    def _part(self) -> str:
        self._parts += 1
        return f"{_PART}/{self._parts}"


def _names(stamps: Sequence[Stamp]) -> list[str]:
    return [each.path for each in stamps if each.path and "/" not in each.path]


def _of(stamps: Sequence[Stamp], name: str) -> tuple[Stamp, ...]:
    """Return the stamps of one name in a directory and below it."""
    cut = len(name) + 1
    return tuple(
        each._replace(path=each.path[cut:])
        for each in stamps
        if each.path == name or each.path.startswith(f"{name}/")
    )
