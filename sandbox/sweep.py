"""After a command that writes: what it planted for other tools to run is moved out of the way.

May touch: the workspace, by descriptors that no symbolic link is followed to, and the state
directory it moves things into. Other commands of the workspace may run meanwhile: what a path
names is looked at again through the descriptor it is moved from.
"""

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox import dirfd
from sandbox.busy import Turn
from sandbox.masks import Masks, Walker
from sandbox.profile import is_within

MAX_ENTRIES = 5_000_000
DEADLINE_S = 120.0
TOO_MANY = "(the workspace grew beyond what can be searched)"
Identity = tuple[int, int, int, int]  # device, inode, file type; of a link, when it was made


def protected(masks: Masks, workspace: str) -> dict[str, Identity]:
    """Return every name of the workspace that must stay, with what it is now."""
    found: dict[str, Identity] = {}
    for path in (*masks.git_directories, *masks.protected, *masks.plans, *masks.unsearched):
        if path != workspace and is_within(path, workspace):
            with suppress(OSError):
                found[path] = identity(os.lstat(path))
    return found


def identity(status: os.stat_result) -> Identity:
    """Return what stays the same while a name stays what it is."""
    kind = stat.S_IFMT(status.st_mode)
    # A link cannot be mounted over, and a new one may get the inode number of the old.
    return (status.st_dev, status.st_ino, kind, status.st_ctime_ns if stat.S_ISLNK(kind) else 0)


def texts(before: dict[str, Identity]) -> dict[str, tuple[int, int]]:
    """Return (size, time) of the plain files among protected names, which no command may change."""
    found = {}
    for path in (path for path, what in before.items() if stat.S_ISREG(what[2])):
        with suppress(OSError):
            status = os.lstat(path)
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


@dataclass(frozen=True, slots=True)
class Before:
    """What the workspace held when the command began; `turn` ends with it."""

    names: dict[str, Identity]
    texts: dict[str, tuple[int, int]]
    known: frozenset[Hashable]  # identities that nobody planted, wherever they are now
    turn: Turn

    @staticmethod
    def of(masks: Masks, workspace: str, walker: Walker) -> "Before":
        """Return what one search found, joined with what commands that still run saw."""
        names = protected(masks, workspace)
        turn, known = walker.busy.begin(names.values())
        return Before(names, texts(names), known, turn)


def sweep(walker: Walker, workspace: str, before: Before, held: Path) -> tuple[str, ...]:
    """Move protected names that appeared or were replaced to `held`; return them.

    One that could not be moved is said, never passed over, and so is one that was changed in place.
    """
    now = _searched(walker, workspace)
    moved = [] if now.complete else [TOO_MANY]
    found = protected(now, workspace)
    for path, is_now in found.items():
        # A directory that was moved took its protected names along, still as they were.
        if before.names.get(path) == is_now or is_now in before.known:
            continue
        try:
            moved += [path] if _hold(Path(path), is_now, held) else []
        except (OSError, dirfd.PathRefusedError) as error:
            moved.append(f"{path} (it could not be moved: {error})")
    after = texts({path: is_now for path, is_now in found.items() if before.names.get(path)})
    changed = (path for path, text in before.texts.items() if after.get(path, text) != text)
    return (
        *moved,
        *(f"{path} (not moved: somebody changed its text meanwhile)" for path in changed),
    )


def _searched(walker: Walker, workspace: str) -> Masks:
    """Return what is in the workspace, after what the command shut was opened again."""
    deadline = time.monotonic() + DEADLINE_S
    now = walker.find((workspace,), MAX_ENTRIES)
    while [path for path in now.unsearched if _open_again(path)] and time.monotonic() < deadline:
        now = walker.find((workspace,), MAX_ENTRIES)
    return now


def _open_again(path: str) -> bool:
    """Return whether a directory of ours, that we could not list, can be listed now."""
    parent, _, name = path.rpartition("/")
    try:
        with dirfd.directory(parent or "/") as inside:
            return _give_back(inside, name)
    except (OSError, dirfd.PathRefusedError):
        return False


def _give_back(inside: int, name: str) -> bool:
    """Give the owner's rights back to a directory of ours; return whether that changed it."""
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        status = os.fstat(opened)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISDIR(status.st_mode) or mode & stat.S_IRWXU == stat.S_IRWXU:
            return False
        Path(f"/proc/self/fd/{opened}").chmod(mode | stat.S_IRWXU)
    finally:
        os.close(opened)
    return True


def _hold(path: Path, expected: Identity, held: Path) -> bool:
    """Move one name into a new directory below `held`; return False when it is gone already."""
    held.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with dirfd.directory(str(path.parent)) as inside:
            if identity(os.lstat(path.name, dir_fd=inside)) != expected:
                return False  # something else by now; whoever made it is swept after it
            _move(inside, path.name, Path(tempfile.mkdtemp(dir=held)) / path.name)
    except FileNotFoundError:
        return False  # what lay in a directory that was moved a moment ago is gone with it
    return True


def _move(inside: int, name: str, to: Path) -> None:
    try:
        os.rename(name, to, src_dir_fd=inside)
    except PermissionError:
        _give_back(inside, ".")
        _give_back(inside, name)
        os.rename(name, to, src_dir_fd=inside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_far(inside, name, to)


def _move_far(inside: int, name: str, to: Path) -> None:
    """Move to another filesystem: what can be copied is, and everything is removed."""
    source = Path(f"/proc/self/fd/{inside}/{name}")
    status = os.lstat(name, dir_fd=inside)
    with suppress(OSError):  # shutil.Error and a FIFO inside are too: the rest was copied
        if stat.S_ISDIR(status.st_mode):
            shutil.copytree(source, to, symlinks=True)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            shutil.copy2(source, to, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=inside)
    else:
        os.unlink(name, dir_fd=inside)
