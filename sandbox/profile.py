"""Footprint to profile: what the kernel will be told about one command.

Pure: no file is looked at. The table from operations to profiles is the subject of this module;
`covers` is its order, and adding a touch never leads to a profile that covers less.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.daemons import is_client, sockets_of
from sandbox.network.model import Network

ProfileName = Literal["read", "inspect", "look", "write", "live", "unconfined"]
Place = Literal["workspace", "scratch", "elsewhere", "machine", "kernel", "device"]


@dataclass(frozen=True, slots=True)
class Touch:
    """One access of the footprint, in this room's words."""

    operation: str
    resource: str
    how: str


@dataclass(frozen=True, slots=True)
class Programs:
    """What is known of the programs a command starts; owners.py finds it out."""

    argv: tuple[str, ...] = ()  # of a lone argument vector
    names: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()  # files that somebody else than root may change
    set_id: tuple[str, ...] = ()  # names of those that take rights when they are started
    may_look: bool = True  # whether the rules let `look` stand for `inspect`
    renames_directories: bool = False  # by rename(2) alone, which an overlay refuses


@dataclass(frozen=True, slots=True)
class Profile:
    """A confinement for one command; every path is absolute."""

    name: ProfileName
    workspace: str
    read_roots: tuple[str, ...] = ()  # shown read-only besides the profile's own
    write_paths: tuple[str, ...] = ()  # shown writable: a permitted write outside the workspace
    list_paths: tuple[str, ...] = ()  # names may be listed below, nothing may be read
    hidden: tuple[str, ...] = ()  # named by the footprint, but not shown; words in (parentheses)
    reads: tuple[str, ...] = ()  # what the footprint itself reads: files, or the tree around them
    git_places_files: bool = False  # git itself may check out protected names; no other code runs
    reads_only: bool = False  # the whole answer comes from `reads`, `list_paths` and `hidden`
    sockets: tuple[str, ...] = ()  # of one daemon, for exactly one reading sub-command of a client
    sees_session: bool = False  # names /tmp: sees what `live` commands of the session left there
    output: str = ""  # the one file that a command which inspects writes: its redirect
    no_copy: str = ""  # why `live` stands for `write` here
    network: Network | None = None  # what it may reach, through the broker
    unmasked: bool = False  # a human knows that not every denied file could be found


@dataclass(frozen=True, slots=True)
class NoProfile:
    """No single profile covers the footprint; the command has to be split."""

    reason: str


# The least profile that carries out an operation, by where its resource is. What is not listed
# needs the host itself: the network, other processes, services, packages, devices, other hosts.
PLACES: tuple[Place, ...] = ("workspace", "scratch", "elsewhere", "machine", "kernel", "device")
TABLE: dict[str, tuple[ProfileName, ...]] = {
    #                   workspace scratch elsewhere     machine       kernel        device
    "fs.read":         ("read",   "read", "read",       "inspect",    "read",       "read"),
    "fs.list":         ("read",   "read", "read",       "inspect",    "read",       "read"),
    "git.read":        ("read",   "read", "read",       "read",       "read",       "read"),
    "credential.read": ("read",   "read", "read",       "inspect",    "read",       "read"),
    "proc.inspect":    ("inspect",) * 6,
    "sys.inspect":     ("inspect",) * 6,
    "fs.write":        ("write",  "write", "write",     "unconfined", "unconfined", "read"),
    "fs.create":       ("write",  "write", "write",     "unconfined", "unconfined", "read"),
    "fs.perm":         ("write",  "write", "write",     "unconfined", "unconfined", "read"),
    # A path elsewhere that is shown writable is a mount, and a mount cannot be removed.
    "fs.delete":       ("write",  "write", "unconfined", "unconfined", "unconfined", "unconfined"),
    "git.write":       ("write",) * 6,
    "git.history":     ("write",) * 6,
    "code.exec":       ("write",) * 6,
    "env.poison":      ("write",) * 6,
    "resource.exhaust": ("write",) * 6,
    "opaque":          ("write",) * 6,
}  # fmt: skip
# Each profile and those that allow no more than it does.
COVERED: dict[ProfileName, frozenset[ProfileName]] = {
    "read": frozenset({"read"}),
    "inspect": frozenset({"read", "inspect"}),
    "look": frozenset({"read", "inspect", "look"}),
    "write": frozenset({"read", "write"}),
    "live": frozenset({"read", "write", "live"}),
    "unconfined": frozenset({"read", "inspect", "look", "write", "live", "unconfined"}),
}
# By touches, weakest first.
BY_STRENGTH: tuple[ProfileName, ...] = ("read", "inspect", "write", "live", "unconfined")

PROJECT_PACKAGES = "<the project's packages>"  # what a package manager puts into the workspace
WRITES = frozenset({"fs.write", "fs.create", "fs.perm"})
READS = frozenset({"fs.read", "credential.read", "code.exec"})
LOOKS = frozenset({"sys.inspect", "proc.inspect", "fs.list"})
GIT_AND_STEPS = frozenset({"git", "cd"})  # what goes from one to the next does nothing
RUNS_OTHER_CODE = frozenset({"code.exec", "opaque", "env.poison"})
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # private to the command, never the host's
HARMLESS_DEVICES = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/stdout", "/dev/stderr"})
# Showing one of these would show the host: they stay the profile's own.
TOO_WIDE = frozenset(
    {"/", "/proc", "/sys", "/dev", "/run", "/var", "/var/run", "/home", "/etc", "/usr", *SCRATCH}
)
SHOWN_ANYWAY = frozenset({"/etc", "/usr", "/proc", "/sys"})  # the last two where they are looked at
# Only `inspect` shows these trees; what /proc says of the kernel alone is the same everywhere.
MACHINE = ("/proc", "/sys")
RECORDS = ("/var/log", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/apt", "/var/lib/pacman")
SAME_EVERYWHERE = re.compile(
    r"/proc/(self|thread-self|cpuinfo|meminfo|loadavg|uptime|version|stat|vmstat|filesystems"
    r"|diskstats|swaps|cmdline|modules|partitions|devices|interrupts|crypto)(/.*)?"
)

# Inside a user namespace these give wrong answers. `look` is for them, as lone vectors: no
# namespace at all, the seccomp filter alone; the roots are Landlock's, which would hide owners too.
OWNERS, MOUNTS = ("ss", "lsof", "fuser"), ("df", "mount", "findmnt", "lsblk")
LOOKERS: dict[str, tuple[str, ...]] = {**dict.fromkeys(OWNERS, ()), **dict.fromkeys(MOUNTS, ("/",))}
NOT_OWNERS = "(which processes own sockets and files: run ss, lsof or fuser as a lone command)"
NOT_MOUNTS = "(this host's mounts: run df, mount, findmnt or lsblk as a lone command)"
NOT_DAEMON = "(the daemon behind {}: its socket is shown to a lone reading sub-command)"
# These rename(2) and do not copy where that fails, as `mv` does; as policy calls them.
RENAMERS = frozenset({"git mv", "rename", "prename", "file-rename", "mmv"})
NEED_NO_SET_ID = frozenset({"mount", "ssh-agent", "ping", "bwrap"})  # they also work without

_VARIES = re.compile(r"[*?\[\x00-\x1f]")  # where a pattern, or a part nobody knows, begins


def covers(wide: ProfileName, narrow: ProfileName) -> bool:
    """Return whether `wide` allows everything that `narrow` allows."""
    return narrow in COVERED[wide]


def derive(
    touches: Sequence[Touch],
    *,
    workspace: str,
    read_roots: tuple[str, ...],
    programs: Programs = Programs(),
    network: Network | None = None,
) -> Profile | NoProfile:
    """Return the weakest-powered profile that can carry out every touch.

    With a `network`, connections are the broker's and need no more than that.

    `unconfined` comes out whenever one touch or program needs the host; the caller must then hold
    a human's yes to exactly that.
    """
    inside = [t for t in touches if network is None or t.operation != "net.connect"]
    needed: set[ProfileName] = {least(touch, workspace) for touch in inside} or {"read"}
    output = _output(touches, workspace) if "inspect" in needed else ""
    if output:
        needed.discard("write")  # the runner passes that one file
    if set(programs.set_id) - NEED_NO_SET_ID:
        needed.add("unconfined")  # no_new_privs takes away what they are for
    name = next((n for n in BY_STRENGTH if all(covers(n, need) for need in needed)), None)
    if name == "write" and programs.renames_directories:
        name = "live"
    operations = frozenset(touch.operation for touch in touches)
    if name is None or (name == "unconfined" and "unconfined" not in needed):
        return NoProfile(
            "one part inspects the host and another writes or runs code; no profile allows both. "
            "Split it: run the inspecting part as a command of its own"
        )
    if network is not None and name == "inspect":
        return NoProfile(
            "one part inspects the host and another reaches the network; no profile allows both. "
            "Split it: run the inspecting part as a command of its own"
        )
    if name in ("read", "inspect") and network is None and _looks(operations, programs):
        return Profile("look", workspace, read_roots=LOOKERS[_base(programs.argv[0])])
    if name == "inspect" and programs.foreign:
        return NoProfile(
            f"{programs.foreign[0]} can be changed by others than root, and profile inspect, which "
            "sees the host's processes, runs root's programs only. Name the system's own by its "
            "full path, or split the command"
        )
    certificates = (network.ca_bundle,) if network is not None and network.ca_bundle else ()
    sockets = sockets_of(programs.argv) if name == "inspect" and operations <= LOOKS else ()
    return Profile(
        name=name,
        workspace=workspace,
        read_roots=_ordered((*read_roots, *_elsewhere(touches, READS, workspace), *certificates)),
        write_paths=_ordered(_elsewhere(touches, WRITES, workspace)),
        list_paths=_ordered(_elsewhere(touches, frozenset({"fs.list"}), workspace)),
        hidden=_ordered(
            (*(t.resource for t in touches if _is_too_wide(t)), *_untold(name, programs, sockets))
        ),
        reads=_ordered(tuple(_fixed(touch) for touch in touches if touch.operation == "fs.read")),
        git_places_files=_is_git_alone(operations, programs),
        reads_only=bool(operations) and operations <= {"fs.read", "fs.list"},
        sockets=sockets,
        output=output,
        sees_session=name == "read" and any(_is_session(touch) for touch in touches),
        network=None if name == "unconfined" else network,
    )


def least(touch: Touch, workspace: str) -> ProfileName:
    """Return the least profile that carries out one touch."""
    if touch.operation == "pkg.install" and touch.resource == PROJECT_PACKAGES:
        return "write"
    row = TABLE.get(touch.operation)
    return row[PLACES.index(place(touch, workspace))] if row else "unconfined"


def place(touch: Touch, workspace: str) -> Place:
    """Return where the resource of a touch is, as far as a profile minds.

    What nobody knows exactly counts as the workspace, where the profile confines it, unless all it
    could be lies in what only `inspect` shows.
    """
    path, is_exact = touch.resource, touch.how == "exact"
    if SAME_EVERYWHERE.fullmatch(path):
        return "kernel"
    if any(is_within(path, root) for root in MACHINE):
        return "machine"
    if not is_exact:
        known = _VARIES.split(path)[0]
        return "machine" if any(is_within(known, root) for root in RECORDS) else "workspace"
    if is_within(path, workspace):
        return "workspace"
    if path in HARMLESS_DEVICES:
        return "device"
    return "scratch" if _is_scratch(path) else "elsewhere"


def _output(touches: Sequence[Touch], workspace: str) -> str:
    """Return the one file of the workspace that is all the touches write; else an empty text."""
    written = [touch for touch in touches if least(touch, workspace) == "write"]
    paths = {touch.resource for touch in written}
    is_one = len(paths) == 1 and all(
        touch.operation in {"fs.write", "fs.create"}
        and touch.how == "exact"
        and is_within(touch.resource, workspace)
        for touch in written
    )
    return paths.pop() if is_one else ""


def _looks(operations: frozenset[str], programs: Programs) -> bool:
    lone = _base(programs.argv[0]) if programs.argv else ""
    allowed = programs.may_look and operations <= LOOKS
    return allowed and lone in LOOKERS and not programs.foreign


def _is_git_alone(operations: frozenset[str], programs: Programs) -> bool:
    """Return whether git is all that writes: what it checks out is the repository's own."""
    changes = bool(operations & {"git.write", "git.history"})
    names = {_base(program) for program in programs.names}
    return changes and names <= GIT_AND_STEPS and not operations & RUNS_OTHER_CODE


def _untold(name: str, programs: Programs, sockets: tuple[str, ...]) -> tuple[str, ...]:
    """Return, in words, what the programs ask for and this profile cannot show truly."""
    names = {_base(program) for program in programs.names}
    if name == "unconfined":
        return ()
    clients = sorted(program for program in names if is_client(program) and not sockets)
    return (
        *((NOT_OWNERS,) if names & set(OWNERS) else ()),
        *((NOT_MOUNTS,) if names & set(MOUNTS) else ()),
        *(NOT_DAEMON.format(client) for client in clients),
    )


def _base(program: str) -> str:
    return program.rpartition("/")[2]


def _fixed(touch: Touch) -> str:
    """Return the path a touch names, or the directory around what it could name."""
    if touch.how == "exact":
        return touch.resource
    return _VARIES.split(touch.resource)[0].rpartition("/")[0]


def _elsewhere(
    touches: Sequence[Touch], operations: frozenset[str], workspace: str
) -> tuple[str, ...]:
    return tuple(
        touch.resource
        for touch in touches
        if touch.operation in operations
        and touch.how == "exact"
        and touch.resource not in HARMLESS_DEVICES
        and touch.resource not in TOO_WIDE
        and touch.resource.startswith("/")
        and not is_within(touch.resource, workspace)
        and not (operations & WRITES and _is_scratch(touch.resource))
    )


def _is_session(touch: Touch) -> bool:
    return touch.operation in READS | {"fs.list"} and is_within(_fixed(touch), SCRATCH[0])


def _is_too_wide(touch: Touch) -> bool:
    return (
        touch.operation in READS | {"fs.list"}
        and touch.resource in TOO_WIDE
        and touch.resource not in SHOWN_ANYWAY
    )


def _is_scratch(path: str) -> bool:
    return any(is_within(path, root) for root in SCRATCH)


def is_within(path: str, root: str) -> bool:
    """Return whether `path` is `root` or lies below it; both absolute and normal."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _ordered(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(paths)))
