"""Edits on a real overlay, as commands make them, and trees as they are: what these tests share."""

import ctypes
import os
import stat
import struct
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

READ_ONLY = 1 | 32  # MS_RDONLY | MS_REMOUNT
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
CAPABILITY_VERSION_3 = 0x20080522
Tree = dict[str, tuple[object, ...]]
_libc = ctypes.CDLL(None, use_errno=True)


def overlaid(root: Path, upper: Path, work: Path, edit: Callable[[Path], object]) -> None:
    """Let `edit` change an overlay over `root` in a namespace of its own."""
    place = work.parent / "mounted"
    place.mkdir(exist_ok=True)
    options = f"userxattr,volatile,lowerdir={root},upperdir={upper},workdir={work}"

    def inside() -> None:
        enter()
        mount(b"overlay", place, options)
        if os.geteuid():
            give_up_capabilities()
        edit(place)

    try:
        in_child(inside)
    finally:
        place.rmdir()


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked child and fail as it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no thread
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001  # it goes no further than this child
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed; what it printed says why"


def enter() -> None:
    """Enter user and mount namespaces in which this user keeps its number."""
    uid, gid = os.geteuid(), os.getegid()
    checked(_libc.unshare(NEW_USER | NEW_MOUNTS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def mount(kind: bytes, place: Path, options: str, flags: int = 0) -> None:
    """Mount a file system in this namespace."""
    said = os.fsencode(options)
    checked(_libc.mount(kind, os.fsencode(place), kind, ctypes.c_ulong(flags), said))


def give_up_capabilities() -> None:
    """Be as confined as a command: modes are for us too."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    checked(_libc.capset(header, struct.pack("=6I", *(0,) * 6)))


def checked(result: int) -> None:
    """Raise what a call of libc failed with."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def tree(root: Path, *, with_times: bool = True) -> Tree:
    """Return everything of a tree: kind, mode, owner, bytes, times, xattrs, who shares an inode."""
    found: Tree = {}
    _note(root, "", found, {})
    if not with_times:
        found = {path: (*facts[:3], *facts[4:]) for path, facts in found.items()}
    return found


def _note(place: Path, shown: str, found: Tree, names: dict[int, str]) -> None:
    status = place.lstat()
    is_directory, mode = stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode)
    content: object = None
    if stat.S_ISLNK(status.st_mode):
        content = place.readlink()
    elif not os.access(place, os.R_OK | (os.X_OK if is_directory else 0)):
        place.chmod(mode | 0o700)
    if stat.S_ISREG(status.st_mode):
        content = place.read_bytes()
    marks = tuple(
        (name, os.getxattr(place, name, follow_symlinks=False))
        for name in sorted(os.listxattr(place, follow_symlinks=False))
    )
    first = None if is_directory else names.setdefault(status.st_ino, shown)
    owner = (status.st_uid, status.st_gid)
    found[shown] = (status.st_mode, owner, content, status.st_mtime_ns, marks, first)
    if is_directory:
        for inner in sorted(place.iterdir()):
            _note(inner, f"{shown}/{inner.name}".lstrip("/"), found, names)
    if stat.S_IMODE(place.lstat().st_mode) != mode:
        place.chmod(mode)


def write(path: Path, content: str = "", mode: int = 0o644) -> Path:
    """Write a file, with the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path
