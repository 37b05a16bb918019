"""A view and a profile to bubblewrap's arguments: for one command, or for a cell of many.

Pure: everything that is bound was found out before.
"""

import errno
from pathlib import PurePath

from sandbox import mounting
from sandbox.host import HostFacts
from sandbox.profile import Profile, is_within
from sandbox.view import INSIDE, Mount

ANCESTOR_BYTES = 16 << 20
# The probe tries a bubblewrap with all of these, so that one which lacks an option is found there.
APART = ("--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
ALONE = ("--unshare-pid", "--as-pid-1", "--unshare-net")  # what `inspect` shares with the host
NETWORK = ("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW")  # over a seat's own namespace
BARE = ("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL")


def arguments(
    profile: Profile, host: HostFacts, mounts: tuple[Mount, ...], tmp_bytes: int
) -> bytes:
    """Return bubblewrap's options, NUL-separated, for its `--args` descriptor.

    `inspect` shares the host's pid and network namespaces: an own one would give wrong answers.
    """
    options = [*APART, *BARE]
    if profile.name != "inspect":
        options += ALONE
    for path, target in host.system.links:
        options += ["--symlink", target, path]
    for mount in mounts:
        options += _option(mount, tmp_bytes)
    # Read-only: as root /proc/sys would be the host's to change.
    options += ["--remount-ro", "/proc", "--remount-ro", "/", "--chdir", "/"]
    return _joined(options)


def cell_arguments(
    host: HostFacts, mounts: tuple[Mount, ...], workspace: str, sizes: tuple[int, str]
) -> bytes:
    """Return the options of a cell: what lasts, and the places that a seat builds views from.

    `sizes` are the bytes of each private tmpfs, and the empty file that covers others. A directory
    above a mount in writable memory is a mount itself: nobody can rename it, so no command can
    divert what a later one will be shown.
    """
    tmp_bytes, empty_file = sizes
    options = [*APART, *ALONE, *BARE]
    options += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    options += ["--cap-add", "CAP_DAC_OVERRIDE"]  # the kernel's own part of an overlay: mode 000
    for capability in NETWORK if host.can_net else ():
        options += ["--cap-add", capability]
    for path, target in host.system.links:
        options += ["--symlink", target, path]
    lasting = [mount for mount in mounts if mount.lasts]
    above = _above([workspace, *(mount.path for mount in lasting)], lasting)
    for mount in sorted((*lasting, *above), key=lambda mount: mount.path.count("/")):
        options += _option(mount, ANCESTOR_BYTES if mount in above else tmp_bytes)
    options += ["--proc", "/proc", "--perms", "0700", "--tmpfs", INSIDE]
    for mount in mounts:
        if is_within(mount.path, INSIDE):
            options += _option(mount, 0)
    options += ["--ro-bind", empty_file, mounting.EMPTY.decode()]
    options += _option(Mount("mask", mounting.NOTHING.decode()), 0)
    options += ["--bind", "/", mounting.HOST.decode()]
    return _joined(options)


def _above(paths: list[str], lasting: list[Mount]) -> set[Mount]:
    """Return a private file system for each directory between writable memory and a mount."""
    writable = [mount.path for mount in lasting if mount.kind == "tmpfs"]
    parents = {str(parent) for path in paths for parent in PurePath(path).parents}
    return {
        Mount("tmpfs", parent)
        for parent in parents - set(writable)
        if any(is_within(parent, root) for root in writable)
    }


def _option(mount: Mount, tmp_bytes: int) -> list[str]:
    size = str(mounting.SHM_BYTES if mount.path == "/dev/shm" else tmp_bytes)  # noqa: S108
    match mount.kind:
        case "ro" | "list":
            return ["--ro-bind", mount.source, mount.path]
        case "rw":
            return ["--bind", mount.source, mount.path]
        case "tmpfs":
            return ["--perms", "1777", "--size", size, "--tmpfs", mount.path]
        case "proc" | "mask" if mount.source:
            return ["--ro-bind", mount.source, mount.path]
        case "proc" | "dev":
            return [f"--{mount.kind}", mount.path]
        case _:
            return ["--perms", "0755", "--size", "4096", "--tmpfs", mount.path, "--remount-ro",
                    mount.path]  # fmt: skip


def interpreter(host: HostFacts) -> str:
    """Return the path of the Python interpreter inside the view."""
    if not host.interpreter_prefix:
        return host.interpreter
    return f"{INSIDE}/python{host.interpreter.removeprefix(host.interpreter_prefix)}"


def _joined(options: list[str]) -> bytes:
    if any("\0" in option for option in options):
        # What follows would be read as options of their own.
        raise OSError(errno.EINVAL, "a path holds a NUL byte")
    return b"\0".join(option.encode("utf-8", "surrogateescape") for option in options)
