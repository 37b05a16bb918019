"""The two places of a transition: the workspace, and the directory of the set.

May touch: both, to open them. Paths are walked from descriptors held here; no symbolic link is
followed, so whoever moves directories meanwhile can make a step fail, but not go elsewhere.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from sandbox.changes.drafts import opened
from sandbox.changes.renames import Place
from sandbox.dirfd import Descent, PathRefusedError, directory, lstat


class Site:
    """Where a transition works."""

    def __init__(self, root: int, own: int) -> None:
        self.root_fd = root
        self.own_fd = own
        self.root = Descent(root)
        self.own = Descent(own)
        self.others = ExitStack()  # closed with the site

    def beside(self, directory: int) -> Descent:
        """Return the ways below another directory; they are closed with the site."""
        return self.others.enter_context(Descent(directory))

    @cached_property
    def is_one_mount(self) -> bool:
        """Return whether an object can be renamed from one to the other."""
        return _mount_id(self.root_fd) == _mount_id(self.own_fd)

    def place(self, path: str) -> Place | None:
        """Return the place of a name in the workspace; None when its directory is not there."""
        try:
            return self.root.parent(path)
        except (FileNotFoundError, PathRefusedError):
            return None

    def status(self, path: str) -> os.stat_result | None:
        """Return what a name in the workspace is; None when it is not there."""
        place = self.place(path)
        return None if place is None else lstat(*place)

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        """Give a directory of the workspace its time."""
        parent, name = self.root.parent(path)
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if status.st_mtime_ns == mtime_ns:
            return
        with suppress(PermissionError):  # a directory of somebody else, in which we may write
            times = (status.st_atime_ns, mtime_ns)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def slot(self, path: str) -> Place:
        """Return a place in the set's directory, making the directories above it."""
        try:
            return self.own.parent(path)
        except FileNotFoundError:
            above = path.rpartition("/")[0]
            parent, name = self.slot(above)
            os.mkdir(name, 0o700, dir_fd=parent)
            return self.own.parent(path)


@contextmanager
def site(root: str, own: Path) -> Iterator[Site]:
    """Open both places.

    Raises:
        PathRefusedError: a component of the root is a symlink, or no directory.
        OSError: a place is absent or not permitted.
    """
    with directory(root) as root_fd, opened(own) as own_fd:
        found = Site(root_fd, own_fd)
        with found.root, found.own, found.others:
            yield found


def _mount_id(descriptor: int) -> bytes:
    with open(f"/proc/self/fdinfo/{descriptor}", "rb", buffering=0) as file:  # noqa: PTH123  # hot
        return next(line for line in file.read().splitlines() if line.startswith(b"mnt_id:"))
