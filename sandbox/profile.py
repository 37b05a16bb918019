"""Footprint to profile: what the kernel will be told about one command.

Pure: no file is looked at. The table from operations to profiles is the subject of this module;
`covers` is its order, and adding a touch never leads to a profile that covers less.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["inspect", "read", "live", "unconfined"]


@dataclass(frozen=True, slots=True)
class Touch:
    """One access of the footprint, in this room's words."""

    operation: str
    resource: str
    how: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A confinement for one command; every path is absolute."""

    name: ProfileName
    workspace: str
    read_roots: tuple[str, ...] = ()  # shown read-only besides the profile's own
    write_paths: tuple[str, ...] = ()  # shown writable: a permitted write outside the workspace
    list_paths: tuple[str, ...] = ()  # names may be listed below, nothing may be read
    hidden: tuple[str, ...] = ()  # named by the footprint, but too wide to show
    reads: tuple[str, ...] = ()  # what the footprint itself reads: files, or the tree around them
    git_places_files: bool = False  # git itself may check out protected names; no other code runs


@dataclass(frozen=True, slots=True)
class NoProfile:
    """No single profile covers the footprint; the command has to be split."""

    reason: str


# The least profile that carries out an operation. What is not listed needs the whole host.
LEAST: dict[str, ProfileName] = {
    "fs.read": "read",
    "fs.list": "read",
    "git.read": "read",
    "credential.read": "read",
    "proc.inspect": "inspect",
    "sys.inspect": "inspect",
    "fs.write": "live",
    "fs.create": "live",
    "fs.delete": "live",
    "fs.perm": "live",
    "git.write": "live",
    "git.history": "live",
    "code.exec": "live",
    "env.poison": "live",
    "resource.exhaust": "live",
    "opaque": "live",
}
# Each profile and those that allow no more than it does.
COVERED: dict[ProfileName, frozenset[ProfileName]] = {
    "read": frozenset({"read"}),
    "inspect": frozenset({"read", "inspect"}),
    "live": frozenset({"read", "live"}),
    "unconfined": frozenset({"read", "inspect", "live", "unconfined"}),
}
BY_STRENGTH: tuple[ProfileName, ...] = ("read", "inspect", "live", "unconfined")

WRITES = frozenset({"fs.write", "fs.create", "fs.perm"})
READS = frozenset({"fs.read", "credential.read", "code.exec"})
RUNS_OTHER_CODE = frozenset({"code.exec", "opaque", "env.poison"})
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # private to the command, never the host's
HARMLESS_DEVICES = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/stdout", "/dev/stderr"})
# Showing one of these would show the host: they stay the profile's own.
TOO_WIDE = frozenset(
    {"/", "/proc", "/sys", "/dev", "/run", "/var", "/var/run", "/home", "/etc", "/usr", *SCRATCH}
)

_VARIES = re.compile(r"[*?\[\x00-\x1f]")  # where a pattern, or a part nobody knows, begins


def covers(wide: ProfileName, narrow: ProfileName) -> bool:
    """Return whether `wide` allows everything that `narrow` allows."""
    return narrow in COVERED[wide]


def derive(
    touches: Sequence[Touch], *, workspace: str, read_roots: tuple[str, ...]
) -> Profile | NoProfile:
    """Return the weakest-powered profile that can carry out every touch.

    `unconfined` comes out whenever one touch needs the host; the caller must then hold a human's
    yes to exactly that.
    """
    needed: set[ProfileName] = {_least(touch, workspace) for touch in touches}
    name = next((n for n in BY_STRENGTH if all(covers(n, need) for need in needed)), None)
    if name is None or (name == "unconfined" and "unconfined" not in needed):
        return NoProfile(
            "one part inspects the host and another writes or runs code; no profile allows both. "
            "Split it: run the inspecting part as a command of its own"
        )
    operations = {touch.operation for touch in touches}
    return Profile(
        name=name,
        workspace=workspace,
        read_roots=_ordered((*read_roots, *_elsewhere(touches, READS, workspace))),
        write_paths=_ordered(_elsewhere(touches, WRITES, workspace)),
        list_paths=_ordered(_elsewhere(touches, frozenset({"fs.list"}), workspace)),
        hidden=_ordered(tuple(t.resource for t in touches if _is_too_wide(t))),
        reads=_ordered(tuple(_fixed(touch) for touch in touches if touch.operation == "fs.read")),
        git_places_files=bool(operations & {"git.write", "git.history"})
        and not operations & RUNS_OTHER_CODE,
    )


def _fixed(touch: Touch) -> str:
    """Return the path a touch names, or the directory around what it could name."""
    if touch.how == "exact":
        return touch.resource
    return _VARIES.split(touch.resource)[0].rpartition("/")[0]


def _least(touch: Touch, workspace: str) -> ProfileName:
    least = LEAST.get(touch.operation, "unconfined")
    if least != "live" or touch.how != "exact":
        return least
    if touch.resource in HARMLESS_DEVICES and touch.operation in WRITES:
        return "read"
    if (
        touch.operation == "fs.delete"
        and not is_within(touch.resource, workspace)
        and not _is_scratch(touch.resource)
    ):
        return "unconfined"  # a path shown writable is a mount, and a mount cannot be removed
    return least


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


def _is_too_wide(touch: Touch) -> bool:
    return touch.operation in READS | {"fs.list"} and touch.resource in TOO_WIDE


def _is_scratch(path: str) -> bool:
    return any(is_within(path, root) for root in SCRATCH)


def is_within(path: str, root: str) -> bool:
    """Return whether `path` is `root` or lies below it; both absolute and normal."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _ordered(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(paths)))
