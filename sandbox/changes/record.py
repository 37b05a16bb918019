"""The record of a change set: its steps, where each stands, and what there was before and after.

May touch: nothing. `record_text.py` writes it down and reads it again.
"""

import stat
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from os import stat_result
from typing import Literal, NamedTuple

from sandbox.changes.model import About, Change, ChangeSet, Found, Reason, State, Step
from sandbox.dirfd import Metadata

Letter = Literal["f", "d", "l", "o"]  # a file, directory, link, anything else
_LETTERS: dict[int, Letter] = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


class Stamp(NamedTuple):
    """One object as it was seen; who changes it changes this too."""

    path: str  # relative to the step's, "" for that itself
    kind: Letter
    size: int
    mtime_ns: int
    mode: int

    @property
    def is_directory(self) -> bool:
        """Return whether it is one."""
        return self.kind == "d"


def stamp(path: str, status: stat_result) -> Stamp:
    """Return what one object looks like."""
    kind = _LETTERS.get(stat.S_IFMT(status.st_mode), "o")
    size = 0 if kind == "d" else status.st_size
    return Stamp(path, kind, size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))


class Standing(NamedTuple):
    """One step of a set and where it stands."""

    step: Step
    slot: str  # where its other object lies in the set's directory, or will when there is one
    numbers: tuple[int, ...] = ()  # of the transitions that turned it, the first applied it
    is_bare: bool = False  # a directory alone; what is in it are steps of their own
    ours: tuple[Stamp, ...] = ()  # what the set brings; empty for take and dress
    theirs: tuple[Stamp, ...] = ()  # what it replaces; empty until it was applied once
    dressed: Metadata | None = None
    undressed: Metadata | None = None

    @property
    def is_applied(self) -> bool:
        """Return whether the workspace has ours."""
        return len(self.numbers) % 2 == 1

    def was_applied(self, after: int) -> bool:
        """Return whether the workspace had ours after a transition."""
        return sum(number <= after for number in self.numbers) % 2 == 1

    @property
    def kept_bytes(self) -> int:
        """Return the size of what lies in its slot."""
        return sum(each.size for each in (self.theirs if self.is_applied else self.ours))


class Turn(NamedTuple):
    """One rename of a transition, or one dressing; inodes say afterwards whether it happened."""

    nth: int  # standing
    kind: Literal["in", "out", "swap", "dress"]
    slot: str  # where it meets the workspace: in the set's directory, or in the staging directory
    source: str  # where the coming object lies in the set's directory
    coming: int = 0  # inode of what comes into the workspace, or of the directory that is dressed
    going: int = 0  # inode of what leaves it


class Touched(NamedTuple):
    """A directory of the workspace whose entries, mode or owner a transition changes."""

    path: str
    inode: int  # 0: it was not there, and the fields before say nothing
    mode_before: int
    mtime_before: int
    mode_after: int
    mtime_after: int


@dataclass(frozen=True, slots=True)
class Transition:
    """Steps that were applied together, or reverted together."""

    number: int
    to_apply: bool
    at_ns: int
    is_staged: bool  # through a directory in the workspace, as the set lies elsewhere
    turns: tuple[Turn, ...] = ()
    touched: tuple[Touched, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One change set."""

    set_id: str
    about: About
    found: Found  # its steps are those of `standings`
    standings: tuple[Standing, ...]  # in the order in which they are applied
    reasons: tuple[Reason, ...] = ()
    times: tuple[tuple[str, int, int], ...] = ()  # of directories: before and after applying
    parts: int = 0  # slots given out beside those of the upper layer
    forgotten: int = 0  # last transition of a step that was discarded since
    last: Transition | None = None

    @property
    def state(self) -> State:
        """Return where the set as a whole stands."""
        applied = sum(standing.is_applied for standing in self.standings)
        if applied:
            return "applied" if applied == len(self.standings) else "partly"
        return "undone" if any(standing.numbers for standing in self.standings) else "held"

    def with_standings(self, changed: dict[int, Standing]) -> "Record":
        """Return the record with some of its standings replaced."""
        return replace(
            self, standings=tuple(changed.get(n, old) for n, old in enumerate(self.standings))
        )

    def changes_of(self, indices: Sequence[int]) -> tuple[Change, ...]:
        """Return the changes that happen with some of the steps."""
        chosen = {self.standings[index].step.path for index in indices}
        steps = {standing.step.path for standing in self.standings}
        return tuple(change for change in self.found.changes if owner(change.path, steps) in chosen)

    def slots(self) -> dict[str, str]:
        """Return where the set's directory holds the object of each step, by the step's path."""
        return {standing.step.path: standing.slot for standing in self.standings}

    @property
    def head(self) -> ChangeSet:
        """Return what a list shows of the set."""
        moved_s = self.about.created_s if self.last is None else self.last.at_ns / 1e9
        return ChangeSet(
            self.set_id,
            self.about,
            self.reasons,
            self.state,
            len(self.found.changes),
            sum(standing.kept_bytes for standing in self.standings),
            moved_s,
            0 if self.last is None else self.last.number,
        )


def owner(path: str, steps: Container[str]) -> str:
    """Return the step that a change happens with: at its path, or the nearest above; "" if none."""
    while path and path not in steps:
        path = path.rpartition("/")[0]
    return path
