"""The store: requests and votes in one database, changed only by compare-and-swap.

May touch: the database. It decides races between threads and processes; the audit log stays the
source of truth. INVARIANT: a state changes only in an UPDATE that names the state it was in, and
`approved` also needs the counted votes, so no caller can skip the quorum.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa

from approvals import tables
from approvals.database import Database
from approvals.question_text import as_text, question_from
from approvals.request import (
    Answer,
    Level,
    Pending,
    Principal,
    Question,
    State,
    TooManyPending,
    Vote,
)
from approvals.statement import visible

_STATES = {state.value: state for state in State}


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in the way of a question: time to close others, a twin, a no, too many."""

    is_due: bool  # something is past its time, so the rest may be too
    twin_id: str | None  # pending or approved, for the same action and need
    denied_ms: int | None  # when this action was last denied to this session or requester
    waiting: int  # pending in this session


class Store:
    """Requests and votes of every server that opens the same path; safe across threads."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, mode 0600 in a 0700 directory.

        Raises:
            ApprovalError: a symlink, an owner or mode that lets others in, or no usable database.
        """
        self.database = Database(path)
        self._reading, self._writing = self.database.reading, self.database.writing

    def close(self) -> None:
        """Close every connection; the file stays complete at any moment without it."""
        self.database.close()

    def standing(self, question: Question, now_ms: int) -> Standing:
        """Return what stands in the way of asking this now."""
        with self._reading() as db:
            found = db.execute(tables.STANDING, {**_twin_of(question), "now_ms": now_ms}).one()
            return Standing(bool(found.is_due), found.twin_id, found.denied_ms, found.waiting)

    def create(self, pending: Pending, max_pending: int) -> str:
        """Insert a pending request and return its id, or that of the twin that got there first.

        Raises:
            TooManyPending: its session already has `max_pending` of them.
        """
        twin, need = _twin_of(pending.question), pending.question.need
        row = {
            "id": pending.id,
            "state": State.PENDING.value,
            "session": twin["of_session"],
            "requester": twin["of_requester"],
            "action_digest": pending.question.action_digest,
            "level": int(need.level),
            "quorum": need.quorum,
            "question": as_text(pending.question),
            "nonce": pending.nonce,
            "request_digest": pending.request_digest,
            "created_ms": pending.created_ms,
            "expires_ms": pending.expires_ms,
            "moved_ms": pending.created_ms,
        }
        with self._writing() as db:
            if db.execute(tables.INSERT, {**row, **twin, "max_pending": max_pending}).rowcount:
                return pending.id
            twin_id: str | None = db.execute(tables.LIVE_TWIN, twin).scalar()
        if twin_id is None:
            raise too_many(max_pending)
        return twin_id

    def load(self, request_id: str) -> Pending | None:
        """Return one request in any state, or None."""
        with self._reading() as db:
            found = _pendings(db.execute(tables.ONE, {"of": visible(request_id)}))
        return found[0] if found else None

    def pending(self) -> list[Pending]:
        """Return every pending request, oldest first."""
        with self._reading() as db:
            return _pendings(db.execute(tables.WAITING))

    def waiting(self) -> list[str]:
        """Return the id of every pending request, oldest first."""
        with self._reading() as db:
            return list(db.execute(tables.WAITING_IDS).scalars())

    def answered(self, limit: int) -> list[Pending]:
        """Return the requests that moved on from pending, the latest move first."""
        with self._reading() as db:
            return _pendings(db.execute(tables.ANSWERED, {"limit": limit}))

    def edition(self) -> str:
        """Return a text that is another one after every opening, vote and move."""
        with self._reading() as db:
            return "-".join(map(str, db.execute(tables.EDITION).one()))

    def last_asked(self, question: Question) -> Pending | None:
        """Return the last request of this session and requester for the same action, if any."""
        with self._reading() as db:
            last_id = db.execute(tables.LAST_ASKED, _twin_of(question)).scalar()
        return self.load(last_id) if last_id else None

    def due(self, now_ms: int) -> list[tuple[str, State]]:
        """Return (id, state) of pending requests past expiry and approved ones past use-by."""
        with self._reading() as db:
            found = db.execute(tables.DUE, {"now_ms": now_ms}).all()
            return [(row.id, _STATES[row.state]) for row in found]

    def vote(self, request_id: str, vote: Vote, now_ms: int, use_by_ms: int) -> State | None:
        """Count one vote on a pending, unexpired request and settle it; None if it was too late.

        One transaction: a denial beats every approval, and approvals count only at the needed
        level. A vote already counted changes nothing.
        """
        of = {"of": request_id, "now_ms": now_ms, "use_by": use_by_ms}
        cast = {
            "vote_request": request_id,
            "vote_person": vote.by.person,
            "vote_answer": vote.answer.value,
            "vote_channel": visible(vote.by.channel),
            "vote_uid": vote.by.uid,
            "vote_name": visible(vote.by.name),
            "vote_level": int(vote.by.level),
            "vote_reason": vote.reason,
        }
        with self._writing() as db:
            db.execute(tables.CAST, {**of, **cast})
            state: str | None = db.execute(tables.SETTLE, of).scalar()
        return _STATES[state] if state is not None else None

    def swap(self, request_id: str, before: State, after: State, now_ms: int) -> bool:
        """Move one request from `before` to `after`; False if another move was first.

        INVARIANT: nothing becomes approved here; only `vote` counts.
        """
        if after is State.APPROVED:
            return False
        spent = after is State.CONSUMED
        of = {"of": request_id, "before": before.value, "after": after.value, "now_ms": now_ms}
        with self._writing() as db:
            return db.execute(tables.SPEND if spent else tables.SWAP, of).rowcount == 1


def _twin_of(question: Question) -> dict[str, str | int]:
    return {
        "of_session": visible(question.session),
        "of_requester": visible(question.requester.identity),
        "of_action": question.action_digest,
        "of_level": int(question.need.level),
        "of_quorum": question.need.quorum,
    }


def too_many(max_pending: int) -> TooManyPending:
    """Return what a session is told that waits for so many answers already."""
    return TooManyPending(
        f"{max_pending} requests of this session already wait for an answer. "
        "Nobody was asked again; wait for one of them, or cancel one."
    )


def _pendings(rows: Iterable[sa.Row[tuple[str, ...]]]) -> list[Pending]:
    """Return requests from rows in order, of which each vote has one."""
    found = []
    for _, of_one in groupby(rows, key=lambda row: row.id):
        first, *more = of_one
        votes = (first, *more) if first.vote_request is not None else ()
        found.append(_pending(first, tuple(map(_vote, votes))))
    return found


def _vote(row: sa.Row[tuple[str, ...]]) -> Vote:
    by = Principal(row.vote_channel, row.vote_uid, row.vote_name, Level(row.vote_level))
    return Vote(Answer(row.vote_answer), by, row.vote_reason)


def _pending(row: sa.Row[tuple[str, ...]], votes: tuple[Vote, ...]) -> Pending:
    return Pending(
        id=row.id,
        question=question_from(row.question),
        nonce=row.nonce,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        request_digest=row.request_digest,
        state=_STATES[row.state],
        use_by_ms=row.use_by_ms,
        votes=votes,
    )
