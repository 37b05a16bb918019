"""A view to what Landlock alone can hold: allowed paths, where nothing can be mounted or covered.

May touch: directories, to list them. A path that a view covers cannot be taken out of an allowed
directory, so what is around it is allowed entry by entry; what that cannot express is refused.
"""

import os
from collections.abc import Iterator

from sandbox import landlock
from sandbox.profile import is_within
from sandbox.view import RIGHTS, Mount

MAX_RULES = 32_768  # some 10 µs each
WITH_HOST = ("ro", "rw", "list")  # kinds that show what the host has at the same path
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Of /proc only what tells nothing of a process: a process's own part cannot be named for its
# children, and the rest shows the command lines of everyone.
PROC = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime",
    "/proc/version", "/proc/filesystems", "/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs",
)  # fmt: skip


def rules(mounts: tuple[Mount, ...]) -> list[tuple[str, int]]:
    """Return Landlock's list for a view without any mount: (path, rights).

    Raises:
        LandlockError: the list cannot hold what the view would cover; the message says why.
    """
    files = {mount.path for mount in mounts if mount.kind == "mask" and mount.source}
    folders = {mount.path for mount in mounts if mount.kind == "mask" and not mount.source}
    found = [(path, landlock.READ | landlock.WRITE_FILE) for path in DEVICES]
    found += [(path, landlock.READ) for path in PROC]
    for mount in mounts:
        if mount.kind not in WITH_HOST or mount.path != mount.source:
            continue
        covered = {path for path in files | folders if is_within(path, mount.path)}
        if covered and mount.kind == "rw":
            raise landlock.LandlockError(
                f"{min(covered)} is denied or a door, and the rung landlock cannot cover it in a "
                f"directory that may be written ({mount.path})"
            )
        for rule in _around(mount.path, RIGHTS[mount.kind], covered, folders):
            found.append(rule)
            if len(found) > MAX_RULES:
                raise landlock.LandlockError(
                    f"{mount.path} holds too many entries beside what is denied for the rung "
                    "landlock; run it in a smaller workspace"
                )
    return found


def _around(
    path: str, rights: int, covered: set[str], folders: set[str]
) -> Iterator[tuple[str, int]]:
    """Yield rules for `path` less what is covered; its names are listed where that tells none.

    A right to list is inherited, so above a covered directory there is none.
    """
    if path in covered:
        return
    if not covered:
        yield path, rights
        return
    if covered.isdisjoint(folders):
        yield path, rights & landlock.LIST
    try:
        names = os.listdir(path)  # noqa: PTH208  # one per entry of /etc, at each command
    except OSError:
        return
    for name in names:
        entry = f"{path.rstrip('/')}/{name}"
        below = {one for one in covered if is_within(one, entry)}
        yield from _around(entry, rights, below, folders)
