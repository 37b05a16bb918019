"""A view and a profile to bubblewrap's arguments.

Pure: everything that is bound was found out before.
"""

from sandbox.host import HostFacts
from sandbox.profile import Profile
from sandbox.view import INSIDE, SHM_BYTES, Mount


def arguments(
    profile: Profile, host: HostFacts, mounts: tuple[Mount, ...], tmp_bytes: int
) -> bytes:
    """Return bubblewrap's options, NUL-separated, for its `--args` descriptor.

    `inspect` shares the host's pid and network namespaces: an own one would give wrong answers.
    """
    options = ["--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if profile.name != "inspect":
        options += ["--unshare-pid", "--as-pid-1", "--unshare-net"]
    options += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    for path, target in host.system.links:
        options += ["--symlink", target, path]
    for mount in mounts:
        options += _option(mount, tmp_bytes)
    options += ["--remount-ro", "/", "--chdir", "/"]
    return b"\0".join(option.encode("utf-8", "surrogateescape") for option in options)


def _option(mount: Mount, tmp_bytes: int) -> list[str]:
    size = str(SHM_BYTES if mount.path == "/dev/shm" else tmp_bytes)  # noqa: S108
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
