"""Profile and host facts to a view of the file system: its mounts, and the Landlock rules of it.

Pure: what exists was found out before (host.py, sight.py). One list of mounts is the source of
both layers, so the mount namespace and Landlock cannot disagree about what is shown.
"""

from dataclasses import dataclass
from typing import Literal

from sandbox import landlock, mounting
from sandbox.host import HostFacts
from sandbox.profile import Profile, ProfileName

Kind = Literal["ro", "rw", "overlay", "list", "tmpfs", "proc", "dev", "mask"]
INSIDE = mounting.INSIDE.decode()
DATA = landlock.CHANGE & ~landlock.EXECUTE
NOT_INSPECTED = frozenset({"/opt"})
HOSTS_FILE = "/etc/hosts"  # what it says of a name, the broker looks up
PRIVATE = ("/tmp", "/var/tmp", "/run")  # noqa: S108  # mount points of private tmpfs

WORKSPACE: dict[ProfileName, Kind] = {"write": "overlay", "live": "rw"}
RIGHTS: dict[Kind, int] = {
    "ro": landlock.RUN,
    "rw": landlock.CHANGE,
    "overlay": landlock.CHANGE,
    "list": landlock.LIST,
    "tmpfs": landlock.CHANGE,
    "proc": landlock.READ,
    "dev": landlock.DEVICES,
}


@dataclass(frozen=True, slots=True)
class Mount:
    """One path of the view; `source` is on the host, where the kind has one."""

    kind: Kind
    path: str
    source: str = ""
    lasts: bool = False  # the same for every command of a cell; the rest is made for each command
    rights: int | None = None  # Landlock's, where they are fewer than the kind's own


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found on the host for one command; every path exists and is no symbolic link."""

    tools: tuple[tuple[str, str], ...] = ()  # toolchains: (path, the real directory)
    read: tuple[str, ...] = ()  # read roots, footprint paths
    listed: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()  # git directories: pinned, so they cannot be moved away
    guarded: tuple[str, ...] = ()  # in a writable workspace, but read-only
    masked_files: tuple[str, ...] = ()
    masked_directories: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()  # shown empty
    doors: tuple[tuple[str, str], ...] = ()  # (path, source) of one daemon's sockets
    output: tuple[str, str] | None = None  # (path, source) of the one file that is written


def view(profile: Profile, host: HostFacts, sight: Sight, empty_file: str) -> tuple[Mount, ...]:
    """Return every mount of the command's view, parents before children."""
    mounts = _inspected(host, sight) if profile.name == "inspect" else _own(host, sight)
    mounts.append(Mount("dev", "/dev", lasts=True))
    shared = DATA if profile.name == "inspect" else None
    mounts.append(Mount("tmpfs", "/dev/shm", rights=shared))  # noqa: S108
    mounts += [Mount("list", path, path) for path in sight.listed]
    # What `inspect` may read beside the system is not run there: its programs are root's.
    rights = landlock.READ if profile.name == "inspect" else None
    mounts += [Mount("ro", path, path, rights=rights) for path in sight.read]
    workspace = profile.workspace
    kind = WORKSPACE.get(profile.name, "ro")
    mounts.append(Mount(kind, workspace, workspace, rights=rights))
    if kind != "ro":
        mounts += [Mount("rw", path, path) for path in sight.writable + sight.mount_points]
        mounts += [Mount("ro", path, path) for path in sight.guarded]
    if sight.output is not None:
        mounts.append(Mount("rw", *sight.output, rights=DATA))
    mounts += _masks(host, sight, inspects=profile.name == "inspect", empty_file=empty_file)
    if profile.network is not None:
        mounts.append(Mount("mask", HOSTS_FILE, empty_file))
        bundle = profile.network.ca_bundle
        mounts += [Mount("ro", path, bundle) for path in host.system.certificates if bundle]
    mounts.append(Mount("ro", f"{INSIDE}/sandbox", host.package))
    if host.interpreter_prefix:
        mounts.append(Mount("ro", f"{INSIDE}/python", host.interpreter_prefix))
    # A path has one mount: what is permitted last, and a cover before all.
    each = {(mount.path, mount.lasts): mount for mount in mounts}
    return tuple(sorted(each.values(), key=lambda mount: mount.path.count("/")))


def system_directories(host: HostFacts, name: ProfileName) -> tuple[str, ...]:
    """Return what a profile shows of the system; `inspect` is an allow-list of its own."""
    if name != "inspect":
        return host.system.directories
    shown = [path for path in host.system.directories if path not in NOT_INSPECTED]
    return (*shown, *host.system.inspect_only)


def _own(host: HostFacts, sight: Sight) -> list[Mount]:
    return [
        *(Mount("ro", path, path, lasts=True) for path in host.system.directories),
        *(Mount("tmpfs", path, lasts=True) for path in (*PRIVATE, host.home)),
        Mount("proc", "/proc"),
        *(Mount("ro", path, source, lasts=True) for path, source in sight.tools),
    ]


def _inspected(host: HostFacts, sight: Sight) -> list[Mount]:
    """Return the host's own system, processes included; homes are there, and empty."""
    shown = system_directories(host, "inspect")
    data = host.system.inspect_only
    # A home elsewhere is not there at all, unless something in it is shown.
    homes = {host.home, *sight.homes}
    return [
        *(Mount("ro", p, p, rights=landlock.READ if p in data else None) for p in shown),
        # A right counts for everything below, a workspace in /tmp too: nothing is run there.
        *(Mount("tmpfs", path, rights=DATA) for path in PRIVATE if path != "/run"),
        *(Mount("tmpfs", path, rights=landlock.LIST) for path in sorted({"/run", *homes})),
        Mount("proc", "/proc", "/proc"),
        *(Mount("ro", path, source, rights=landlock.READ) for path, source in sight.doors),
    ]


def _masks(host: HostFacts, sight: Sight, *, inspects: bool, empty_file: str) -> list[Mount]:
    files = (
        host.system.secret_files
        + sight.masked_files
        + (host.system.proc_secrets if inspects or host.uid == 0 else ())
    )
    folders = host.system.secret_directories + sight.masked_directories
    return [
        *(Mount("mask", path, empty_file) for path in files),
        *(Mount("mask", path) for path in folders),
    ]


def rules(mounts: tuple[Mount, ...]) -> list[tuple[str, int]]:
    """Return the Landlock allow-list of a view: what is not shown is not allowed either."""
    return [
        ("/", landlock.LIST),
        *(
            (mount.path, RIGHTS[mount.kind] if mount.rights is None else mount.rights)
            for mount in mounts
            if mount.kind in RIGHTS
        ),
    ]


def is_new(mount: Mount) -> bool:
    """Return whether a cell mounts this for each command anew, from the host."""
    of_the_seat = mount.path in ("/proc", "/dev/shm") or mount.path.startswith(f"{INSIDE}/")  # noqa: S108
    return not mount.lasts and not of_the_seat


def private(tmp_bytes: int) -> tuple[Mount, ...]:
    """Return what every command of a cell has of its own; `source` is how many bytes it holds."""
    sizes = (("/dev/shm", mounting.SHM_BYTES), ("/var/tmp", tmp_bytes), ("/run", tmp_bytes))  # noqa: S108
    return tuple(Mount("tmpfs", path, str(size)) for path, size in sizes)
