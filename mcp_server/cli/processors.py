"""Work over the parts of a long log, spread over this machine's processors.

May touch: copies of this very process, which read the log and execute no program. Where they cannot
be had, or one is killed, what is left of the work is the caller's.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial

from audit.stretches import Part, Stretch


def spread(
    work: Callable[[Part], Stretch | None], parts: Sequence[Part]
) -> Iterator[Stretch | None]:
    """Yield what `work` returns for each part, in order, until the processes end."""
    count = len(os.sched_getaffinity(0))
    if count == 1 or len(parts) < count:
        return  # the caller does it as well
    with suppress(OSError, BrokenProcessPool):
        # Forked: this process has one thread yet, and has read all the code that they need.
        context = multiprocessing.get_context("fork")
        calm = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the first process ends them
        pool = ProcessPoolExecutor(count, context, calm)
        try:
            yield from pool.map(work, parts)
        finally:
            pool.shutdown(cancel_futures=True)
