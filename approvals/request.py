"""The words of the approvals room: what is asked, who may answer, and the digest both mean.

May touch: bytes and hashlib. INVARIANT: a request digest names one action, one session, one nonce
and one expiry, so an answer cannot be moved to another request.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from approvals.scope import NO_GRANT, Act, Offer

REQUEST_TAG = b"permitgate-request-v1\0"
OWN_KEY = "own-key"  # the channel of the owner's own SSH keys


class ApprovalError(Exception):
    """The room could not do, or would not do, what was asked; nothing was approved by it."""


class NotPending(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """No such request in a state that allows the move: unknown, answered, used or too late."""


class Mismatch(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """What was seen, signed or is about to run is not what was asked: `approval_mismatch`."""


class TooManyPending(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """The session already waits for as many answers as one session may."""


class CoolingDown(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """This very action was denied a moment ago; `retry_after_s` says when it may be asked again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Level(IntEnum):
    """How much an answer proves, by the channel it came through; higher proves more."""

    POLICY = 0
    ATTESTED = 1
    OWNER = 2
    SEPARATE = 3
    PRESENT = 4


class State(Enum):
    """Where a request is in its life; desk.MOVES is the law between them."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"
    LAPSED = "lapsed"
    REVOKED = "revoked"


class Answer(Enum):
    """What a principal may say to a request; anything else is no answer at all."""

    APPROVE = "approve"
    APPROVE_FOR_SESSION = "approve-for-session"  # this once, and what the question offers besides
    DENY = "deny"

    @property
    def is_yes(self) -> bool:
        """Return whether this answer approves."""
        return self is not Answer.DENY


@dataclass(frozen=True, slots=True)
class Principal:
    """Who speaks, through which channel, and how much that channel proves."""

    channel: str
    uid: int
    name: str
    level: Level

    @property
    def identity(self) -> str:
        """Return `name@uid via channel`: what tells an approver from a requester."""
        return f"{self.name}@{self.uid} via {self.channel}"

    @property
    def person(self) -> str:
        """Return what counts as one voter of a quorum.

        Up to level 2 a channel proves no more than the UID, so one UID is one voter however many
        channels it owns, and so are the owner's own keys; above that the authenticated name
        counts.
        """
        is_owner = self.level <= Level.OWNER or self.channel == OWN_KEY
        return f"uid:{self.uid}" if is_owner else f"{self.name}@{self.uid}"


@dataclass(frozen=True, slots=True)
class Need:
    """What an action needs: how strong and how many answers, how soon, and how soon used."""

    level: Level = Level.ATTESTED
    quorum: int = 1
    ttl_s: int = 300
    use_within_s: int = 60
    roles: tuple[tuple[str, ...], ...] = ()  # each yes is by a holder of one role in each list

    @property
    def is_for_anyone(self) -> bool:
        """Return whether one yes is enough, of whoever reaches the level."""
        return self.quorum == 1 and not self.roles


@dataclass(frozen=True, slots=True)
class Question:
    """One action as a human is asked about it; the text is redacted by the caller.

    `facts` are the lines of the statement, every argument complete; `preview` is the diff or
    explain tree shown above it; `warnings` are the caller's own, ours are added when shown.
    """

    action_digest: str
    tool: str
    facts: tuple[tuple[str, str], ...]
    session: str
    requester: Principal
    need: Need
    preview: str = ""
    warnings: tuple[str, ...] = ()
    for_session: tuple[str, ...] = ()  # what a yes for the session would permit from then on
    offers: tuple[Offer, ...] = ()  # the scopes of which a grant can be made
    act: Act = NO_GRANT  # this action, as grants see it
    set_off_by: tuple[str, ...] = ()  # names of people whose yes does not count for it


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer that counted; `reason` is what the principal said to the one who asked."""

    answer: Answer
    by: Principal
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A request with its place in life; times are milliseconds since 1970, UTC."""

    id: str
    question: Question
    nonce: str
    created_ms: int
    expires_ms: int
    request_digest: str
    state: State = State.PENDING
    use_by_ms: int | None = None
    votes: tuple[Vote, ...] = ()

    def is_due(self, now_ms: int) -> bool:
        """Return whether its time to be answered, or its time to be used, has passed."""
        if self.state is State.PENDING:
            return self.expires_ms <= now_ms
        used_by_ms = self.use_by_ms if self.state is State.APPROVED else None
        return used_by_ms is not None and used_by_ms <= now_ms


@dataclass(frozen=True, slots=True)
class Approval:
    """A yes that was just spent: the weakest level among its votes and who gave them."""

    id: str
    level: Level
    by: tuple[str, ...]
    request_digest: str
    for_session: bool = False  # all of them said so
    grant: str = ""  # the grant whose use this is


def request_digest(action_digest: str, session: str, nonce: str, expires_ms: int) -> str:
    """Return the request digest, 64 lowercase hex digits.

    SHA-256 over the tag, then each of the four fields in this order, framed as its length in bytes
    (8 bytes, big-endian) and its UTF-8 bytes; the expiry is its decimal milliseconds. The lengths
    keep one field from lending bytes to the next.
    """
    hashed = hashlib.sha256(REQUEST_TAG)
    for value in (action_digest, session, nonce, str(expires_ms)):
        encoded = value.encode("utf-8", "surrogatepass")
        hashed.update(struct.pack(">Q", len(encoded)) + encoded)
    return hashed.hexdigest()
