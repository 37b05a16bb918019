"""The frozen actions a runner can carry out, and the digest that names exactly one of them.

May touch: bytes and hashlib. INVARIANT: every field that changes what happens is in the canonical
form, so the digest that was approved, permitted, logged and run is one digest.
"""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

from sandbox.profile import Profile

DIGEST_TAG = b"permitgate-action-v1\0"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one command; sizes in bytes, times in seconds."""

    wall_s: float = 30.0
    cpu_s: int = 300
    memory_bytes: int = 2 << 30
    processes: int = 512
    file_bytes: int = 1 << 30
    open_files: int = 4096
    tmp_bytes: int = 256 << 20
    output_bytes: int = 64 << 10  # kept per stream as head and tail; the rest is counted and hashed


@dataclass(frozen=True, slots=True)
class Landing:
    """What becomes of what a command did to its copy of the workspace; None: no bound.

    Beyond a bound, at a protected name, or with `preview`, it is held for a person.
    """

    preview: bool = False
    discard: bool = False  # a trial of the sandbox: nothing it does may stay
    deletions: int | None = None  # files, without those below a directory that came back
    bytes: int | None = None  # written, all files together
    names: tuple[str, ...] = ()  # patterns as in .gitignore, relative to the workspace


ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Pin:
    """A file that will be executed or interpreted, as it was when the action was decided."""

    path: str
    sha256: str  # or ABSENT: nothing had this name, which would come before another


@dataclass(frozen=True, slots=True)
class Command:
    """A local command: an argument vector, a canonical script, or text a human saw verbatim."""

    argv: tuple[str, ...] | None
    script: str | None
    verbatim: bool
    cwd: str
    env: tuple[tuple[str, str], ...]
    stdin: bytes | None
    profile: Profile
    limits: Limits
    pins: tuple[Pin, ...]
    policy_digest: str
    landing: Landing = Landing()


@dataclass(frozen=True, slots=True)
class CommitChanges:
    """Land a held change set, or the named paths of it: exactly the bytes that `digest` names."""

    set_id: str
    root: str
    digest: str
    paths: tuple[str, ...] | None
    policy_digest: str


@dataclass(frozen=True, slots=True)
class DiscardChanges:
    """Drop what a held change set has not landed."""

    set_id: str
    root: str
    policy_digest: str


@dataclass(frozen=True, slots=True)
class RestoreChanges:
    """Put a workspace back to a named restore point; `plan` is the digest of what that means."""

    name: str
    root: str
    plan: str
    policy_digest: str


@dataclass(frozen=True, slots=True)
class NewContent:
    """One file of a patch: what it must be now (None: absent) and what it will be (None: gone)."""

    path: str
    before_sha256: str | None
    after: bytes | None
    mode: int | None = None  # for new files


@dataclass(frozen=True, slots=True)
class PatchFiles:
    """Files to change below one root, all or none."""

    root: str
    files: tuple[NewContent, ...]
    policy_digest: str


@dataclass(frozen=True, slots=True)
class UndoChanges:
    """Put back what a change set replaced, all of it or some paths, if nothing changed since.

    With `redo`: bring back what an undo took away.
    """

    set_id: str
    root: str
    paths: tuple[str, ...] | None
    redo: bool
    policy_digest: str


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A window of one file, by line (1-based) below an allowed root."""

    path: str
    first_line: int
    max_lines: int
    max_bytes: int
    policy_digest: str


@dataclass(frozen=True, slots=True)
class ListDirectory:
    """The names in one directory."""

    path: str
    max_entries: int
    policy_digest: str


@dataclass(frozen=True, slots=True)
class SearchFiles:
    """Lines below one directory that contain a literal or match a linear-time pattern."""

    path: str
    pattern: str
    is_regex: bool
    file_glob: str | None
    max_matches: int
    policy_digest: str


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """One host as the configuration resolved it; the key is pinned in the approval."""

    name: str
    address: str
    port: int
    user: str
    fingerprints: tuple[str, ...]  # SHA256:… of every known_hosts key accepted for it
    host_keys: tuple[str, ...] = ()  # the keys of these fingerprints, "ssh-ed25519 AAAA…"
    identity_files: tuple[str, ...] = ()  # empty: the default keys and the agent
    jumps: tuple["RemoteHost", ...] = ()  # reached through these, in order, each pinned alike


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """One command for several hosts; the script travels on standard input."""

    hosts: tuple[RemoteHost, ...]
    argv: tuple[str, ...] | None
    script: str | None
    verbatim: bool
    sudo: bool
    max_parallel: int
    timeout_s: float
    output_bytes: int
    stop_on_failure: bool
    policy_digest: str


Action = (
    Command
    | CommitChanges
    | DiscardChanges
    | RestoreChanges
    | PatchFiles
    | UndoChanges
    | ReadFile
    | ListDirectory
    | SearchFiles
    | RemoteCommand
)


def digest(action: Action) -> str:
    """Return the action digest: 64 lowercase hex digits over every field of the action."""
    body = json.dumps(
        {"kind": type(action).__name__, **_plain_fields(action)},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(DIGEST_TAG + body.encode("ascii")).hexdigest()


def _plain_fields(value: object) -> dict[str, object]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}  # type: ignore[arg-type]  # only called with dataclasses


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    if is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
