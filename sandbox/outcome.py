"""What became of a permitted action: the words of a result, one kind per kind of action.

May touch: nothing. Denial, time-out and a non-zero exit are values here, never exceptions.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from sandbox.network.model import Contact

Status = Literal["ok", "failed", "timeout", "killed", "blocked", "error"]
Seen = Literal["enforced", "partial", "absent"]


@dataclass(frozen=True, slots=True)
class Output:
    """One stream: its head and tail as bytes, and what is true of the whole."""

    head: bytes
    tail: bytes  # empty unless truncated
    total_bytes: int
    sha256: str

    @property
    def truncated(self) -> bool:
        """Return whether bytes between head and tail were left out."""
        return self.total_bytes > len(self.head) + len(self.tail)

    @staticmethod
    def whole(data: bytes) -> "Output":
        """Return a stream that was kept whole."""
        return Output(data, b"", len(data), hashlib.sha256(data).hexdigest())


NO_OUTPUT = Output(b"", b"", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What confined the command: profile, rung of the ladder, and each control as it was seen."""

    profile: str
    rung: str  # namespaces, landlock, none
    controls: tuple[tuple[str, Seen], ...] = ()


@dataclass(frozen=True, slots=True)
class HeldFor:
    """Why a change set waits for a person: the rule, in words, and the first names it is about."""

    rule: str
    text: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a command did to the workspace; the lists hold the first names, `total` counts all."""

    set_id: str  # of the change set, for `preview_commit` and `undo`
    created: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()  # mode, owner or times alone
    total: int = 0
    bytes_written: int = 0
    held: tuple[HeldFor, ...] = ()  # empty: it was committed
    conflicts: tuple[str, ...] = ()  # changed by somebody else meanwhile: theirs stays
    left_out: tuple[str, ...] = ()  # sockets, pipes and devices


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """A local command that was started, or could not be (`error`, nothing ran)."""

    status: Status
    exit_code: int | None
    signal: int | None
    duration_ms: int
    stdout: Output
    stderr: Output
    enforcement: Enforcement
    hidden: tuple[str, ...] = ()  # paths of the footprint that the profile hides
    cpu_user_ms: int = 0
    cpu_system_ms: int = 0
    peak_memory_bytes: int = 0
    message: str = ""  # for error and blocked: what happened and what to do
    effects: Effects | None = None  # None: it changed nothing, or wrote the workspace itself
    contacts: tuple[Contact, ...] = ()  # what it reached, or tried to


@dataclass(frozen=True, slots=True)
class ChangesOutcome:
    """What became of a change set that was landed, dropped or put back; `error`: nothing was."""

    status: Status
    effects: Effects | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file as the patch left it; sha256 is None when the file is gone."""

    path: str
    operation: Literal["created", "modified", "deleted"]
    added_lines: int
    removed_lines: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class PatchOutcome:
    """All files changed as one set, or none (`error`)."""

    status: Status
    files: tuple[FileChange, ...] = ()
    undo_id: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory."""

    name: str
    kind: Literal["file", "directory", "symlink", "other"]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Match:
    """One line that a search found; line numbers start at 1."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What a read-only file tool saw; only the field of its kind is filled."""

    status: Status
    content: bytes = b""
    first_line: int = 0
    total_bytes: int = 0
    entries: tuple[Entry, ...] = ()
    matches: tuple[Match, ...] = ()
    truncated: bool = False
    hidden: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """One remote host's result; `fingerprint` is the host key that answered."""

    host: str
    status: Status
    exit_code: int | None
    duration_ms: int
    stdout: Output
    stderr: Output
    fingerprint: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RemoteOutcome:
    """Every host's result, in the order asked."""

    status: Status
    hosts: tuple[HostOutcome, ...] = ()
    message: str = ""


Outcome = CommandOutcome | ChangesOutcome | PatchOutcome | FileOutcome | RemoteOutcome
