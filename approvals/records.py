"""What the moves of a request record, and how a half move is read back.

May touch: plain mappings of str, int, bool, None, lists and mappings. A statement too long for a
log line is known by its hash. Desk.recover decides what becomes of a half move.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from approvals.moves import SHORT, Facts
from approvals.reach import marks
from approvals.request import Answer, ApprovalError, Level, Pending, Principal, State, Vote
from approvals.statement import statement, visible
from approvals.voters import NAMESPACE

MAX_LOGGED_STATEMENT = 24_000  # a log line holds 65,535 bytes
_KINDS = frozenset({"opened", "voted", "resolved", "consumed"})


def request_facts(pending: Pending) -> dict[str, object]:
    """Return what every move of a request records: which request it is."""
    return {
        "id": pending.id,
        "request_digest": pending.request_digest,
        "action_digest": visible(pending.question.action_digest, SHORT),
    }


def decision_facts(pending: Pending) -> dict[str, object]:
    """Return what settles a request: to what and by whom, so that this record alone tells it."""
    return {**request_facts(pending), "votes": list(map(vote_facts, pending.votes))}


def opened_facts(pending: Pending) -> dict[str, object]:
    """Return what an opening records: who asks, what it needs, and the statement in full.

    Raises:
        ApprovalError: the statement cannot be made.
    """
    need, text = pending.question.need, statement(pending)
    return {
        "tool": visible(pending.question.tool, SHORT),
        "requester": visible(pending.question.requester.identity, SHORT),
        "level": int(need.level),
        "quorum": need.quorum,
        **({"roles": [list(roles) for roles in need.roles]} if need.roles else {}),
        "use_within_s": need.use_within_s,
        "expires_ms": pending.expires_ms,
        "nonce": pending.nonce,
        "marks": marks(pending),
        "statement_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "statement": text if len(text) <= MAX_LOGGED_STATEMENT else None,
    }


def vote_facts(vote: Vote) -> dict[str, object]:
    """Return what a vote records: the answer, who gave it through which channel, and why."""
    by = vote.by
    return {
        "answer": vote.answer.value,
        **({"reason": vote.reason} if vote.reason else {}),
        "by": {
            "channel": visible(by.channel),
            "uid": by.uid,
            "name": visible(by.name),
            "level": int(by.level),
        },
    }


def signed_facts(by: Principal, text: str, armored: str, at_ms: int) -> dict[str, object]:
    """Return what a signed vote records besides: all that `ssh-keygen -Y verify` asks for.

    Raises:
        ApprovalError: the statement is too long to be kept whole beside the signature.
    """
    if len(text) > MAX_LOGGED_STATEMENT:
        raise ApprovalError(
            f"the statement has {len(text)} characters and the log keeps {MAX_LOGGED_STATEMENT}, "
            "so nobody could check the signature later. Answer by another channel, or deny it."
        )
    signed = {
        "namespace": NAMESPACE,
        "principal": by.name,
        "at_ms": at_ms,
        "statement": text,
        "signature": armored,
    }
    return {"signed": signed}


def proven_facts(proof: str) -> dict[str, object]:
    """Return what a vote that was given elsewhere records besides: the proof of it, whole.

    Raises:
        ApprovalError: it is too long to be kept.
    """
    if len(proof) > MAX_LOGGED_STATEMENT:
        raise ApprovalError(
            f"the proof of the answer has {len(proof)} characters and the log keeps "
            f"{MAX_LOGGED_STATEMENT}, so nobody could check it later. It does not count."
        )
    return {"proof": proof}


@dataclass(frozen=True, slots=True)
class HalfMove:
    """A recorded move of a request without its `approval.applied`."""

    kind: str
    move: str
    request_id: str
    request_digest: str
    vote: Vote | None = None
    target: State | None = None


def half_move(kind: str, move: str, facts: Facts) -> HalfMove:
    """Return the half move that these facts announced.

    Raises:
        KeyError, TypeError, ValueError: they announce none.
    """
    if kind not in _KINDS:
        raise ValueError(f"requests do not move by {kind}")
    target = State.CONSUMED if kind == "consumed" else None
    return HalfMove(
        kind=kind,
        move=move,
        request_id=str(facts["id"]),
        request_digest=str(facts["request_digest"]),
        vote=_vote(facts["answer"], facts["by"], facts) if kind == "voted" else None,
        target=State(facts["state"]) if kind == "resolved" else target,
    )


def _vote(answer: object, by: object, facts: Facts) -> Vote:
    if not isinstance(by, Mapping):
        raise TypeError("who voted is a mapping")
    uid, level = by["uid"], by["level"]
    if not isinstance(uid, int) or not isinstance(level, int):
        raise TypeError("uid and level are integers")
    principal = Principal(str(by["channel"]), uid, str(by["name"]), Level(level))
    return Vote(Answer(answer), principal, str(facts.get("reason", "")))
