"""Death and full disks at each step: what these tests share.

A step is one call that changes a file system; the child is killed right before its nth.
"""

import errno
import os
import signal
import traceback
import warnings
from collections.abc import Callable

import pytest

from sandbox.changes import renames

STEPS = (
    "rename", "unlink", "mkdir", "rmdir", "link", "symlink", "mknod", "fsync", "fdatasync", "chmod",
    "chown", "utime", "setxattr", "removexattr", "sendfile", "ftruncate",
)  # fmt: skip
Work = Callable[[], object]


def kill_at(nth: int, work: Work) -> bool:
    """Run `work` in a child killed right before its nth step; return whether it came to that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no thread
        child = os.fork()
    if child == 0:
        _armed(nth, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr)
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001  # it goes no further than this child
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, "the child failed; what it printed says why"
    return os.WIFSIGNALED(status)


def steps_of(work: Work) -> int:
    """Return how many steps `work` has; it is done in this process."""
    with pytest.MonkeyPatch.context() as patch:
        left = _armed(1 << 60, lambda: None, patch.setattr)
        work()
    return (1 << 60) - left[0]


def fails_at(nth: int, work: Work, number: int = errno.ENOSPC) -> bool:
    """Run `work` with its nth step failing; return whether it came to that."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        left = _armed(nth, fail, patch.setattr)
        work()
    return left[0] < 0


def _armed(nth: int, then: Work, replace: Callable[[object, str, object], None]) -> list[int]:
    left = [nth]

    def armed(real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                then()
            return real(*args, **kwargs)

        return step

    for name in STEPS:
        replace(os, name, armed(getattr(os, name)))
    replace(renames, "rename2", armed(renames.rename2))
    return left
