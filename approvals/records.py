"""The room's records: what the desk appends to the log, and which moves the log leaves half done.

May touch: plain mappings of str, int, bool, None, lists and mappings. A statement too long for a
log line is known by its hash. Desk.recover decides what becomes of a half move.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from approvals.request import Answer, ApprovalError, Level, Pending, Principal, State, Vote
from approvals.statement import statement, visible
from approvals.voters import NAMESPACE

MAX_LOGGED_STATEMENT = 24_000  # a log line holds 65,535 bytes
SHORT = 200
_KINDS = frozenset({"opened", "voted", "resolved", "consumed"})


def move_record(
    kind: str, move: str, pending: Pending, facts: Mapping[str, object]
) -> dict[str, object]:
    """Return the record that announces one move; `move` is its own id."""
    return {
        "event": f"approval.{kind}",
        "move": move,
        "session": visible(pending.question.session, SHORT),
        "approval": {
            "id": pending.id,
            "request_digest": pending.request_digest,
            "action_digest": visible(pending.question.action_digest, SHORT),
            **facts,
        },
    }


def applied_record(
    move: str, request_id: str, state: State | None, decided: Pending | None = None
) -> dict[str, object]:
    """Return the record that confirms one move: the state it led to, or `lost`.

    With what was `decided`, this one record tells a stranger to what and by whom.
    """
    decision = {} if decided is None else _decision(decided)
    return {
        "event": "approval.applied",
        "move": move,
        "approval": {"id": request_id, "state": state.value if state else "lost", **decision},
    }


def _decision(pending: Pending) -> dict[str, object]:
    return {
        "request_digest": pending.request_digest,
        "action_digest": visible(pending.question.action_digest, SHORT),
        "votes": list(map(vote_facts, pending.votes)),
    }


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
    """A recorded move without its `approval.applied`."""

    kind: str
    move: str
    request_id: str
    request_digest: str
    vote: Vote | None = None
    target: State | None = None


def half_moves(records: Iterable[Mapping[str, object]]) -> list[HalfMove]:
    """Return the unconfirmed moves among our records, in the order they were recorded.

    Records of other rooms, and records whose form is not ours, are passed over: nothing can be
    approved by a record that cannot be read.
    """
    found: dict[str, HalfMove] = {}
    for record in records:
        event, move = record.get("event"), record.get("move")
        if not isinstance(event, str) or not isinstance(move, str):
            continue
        if event == "approval.applied":
            found.pop(move, None)
        elif half := _half(event, move, record.get("approval")):
            found[move] = half
    return list(found.values())


def _half(event: str, move: str, facts: object) -> HalfMove | None:
    kind = event.removeprefix("approval.")
    if kind not in _KINDS or not isinstance(facts, Mapping):
        return None
    target = State.CONSUMED if kind == "consumed" else None
    try:
        return HalfMove(
            kind=kind,
            move=move,
            request_id=str(facts["id"]),
            request_digest=str(facts["request_digest"]),
            vote=_vote(facts["answer"], facts["by"], facts) if kind == "voted" else None,
            target=State(facts["state"]) if kind == "resolved" else target,
        )
    except (KeyError, ValueError, TypeError):
        return None


def _vote(answer: object, by: Mapping[str, object], facts: Mapping[str, object]) -> Vote:
    uid, level = by["uid"], by["level"]
    if not isinstance(uid, int) or not isinstance(level, int):
        raise TypeError("uid and level are integers")
    principal = Principal(str(by["channel"]), uid, str(by["name"]), Level(level))
    return Vote(Answer(answer), principal, str(facts.get("reason", "")))
