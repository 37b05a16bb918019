"""What the commands that write one workspace saw at their start, while any of them still runs.

May touch: memory. A command that moves directories about may hide a name from the search of the
next one; what was there when the first began is nobody's plant, wherever it turns up.
"""

import threading
import weakref
from collections.abc import Hashable, Iterable


class Turn:
    """One running command; it ends when nobody holds it any more."""

    __slots__ = ("__weakref__",)


class Busy:
    """Gathers what was seen, from the moment one command begins until none runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: weakref.WeakSet[Turn] = weakref.WeakSet()
        self._seen: set[Hashable] = set()

    def begin(self, seen: Iterable[Hashable]) -> tuple[Turn, frozenset[Hashable]]:
        """Return the command's turn, and all that it and those before it saw.

        What a later one sees is not among it: it may be this command's own plant.
        """
        turn = Turn()
        with self._lock:
            if not self._running:
                self._seen = set()
            self._seen |= set(seen)
            self._running.add(turn)
            return turn, frozenset(self._seen)
