"""Drafts: where the overlay of one command writes until it is a change set, or nothing.

May touch: the draft's directory, and the workspace's root, to read what it looks like.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.changes.copies import Copies
from sandbox.changes.objects import dress, metadata, remove
from sandbox.dirfd import directory

UPPER, WORK = "upper", "work"
_COPY, _BEFORE = "copy", "before"


@dataclass(frozen=True, slots=True)
class Draft:
    """Where one command's overlay writes, and since when others may have written beside it."""

    path: Path
    since_ns: int  # no change that was made before has a later ctime
    after: int  # number of the last transition that had ended

    @property
    def upper(self) -> Path:
        """Return the upper directory; it looks like the workspace's root."""
        return self.path / UPPER

    @property
    def work(self) -> Path:
        """Return the overlay's working directory."""
        return self.path / WORK

    def renew(self) -> None:
        """Put a copy in the place of the upper directory: who holds a file of that has another.

        Raises:
            OSError: no space or no permission.
        """
        with opened(self.path) as here:
            Copies(here, of_layer=True).copy((here, UPPER), _COPY)
            os.rename(UPPER, _BEFORE, src_dir_fd=here, dst_dir_fd=here)
            os.rename(_COPY, UPPER, src_dir_fd=here, dst_dir_fd=here)
            remove(here, _BEFORE)

    def drop(self) -> None:
        """Remove it, whatever the command left; absent is as well."""
        drop(self.path)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a directory of the store."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def drop(path: Path) -> None:
    """Remove a directory of the store, closed directories in it too; absent is as well."""
    with suppress(FileNotFoundError), opened(path.parent) as parent:
        remove(parent, path.name)


def blank(path: Path) -> Path:
    """Make the directories of a draft, of no root yet.

    Raises:
        OSError: no space or no permission.
    """
    try:
        for each in (path, path / UPPER, path / WORK):
            each.mkdir(mode=0o700)
    except OSError:
        drop(path)
        raise
    return path


def dress_upper(draft: Path, root: str) -> None:
    """Let the upper directory look like a root: it takes its place in the overlay's view.

    Raises:
        OSError: no permission.
    """
    with directory(root) as root_fd, opened(draft) as draft_fd:
        kept, status = metadata(root_fd, "."), os.fstat(root_fd)
        try:
            dress(draft_fd, UPPER, kept)
        except OSError:  # somebody else's directory, or attributes that cannot be here
            dress(draft_fd, UPPER, replace(kept, uid=os.geteuid(), gid=os.getegid(), xattrs=()))
        os.utime(UPPER, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=draft_fd)
