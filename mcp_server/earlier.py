"""The requests that the log has, counted for whoever is asked to grant something.

May touch: the log's index, for reading and bringing up to date. INVARIANT: what is said here is
shown to people and enters no decision: an index can be falsified by whoever can write beside the
log, and a count that ran out of time is left out.
"""

import threading
from functools import partial
from pathlib import Path

from anyio import to_thread

from approvals.bell import Bell
from approvals.reach import Counted, Earlier, Wanted
from audit import marks
from audit.index import INDEX

BUDGET_S = 0.05
LISTEN_S = 3600.0
BEHIND = "counted without the newest, which the log's index does not hold yet"
NO_TIME = "counting took too long, so not all is told"


class EarlierRequests:
    """What one log has of earlier requests; called from worker threads."""

    def __init__(self, log: Path) -> None:
        """Open nothing yet; `log` is the log's directory."""
        self._log = log
        self._behind = Bell()

    def __call__(self, wanted: Wanted) -> Earlier:
        """Return what could be counted within the budget, and what is left out."""
        asked = marks.Wanted(wanted.before, wanted.among, wanted.groups)
        found = marks.tally(self._log, self._log / INDEX, asked, budget_s=BUDGET_S)
        if found.is_behind:
            self._behind.ring()
        groups = tuple(Counted(one.count, one.with_mark, one.without) for one in found.groups)
        return Earlier(found.requests, groups, _left_out(found))

    async def keep_current(self) -> None:
        """Complete the index, beside the calls, whenever it was found behind; never returns."""
        is_over = threading.Event()
        complete = partial(marks.bring_current, self._log, self._log / INDEX, is_over.is_set)
        try:
            with self._behind.listener() as behind:
                while True:
                    if await behind.wait(LISTEN_S):
                        await to_thread.run_sync(complete, abandon_on_cancel=True)
        finally:
            is_over.set()


def _left_out(found: marks.Tally) -> str:
    if found.why_not:
        return f"earlier requests are not counted: {found.why_not}"
    if found.is_behind:
        return BEHIND
    return NO_TIME if found.requests is None or None in [one.count for one in found.groups] else ""
