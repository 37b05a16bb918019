"""Which directories a transition touches, and the modes and times they have afterwards.

May touch: the workspace, to read. A rename changes the times of two directories; a command outside
would have left the time that the upper layer has, and reverting brings the former one back. What
somebody else did in a directory meanwhile keeps its time.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence

from sandbox.changes.check import Planned
from sandbox.changes.record import Record, Stamp, Touched
from sandbox.changes.site import Site


class Touching:
    """Finds the directories of one transition."""

    def __init__(
        self, place: Site, record: Record, opened: Mapping[str, int], *, to_apply: bool
    ) -> None:
        self._place = place
        self._opened = opened  # directories that are open for now: the mode each is to have
        self._to_apply = to_apply
        self._since_ns = record.about.since_ns
        self._wanted = dict(record.found.times)
        self._known = {path: (before, after) for path, before, after in record.times}

    def all(self) -> set[str]:
        """Return the directories whose times are known: other things than renames change them."""
        return {*self._wanted, *self._known}

    @property
    def times(self) -> tuple[tuple[str, int, int], ...]:
        """Return the times of directories to remember: before and after applying."""
        return tuple((path, *times) for path, times in sorted(self._known.items()))

    def directories(self, planned: Sequence[Planned], also: Iterable[str]) -> tuple[Touched, ...]:
        """Return what the steps touch, and some more directories, parents first."""
        arriving: dict[str, Stamp] = {}
        modes: dict[str, int] = {}
        paths = {*self._opened, *also}
        for each in planned:
            standing, path = each.standing, each.standing.step.path
            paths.add(path.rpartition("/")[0] or ".")
            coming = standing.ours if self._to_apply else standing.theirs
            dressed = standing.dressed if self._to_apply else standing.undressed
            if each.turn.kind == "dress" and dressed is not None:
                modes[path] = dressed.mode
            elif standing.is_bare and each.turn.coming and coming[0].is_directory:
                arriving[path] = coming[0]
        found = (
            self._one(path, arriving.get(path), modes.get(path))
            for path in sorted({*paths, *modes, *arriving})
        )
        return tuple(each for each in found if each is not None)

    def _one(self, path: str, arriving: Stamp | None, mode: int | None) -> Touched | None:
        if arriving is not None:
            return Touched(path, 0, 0, 0, arriving.mode, arriving.mtime_ns)
        status = self._place.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return None
        before = self._opened.get(path, stat.S_IMODE(status.st_mode))
        after_ns = self._after(path, status)
        mode_after = before if mode is None else mode
        return Touched(path, status.st_ino, before, status.st_mtime_ns, mode_after, after_ns)

    def _after(self, path: str, status: os.stat_result) -> int:
        now_ns = status.st_mtime_ns
        before_ns, after_ns = self._known.get(path, (0, 0))
        if not self._to_apply:
            return before_ns if path in self._known and now_ns == after_ns else now_ns
        if path in self._known and now_ns in (before_ns, after_ns):
            return after_ns
        if path not in self._wanted:
            return now_ns
        after_ns = self._wanted[path]
        if status.st_ctime_ns > self._since_ns:
            after_ns = max(after_ns, now_ns)
        self._known[path] = (now_ns, after_ns)
        return after_ns
