"""The words of the policy room: who asks, for what, what it may touch, and what the rules say.

May touch: nothing. Every value is frozen, so a decision can be compared, cached and digested.
Source: XACML 3.0 for Subject, Action, Request, Decision; operations are this project's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from policy.programs.words import Argument

How = Literal["exact", "pattern", "dynamic"]

PATH_OPERATIONS = frozenset(
    {
        "fs.read", "fs.list", "fs.write", "fs.create", "fs.delete", "fs.perm", "device.write",
        "code.exec",
    }
)  # fmt: skip
OPERATIONS = PATH_OPERATIONS | frozenset(
    {
        "net.connect", "net.listen", "proc.inspect", "proc.signal", "sys.inspect", "sys.control",
        "service.control", "pkg.install", "container.exec", "cloud.mutate", "remote.exec",
        "privilege.escalate", "credential.read", "persistence", "env.poison", "audit.tamper",
        "resource.exhaust", "git.read", "git.write", "git.history", "opaque",
    }
)  # fmt: skip


class Effect(IntEnum):
    """Ordered by strictness, so the strictest of several is their maximum."""

    ALLOW = 0
    ASK = 1
    DENY = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: `agent:<client>` over MCP, `agent:cli` from the command line, and for whom."""

    name: str
    session: str
    uid: int
    auth: str


@dataclass(frozen=True, slots=True)
class Exec:
    """Run a shell command line (`command`) or an argument vector (`argv`); exactly one is given."""

    command: str | None
    argv: tuple[str, ...] | None
    cwd: str
    env: tuple[tuple[str, str], ...] = ()
    wants_write: bool = False
    network: tuple[str, ...] = ()  # resources of further connections (reach.as_accesses)


@dataclass(frozen=True, slots=True)
class Patch:
    """Change files: (operation, absolute path) pairs; fs.read is what a rename or copy takes."""

    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ssh:
    """Run a command on remote hosts; `sudo` adds privilege.escalate."""

    hosts: tuple[str, ...]
    command: str | None
    argv: tuple[str, ...] | None
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Read or list one path with our own file tools; `operation` is fs.read or fs.list."""

    operation: Literal["fs.read", "fs.list"]
    path: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Put back what an earlier change replaced: the same pairs as a Patch."""

    undo_id: str
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Land a held change set, or drop it: then nothing changes. The pairs are as in a Patch."""

    set_id: str
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AuditRead:
    """Read the subject's own audit records, verify the log or prove one record."""

    query: str


Action = Exec | Patch | Ssh | Read | Undo | Commit | AuditRead


@dataclass(frozen=True, slots=True)
class Request:
    """One subject asking for one action through one tool."""

    subject: Subject
    action: Action
    tool: str


@dataclass(frozen=True, slots=True)
class Context:
    """The facts a decision may depend on, all given by the caller; paths are absolute."""

    workspace: str
    home: str
    user: str
    host: str
    can_mask: bool = True  # False where denied files cannot be hidden: remote hosts, weak rungs


class Access(NamedTuple):
    """One operation on one resource; `program` is the command that does it, such as "git push".

    A tuple, as Verdict is: a decision makes and compares hundreds.
    """

    operation: str
    resource: str
    how: How = "exact"
    program: str = ""


@dataclass(frozen=True, slots=True)
class Obligations:
    """What must also hold, combined to the strictest over all matching rules (obligations.py)."""

    level: int = 1  # least approval level: 1 attested, 2 owner, 3 separate, 4 present
    quorum: int = 1
    roles: tuple[tuple[str, ...], ...] = ()  # sorted lists; each yes is by a holder of one in each
    timeout_s: int | None = None  # how long a request may be answered
    sandbox: frozenset[str] | None = None  # the profiles that are permitted; None: any
    network: tuple[
        tuple[str, ...], ...
    ] = ()  # sorted lists, each with every host that is permitted
    limits: tuple[tuple[str, int], ...] = ()  # sorted; none raises what the configuration says
    env: frozenset[str] | None = None  # the names that the call may set; None: any
    redact: tuple[str, ...] = ()  # sorted globs over the words of output
    preview: bool = False  # whether all that the command changes waits for a person
    hold: tuple[tuple[str, int], ...] = ()  # sorted; beyond a number it waits
    hold_names: tuple[str, ...] = ()  # sorted patterns as in .gitignore: these names wait
    places: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # (key, rule at place)


class Verdict(NamedTuple):
    """The strictest rule for one access; `place` is file:line:column of the rule."""

    access: Access
    effect: Effect
    rule_id: str
    place: str
    reason: str
    instead: str = ""
    certain: bool = True  # False where the rule only may concern the access
    lifted: tuple[str, ...] = ()  # ids of the asks that an allow silenced here
    asking: tuple[str, ...] = ()  # sorted ids of all rules that ask here, lifted ones aside
    grantable: bool = False  # all of them say so


@dataclass(frozen=True, slots=True)
class Executable:
    """What runs: a lone literal command's argument vector, else the canonical script.

    Both are None for opaque text: then only the text itself could run, after a human saw it.
    """

    argv: tuple[str, ...] | None = None
    script: str | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One command that a rule replaced; both as shell text, `place` is file:line:column."""

    before: str
    after: str
    rule_id: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's whole answer, with the rule behind every access."""

    effect: Effect
    verdicts: tuple[Verdict, ...]
    risk: int  # 0 to 100, from the operations; the table is in policy/risk.py
    reason: str
    instead: tuple[str, ...]
    obligations: Obligations
    policy_digest: str  # sha256 hex of the policy in force
    executable: Executable = field(default_factory=Executable)
    opaque: str | None = None  # why the text was not understood, with the byte; None if it was
    programs: tuple[str, ...] = ()  # every program the command may start, as named
    rewritten: tuple[Rewritten, ...] = ()  # what runs instead of what was asked, and why
    # The argument vectors of its programs, for rules that a real connection is held against.
    words: Mapping[str, Sequence[Sequence["Argument"]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def operations(self) -> tuple[str, ...]:
        """Return the operations of the footprint, sorted."""
        return tuple(sorted({verdict.access.operation for verdict in self.verdicts}))

    @property
    def accesses(self) -> tuple[Access, ...]:
        """Return the footprint: every access, in the order found."""
        return tuple(verdict.access for verdict in self.verdicts)
