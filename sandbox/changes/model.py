"""The words of a change set: what changed, and the renames that make it so.

May touch: nothing. Paths are relative to the root, as `os.fsdecode` gives them, so a name that is
not UTF-8 survives. What a set has ten thousands of are tuples: made, written and read in no time.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["file", "directory", "symlink"]
Operation = Literal["created", "modified", "deleted", "attributes"]
# place: ours where nothing was · exchange: ours for theirs · take: theirs away ·
# dress: mode, owner, extended attributes of a directory that both have
Move = Literal["place", "exchange", "take", "dress"]


class Change(NamedTuple):
    """One name of the workspace that is not as it was: what people read and policy decides on."""

    path: str
    operation: Operation  # attributes: mode, owner, times or extended attributes alone
    kind: Kind  # of what is there afterwards; of a deletion, of what was there
    bytes_before: int = 0
    bytes_after: int = 0
    mode_before: int = 0  # permission bits with set-id and sticky; 0 where nothing was
    mode_after: int = 0
    mtime_ns: int = 0  # afterwards; a file that is younger now was changed by somebody else


class Step(NamedTuple):
    """One rename, or one `dress`: all changes below `path` happen with it."""

    move: Move
    path: str


@dataclass(frozen=True, slots=True)
class Found:
    """Everything one command did to a workspace."""

    changes: tuple[Change, ...] = ()  # sorted by path; every file, directories too
    steps: tuple[Step, ...] = ()  # parents before children
    # Directories of both layers: (path, modification time in ns it has afterwards).
    times: tuple[tuple[str, int], ...] = ()
    left_out: tuple[str, ...] = ()  # sockets, pipes and devices: they do not outlive the command
    # Placed, but copied up from what is gone in the workspace: renamed by the command, or deleted
    # there by its owner meanwhile.
    orphans: tuple[str, ...] = ()
    # Directories that had to be opened to be looked into: (path, mode they are to have).
    closed: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """Whose change set it is, and since when the workspace may have been changed by others."""

    root: str  # absolute, no symbolic link in it
    since_ns: int  # what has a later ctime was changed since the command started; of its draft
    after: int  # number of the last transition in the store at that moment; of its draft
    source: Literal["exec", "patch"]
    summary: str  # the command as it ran, for people; redacted, bounded
    session: str
    created_s: float  # Unix time


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a person should see a change set before it is committed."""

    rule: str  # protected-name, git-directory, set-id, deletions, bytes, names, preview, policy
    text: str  # for people, with the number or the name
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the past stays; beyond, the oldest sets can no longer be undone or approved."""

    max_bytes: int = 4 << 30
    max_age_s: float = 14 * 86_400.0
    max_sets: int = 1_000


State = Literal["held", "applied", "partly", "undone"]


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A set as a list shows it."""

    set_id: str
    about: About
    reasons: tuple[Reason, ...]
    state: State  # held: nothing of it was ever applied · partly: some of its steps are
    changes: int
    kept_bytes: int  # what its directory holds: ours where not applied, theirs where applied
    moved_s: float  # Unix time of its last transition; of its creation where there was none
    number: int = 0  # of its last transition


@dataclass(frozen=True, slots=True)
class Applied:
    """What landed, and what did not because somebody else had changed it meanwhile."""

    set_id: str
    number: int  # of the transition; 0: nothing landed
    changes: tuple[Change, ...] = ()
    conflicts: tuple[str, ...] = ()  # paths of steps: theirs stayed, ours stays in the set


@dataclass(frozen=True, slots=True)
class Reverted:
    """What was put back; the changes are those that had been made."""

    set_id: str
    number: int
    changes: tuple[Change, ...] = ()
