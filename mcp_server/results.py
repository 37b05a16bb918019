"""The shapes of tool results: what `outputSchema` says and clients receive as structured content.

May touch: nothing. Source: specs of the MCP surface; every field is always present, so a client
needs no guessing about absent keys.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Effect = Literal["allow", "ask", "deny"]
CallStatus = Literal[
    "ok", "failed", "timeout", "killed", "denied", "declined", "pending", "blocked", "error"
]


class RuleResult(_Result):
    """A rule that decided: its name, where it stands, and why it is there."""

    id: str
    place: str
    reason: str


class RewrittenResult(_Result):
    """One command that a rule replaced: `to` is what runs in the place of `from`."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    from_: str = Field(alias="from")
    to: str
    rule: str
    reason: str


class DecisionResult(_Result):
    """The policy's answer, and what else it demands of a run: one line for each obligation."""

    effect: Effect
    rules: list[RuleResult]
    risk: int
    reason: str
    demands: list[str]
    rewritten: list[RewrittenResult]


class ReceiptResult(_Result):
    """Where the audit log holds this call: enough to ask for an inclusion proof later."""

    origin: str
    seq: int
    size: int
    root: str
    checkpoint: str


class ApprovalResult(_Result):
    """The human's answer, or the request that waits for one."""

    id: str
    level: int | None
    by: str | None


class Guidance(_Result):
    """What to do next when something did not run or did not work."""

    reason: str
    retryable: bool
    alternatives: list[str]


class CallResult(_Result):
    """What every tool that goes through the gate answers."""

    status: CallStatus
    decision: DecisionResult
    approval: ApprovalResult | None
    guidance: Guidance | None
    receipt: ReceiptResult | None
    log_seq: int | None


class StreamResult(_Result):
    """One output stream: text, or base64 where the bytes are not UTF-8."""

    text: str | None
    base64: str | None
    bytes: int
    sha256: str
    truncated: bool


class EnforcementResult(_Result):
    """What confined the command, per control as it was seen on this host."""

    profile: str
    rung: str
    controls: dict[str, Literal["enforced", "partial", "absent"]]


class ResourcesResult(_Result):
    """What the command used."""

    cpu_user_ms: int
    cpu_system_ms: int
    peak_memory_bytes: int


class ContactResult(_Result):
    """Connections to one place that ended alike; nothing of what was said on them."""

    host: str
    port: int
    protocol: str
    verdict: Literal["allowed", "refused", "failed"]
    address: str
    connections: int
    sent_bytes: int
    received_bytes: int
    duration_ms: int
    reason: str


class EventsResult(_Result):
    """What was seen of a command while it ran."""

    network: list[ContactResult]


class HeldResult(_Result):
    """Why a change set waits for a person."""

    rule: str
    text: str
    paths: list[str]


class ChangesResult(_Result):
    """What a command did to the workspace; the lists hold the first names, `total` counts all.

    `id` is for `undo`, and where `held` is not empty for `preview_commit` or `preview_discard`:
    then nothing of it is in the workspace yet.
    """

    id: str | None
    created: list[str]
    modified: list[str]
    deleted: list[str]
    attributes: list[str]
    total: int
    bytes_written: int
    held: list[HeldResult]
    conflicts: list[str]
    left_out: list[str]
    undo_id: str | None


class ExecResult(CallResult):
    """The result of `exec`."""

    exit_code: int | None
    signal: int | None
    duration_ms: int
    stdout: StreamResult | None
    stderr: StreamResult | None
    enforcement: EnforcementResult | None
    resources: ResourcesResult | None
    executed: str | None  # the canonical form when it differs from what was asked
    hidden: list[str]
    changes: ChangesResult | None  # None: nothing changed, or it wrote the workspace itself
    events: EventsResult


class AccessResult(_Result):
    """One access of the footprint and the rule that decided it."""

    operation: str
    resource: str
    how: Literal["exact", "pattern", "dynamic"]
    program: str
    effect: Effect
    certain: bool  # False: the rule only may concern it, for something is not known
    rule: str
    place: str


class ClassifyResult(_Result):
    """What would happen; nothing ran and nobody was asked."""

    decision: DecisionResult
    operations: list[str]
    footprint: list[AccessResult]
    explanation: str
    alternatives: list[str]
    opaque: str | None
    executed: str | None
    profile: str | None
    network: list[str]  # the hosts it could reach; "*" is any public one
    blocked: str | None  # why it could not run even with a yes
    approval_level: str | None
    receipt: ReceiptResult | None


class FileChangeResult(_Result):
    """One file of a change set."""

    path: str
    operation: Literal["created", "modified", "deleted"]
    added_lines: int
    removed_lines: int
    sha256: str | None


class RefusedFileResult(_Result):
    """One file that a partial patch left out: where in the patch, and why."""

    path: str
    place: str
    message: str


class PatchResult(CallResult):
    """The result of `patch`."""

    files: list[FileChangeResult]
    refused: list[RefusedFileResult]
    diff: str
    undo_id: str | None
    dry_run: bool


class HeldChangesResult(CallResult):
    """The result of `preview_commit` and `preview_discard`."""

    changes: ChangesResult | None
    diff: str


class ReadFileResult(CallResult):
    """The result of `read_file`."""

    content: StreamResult | None
    first_line: int
    total_bytes: int
    truncated: bool


class EntryResult(_Result):
    """One name in a directory."""

    name: str
    kind: Literal["file", "directory", "symlink", "other"]
    size_bytes: int


class ListDirResult(CallResult):
    """The result of `list_dir`."""

    entries: list[EntryResult]
    truncated: bool
    hidden: list[str]


class MatchResult(_Result):
    """One line that a search found."""

    path: str
    line: int
    text: str


class SearchResult(CallResult):
    """The result of `search_files`."""

    matches: list[MatchResult]
    truncated: bool
    hidden: list[str]


class HostResult(_Result):
    """One remote host's result."""

    host: str
    status: CallStatus
    exit_code: int | None
    duration_ms: int
    stdout: StreamResult
    stderr: StreamResult
    fingerprint: str
    message: str


class SshResult(CallResult):
    """The result of `ssh`."""

    executed: str | None  # the script that was sent, where it was not a lone command
    hosts: list[HostResult]


class AuditRecordsResult(_Result):
    """The subject's own records, oldest first, as JSON objects."""

    records: list[dict[str, object]]
    truncated: bool
    receipt: ReceiptResult | None


class AuditVerdictResult(_Result):
    """What a verification of the whole log found."""

    verdict: Literal["verified", "tampered", "unreadable", "incomplete"]
    records: int
    signed: int
    findings: list[str]
    receipt: ReceiptResult | None


class AuditProofResult(_Result):
    """An inclusion proof that verifies offline with the public key."""

    seq: int
    proof: str
    public_key: str
    receipt: ReceiptResult | None


class ApprovalStatusResult(_Result):
    """Where a request is in its life; `result` is the waiting call's own, once it ran."""

    approval_id: str
    state: Literal[
        "pending", "approved", "denied", "expired", "cancelled", "consumed", "lapsed", "revoked"
    ]
    reason: str | None  # what the person who denied it said
    result: dict[str, object] | None
    receipt: ReceiptResult | None
