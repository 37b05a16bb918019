"""A directory in the workspace through which objects of another filesystem come and go.

May touch: that directory, and what a step holds in the set. A rename needs both objects on one
mount, so what comes is copied in before, and what left is copied out after.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.changes.check import Planned
from sandbox.changes.copies import Copies
from sandbox.changes.objects import remove, walk
from sandbox.changes.record import Record, Stamp, Turn
from sandbox.changes.site import Site
from sandbox.dirfd import lstat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PART = "part"


def name_of(set_id: str) -> str:
    """Return the name of the staging directory in the workspace's root."""
    return f".permitgate-{set_id}"


@contextmanager
def opened(site: Site, set_id: str) -> Iterator[int | None]:
    """Open the staging directory of a set; None where there is none."""
    name = name_of(set_id)
    status = lstat(site.root_fd, name)
    if status is None:
        yield None
        return
    descriptor = os.open(name, _DIRECTORY, dir_fd=site.root_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make(site: Site, set_id: str) -> None:
    """Make the staging directory; the root keeps its time."""
    os.mkdir(name_of(set_id), 0o700, dir_fd=site.root_fd)


class Bringing:
    """Copies in what comes; `parts` is the number of slots given out for what leaves."""

    def __init__(self, site: Site, staging: int, parts: int, *, durable: bool) -> None:
        self._site = site
        self._staging = staging
        self._copies = Copies(staging, durable=durable)
        self._number = 0
        self.parts = parts

    def bring(self, planned: Planned) -> Planned:
        """Return a step with the places and inodes of copies.

        Raises:
            OSError: no space or no permission.
        """
        turn, standing = planned.turn, planned.standing
        if turn.kind == "dress":
            return planned
        self._number += 1
        turn = turn._replace(slot=str(self._number))
        if turn.coming:
            self._copies.copy(self._site.own.parent(turn.source), turn.slot)
            now = dict(walk(self._staging, turn.slot, "open"))
            turn = turn._replace(coming=now[""].st_ino)
            if standing.is_applied:  # it will be
                standing = standing._replace(ours=_as_copied(standing.ours, now))
            else:
                standing = standing._replace(theirs=_as_copied(standing.theirs, now))
        if turn.going:
            self.parts += 1
            standing = standing._replace(slot=f"{_PART}/{self.parts}")
        return Planned(turn, standing)


def _as_copied(stamps: Sequence[Stamp], now: dict[str, os.stat_result]) -> tuple[Stamp, ...]:
    """Return the stamps with the times of the copies: a filesystem may keep coarser ones."""
    return tuple(
        each if each.is_directory else each._replace(mtime_ns=now[each.path].st_mtime_ns)
        for each in stamps
    )


def copy_out(
    site: Site, staging: int, record: Record, turns: Sequence[Turn], *, durable: bool
) -> None:
    """Copy what left the workspace into the set; a part that is there already is made anew.

    Raises:
        OSError: no space or no permission.
    """
    copies = Copies(site.own_fd, durable=durable)
    for turn in turns:
        if turn.going:
            slot = record.standings[turn.nth].slot
            remove(*site.slot(slot))
            copies.copy((staging, turn.slot), slot)


def clear(site: Site, set_id: str) -> None:
    """Remove the staging directory; the root keeps its time."""
    name = name_of(set_id)
    if lstat(site.root_fd, name) is not None:
        remove(site.root_fd, name)
