"""The bell: wakes waiting tasks when any thread of this process moved a request.

May touch: event file descriptors. A ring carries no news; whoever wakes looks at the store.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio


@dataclass(frozen=True, slots=True)
class Listener:
    """One waiter; a ring before `wait` is not lost, because the descriptor counts it."""

    descriptor: int

    async def wait(self, timeout_s: float) -> bool:
        """Return at the next ring, or after `timeout_s`; whether it rang."""
        with anyio.move_on_after(timeout_s):
            await anyio.wait_readable(self.descriptor)
            os.eventfd_read(self.descriptor)
            return True
        return False


class Bell:
    """Rung from any thread, heard in any event loop; ringing never blocks and needs no loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: set[int] = set()

    def ring(self) -> None:
        """Wake everyone who listens."""
        with self._lock:  # a closed descriptor's number could belong to another file by now
            for descriptor in self._listening:
                os.eventfd_write(descriptor, 1)

    @contextmanager
    def listener(self) -> Iterator[Listener]:
        """Listen from here to the end of the block."""
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        with self._lock:
            self._listening.add(descriptor)
        try:
            yield Listener(descriptor)
        finally:
            with self._lock:
                self._listening.discard(descriptor)
            os.close(descriptor)
