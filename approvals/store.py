"""The store: requests and votes in one database, changed only by compare-and-swap.

May touch: the database. It decides races between threads and processes; the audit log stays the
source of truth. INVARIANT: a state changes only in an UPDATE that names the state it was in, and
`approved` also needs the counted votes, so no caller can skip the quorum.
"""

from collections.abc import Sequence
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

    def refuse_flood(self, session: str, max_pending: int) -> None:
        """Return if `session` may ask once more.

        Raises:
            TooManyPending: it already has `max_pending` pending requests.
        """
        with self._reading() as db:
            _refuse_flood(db, session, max_pending)

    def create(self, pending: Pending, max_pending: int) -> str:
        """Insert a pending request and return its id, or that of the twin that got there first.

        Raises:
            TooManyPending: its session already has `max_pending` of them.
        """
        question = pending.question
        with self._writing() as db:
            twin_id: str | None = db.execute(tables.LIVE_TWIN, _twin_of(question)).scalar()
            if twin_id:
                return twin_id
            _refuse_flood(db, question.session, max_pending)
            db.execute(
                tables.INSERT,
                {
                    "id": pending.id,
                    "state": State.PENDING.value,
                    "session": visible(question.session),
                    "requester": visible(question.requester.identity),
                    "action_digest": question.action_digest,
                    "level": int(question.need.level),
                    "quorum": question.need.quorum,
                    "question": as_text(question),
                    "nonce": pending.nonce,
                    "request_digest": pending.request_digest,
                    "created_ms": pending.created_ms,
                    "expires_ms": pending.expires_ms,
                    "moved_ms": pending.created_ms,
                },
            )
            return pending.id

    def load(self, request_id: str) -> Pending | None:
        """Return one request in any state, or None."""
        of = {"of": visible(request_id)}
        with self._reading() as db:
            row = db.execute(tables.ONE, of).first()
            votes = db.execute(tables.VOTES_OF_ONE, of).all() if row else ()
            return _pending(row, votes) if row else None

    def pending(self) -> list[Pending]:
        """Return every pending request, oldest first."""
        with self._reading() as db:
            rows = db.execute(tables.WAITING).all()
            votes = db.execute(tables.VOTES_OF_WAITING).all()
            return [_pending(row, votes) for row in rows]

    def waiting(self) -> list[str]:
        """Return the id of every pending request, oldest first."""
        with self._reading() as db:
            return list(db.execute(tables.WAITING_IDS).scalars())

    def answered(self, limit: int) -> list[Pending]:
        """Return the requests that moved on from pending, the latest move first."""
        with self._reading() as db:
            rows = db.execute(tables.ANSWERED, {"limit": limit}).all()
            votes = db.execute(tables.VOTES_OF_ANSWERED, {"limit": limit}).all()
            return [_pending(row, votes) for row in rows]

    def edition(self) -> str:
        """Return a text that is another one after every opening, vote and move."""
        with self._reading() as db:
            return "-".join(map(str, db.execute(tables.EDITION).one()))

    def twin(self, question: Question) -> Pending | None:
        """Return the pending or approved request of this session for the same action and need."""
        with self._reading() as db:
            twin_id = db.execute(tables.LIVE_TWIN, _twin_of(question)).scalar()
        return self.load(twin_id) if twin_id else None

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

    def denied_ms(self, question: Question) -> int | None:
        """Return when this action was last denied to this session or requester, or None."""
        of = _twin_of(question)
        with self._reading() as db:
            found: int | None = db.execute(tables.LAST_DENIED, of).scalar_one()
        return found

    def vote(self, request_id: str, vote: Vote, now_ms: int, use_by_ms: int) -> State | None:
        """Count one vote on a pending, unexpired request and settle it; None if it was too late.

        One transaction: a denial beats every approval, and approvals count only at the needed
        level. A vote already counted changes nothing.
        """
        with self._writing() as db:
            of = {"of": request_id, "now_ms": now_ms, "use_by": use_by_ms}
            if not db.execute(tables.ALIVE, of).first():
                return None
            cast = {
                "request": request_id,
                "person": vote.by.person,
                "answer": vote.answer.value,
                "channel": visible(vote.by.channel),
                "uid": vote.by.uid,
                "name": visible(vote.by.name),
                "level": int(vote.by.level),
                "reason": vote.reason,
            }
            db.execute(tables.CAST, cast)
            db.execute(tables.DENY, of)
            db.execute(tables.APPROVE, of)
            return _STATES[db.execute(tables.STATE, of).scalar_one()]

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


def _refuse_flood(db: sa.Connection, session: str, max_pending: int) -> None:
    of = {"of_session": visible(session)}
    if db.execute(tables.WAITING_IN_SESSION, of).scalar_one() >= max_pending:
        raise TooManyPending(
            f"{max_pending} requests of this session already wait for an answer. "
            "Nobody was asked again; wait for one of them, or cancel one."
        )


def _vote(row: sa.Row[tuple[str, ...]]) -> Vote:
    by = Principal(row.channel, row.uid, row.name, Level(row.level))
    return Vote(Answer(row.answer), by, row.reason)


def _pending(row: sa.Row[tuple[str, ...]], votes: Sequence[sa.Row[tuple[str, ...]]]) -> Pending:
    return Pending(
        id=row.id,
        question=question_from(row.question),
        nonce=row.nonce,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        request_digest=row.request_digest,
        state=_STATES[row.state],
        use_by_ms=row.use_by_ms,
        votes=tuple(_vote(vote) for vote in votes if vote.request == row.id),
    )
