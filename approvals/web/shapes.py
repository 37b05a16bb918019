"""What crosses the wire: the models of the API, from which its OpenAPI document is written too.

May touch: values. INVARIANT: every text of a request is `visible` ASCII before it is put in here.
"""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from approvals.request import Answer, Pending, State, Vote
from approvals.statement import all_warnings, preview_lines, statement, visible

MAX_SUMMARY = 240
MAX_WORDS = 500
ASKED_TAG = b"permitgate-asked-v1\0"  # no action of a host begins with it
Kind = Literal["added", "removed", "place", "plain"]
_SAYS = ("command", "script", "text-verbatim")
_CHANGES = ("lets-in", "puts-back", "brings-back", "makes", "changes")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Problem(_Shape):
    """A request that was refused; nothing was approved by it."""

    error: str = Field(description="One word for programs.")
    message: str = Field(description="What happened and what to do, for people.")


class Decision(_Shape):
    """An answer to one request, by whoever authenticated."""

    answer: Literal["approve", "approve-for-session", "deny"]
    seen_digest: str = Field(
        max_length=64, description="The `request_digest` of what was shown; another one is refused."
    )
    reason: str = Field(
        default="", max_length=MAX_WORDS, description="Said to the agent and kept in the log."
    )


class Decided(_Shape):
    """The state an answer led to; with a quorum a request may still be pending."""

    id: str
    state: State


class Listed(_Shape):
    """One request in a list; times are milliseconds since 1970, UTC."""

    id: str
    request_digest: str
    state: State
    tool: str
    summary: str = Field(description="The command, the changes or else the first fact, shortened.")
    requester: str
    session: str
    level: int = Field(description="How much an answer must prove: 1 attested to 4 present.")
    level_name: str
    quorum: int
    yes_votes: int
    created_ms: int
    expires_ms: int
    answered_by: str
    reason: str


class Requests(_Shape):
    """The requests in one state of life."""

    now_ms: int = Field(description="The server's clock, to count down by.")
    approvals: tuple[Listed, ...]


class Fact(_Shape):
    """One line of the statement."""

    key: str
    text: str


class Line(_Shape):
    """One line of the preview, and what it is in a diff."""

    kind: Kind
    text: str


class Voted(_Shape):
    """One answer that counted."""

    answer: Answer
    by: str
    level: int
    reason: str


class Shown(Listed):
    """One request whole: what is signed is `statement`, to the letter."""

    statement: str
    facts: tuple[Fact, ...]
    preview: tuple[Line, ...]
    warnings: tuple[str, ...]
    for_session: tuple[str, ...] = Field(
        description="What `approve-for-session` would permit besides; empty: it is not offered."
    )
    votes: tuple[Voted, ...]
    use_by_ms: int | None
    action_digest: str = Field(description="Of an agent's request: of the body that asked for it.")
    proof: str | None = Field(
        description="Of an approved or denied request, for a token: that the decision is in the "
        "log, for permitgate audit verify-proof."
    )


class AskedFact(_Shape):
    """One line of the statement, as the agent says it."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")
    text: str = Field(max_length=200_000)


class Asked(_Shape):
    """What an agent asks people about. Whatever a yes to it is good for happens at the agent's."""

    reference: str = Field(
        min_length=1, max_length=200,
        description="What makes this request another one than any before it: a run and its "
        "attempt, or a digest. The same body again finds the request that it opened.",
    )  # fmt: skip
    agent: str = Field(
        max_length=64, description="The name of the token that asks, so that the digest names it."
    )
    actor: str = Field(max_length=64, description="Who set the agent off: one of the token's.")
    tool: str = Field(min_length=1, max_length=80)
    facts: tuple[AskedFact, ...] = Field(min_length=1, max_length=64)
    preview: str = Field(default="", max_length=200_000)
    warnings: tuple[str, ...] = Field(default=(), max_length=32)
    level: Literal["owner", "separate", "present"] = Field(
        default="separate", description="The least an answer must prove; the token may need more."
    )
    quorum: int = Field(default=1, ge=1, le=10)
    ttl_s: int = Field(default=600, ge=1, le=86_400)
    use_within_s: int = Field(default=120, ge=1, le=86_400)


class Use(_Shape):
    """A yes that is to be used now, once, by the agent that asked for it."""

    action_digest: str = Field(
        max_length=64,
        description="SHA-256 of `permitgate-asked-v1`, a zero byte, and the body that asked, as "
        "hexadecimal digits.",
    )


class Link(_Shape):
    """The secret of a one-time link."""

    token: str = Field(max_length=128)


class Entered(_Shape):
    """What the page keeps of its session; the cookie alone opens nothing."""

    key: str
    ends_ms: int


class Nothing(_Shape):
    """A body without content."""


def asked_digest(body: bytes) -> str:
    """Return the action digest of what the bytes of an `Asked` ask for, 64 lowercase hex digits."""
    return hashlib.sha256(ASKED_TAG + body).hexdigest()


def listed(pending: Pending) -> Listed:
    """Return a request as one row."""
    question = pending.question
    last = pending.votes[-1] if pending.votes else None
    return Listed(
        id=pending.id,
        request_digest=pending.request_digest,
        state=pending.state,
        tool=visible(question.tool, 80),
        summary=visible(_summary(question.facts), MAX_SUMMARY),
        requester=visible(question.requester.identity, MAX_SUMMARY),
        session=visible(question.session, 80),
        level=int(question.need.level),
        level_name=question.need.level.name.lower(),
        quorum=question.need.quorum,
        yes_votes=sum(vote.answer.is_yes for vote in pending.votes),
        created_ms=pending.created_ms,
        expires_ms=pending.expires_ms,
        answered_by=visible(last.by.identity, MAX_SUMMARY) if last else "",
        reason=last.reason if last else "",
    )


def shown(pending: Pending, proof: str | None = None) -> Shown:
    """Return a request whole.

    Raises:
        ApprovalError: its statement cannot be made.
    """
    question = pending.question
    lines = preview_lines(question.preview)
    return Shown(
        **listed(pending).model_dump(),
        statement=statement(pending),
        facts=tuple(Fact(key=key, text=visible(text)) for key, text in question.facts),
        preview=tuple(Line(kind=_kind(line), text=line) for line in lines),
        warnings=all_warnings(pending),
        for_session=tuple(map(visible, question.for_session)),
        votes=tuple(map(_voted, pending.votes)),
        use_by_ms=pending.use_by_ms,
        action_digest=question.action_digest,
        proof=proof,
    )


def _summary(facts: tuple[tuple[str, str], ...]) -> str:
    """Return what a request is for, as the page's card says it first."""
    for keys in (_SAYS, _CHANGES):
        if found := [text for key, text in facts if key in keys]:
            return ", ".join(found)
    return facts[0][1] if facts else ""


def _voted(vote: Vote) -> Voted:
    return Voted(
        answer=vote.answer,
        by=visible(vote.by.identity, MAX_SUMMARY),
        level=int(vote.by.level),
        reason=vote.reason,
    )


def _kind(line: str) -> Kind:
    if line.startswith(("+++ ", "--- ", "@@ ", "diff ")):
        return "place"
    if line.startswith("+"):
        return "added"
    return "removed" if line.startswith("-") else "plain"
