"""The store: requests and votes in one SQLite file, changed only by compare-and-swap.

May touch: its own file. It decides races between threads and processes; the audit log stays the
source of truth. INVARIANT: a state changes only in an UPDATE that names the state it was in, and
`approved` also needs the counted votes, so no caller can skip the quorum.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from approvals import tables
from approvals.private import private_directory, private_file
from approvals.request import (
    Answer,
    ApprovalError,
    Level,
    Need,
    Pending,
    Principal,
    Question,
    State,
    TooManyPending,
    Vote,
)
from approvals.statement import visible

BUSY_TIMEOUT_S = 10

_STATES = {state.value: state for state in State}


class Store:
    """Requests and votes of every server that opens the same path; safe across threads."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, mode 0600 in a 0700 directory.

        Raises:
            ApprovalError: a symlink, an owner or mode that lets others in, or no usable database.
        """
        self._path = path
        private_directory(path.parent)
        private_file(path)
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None}
        )
        self._writer = self._engine.execution_options(writes=True)
        sa.event.listen(self._engine, "connect", _durable)
        sa.event.listen(self._engine, "begin", _begin)
        with self._writing() as db:
            version = db.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version not in (0, tables.SCHEMA_VERSION):
                raise ApprovalError(
                    f"{path}: schema version {version} is not {tables.SCHEMA_VERSION}. "
                    "No approval can be given; start the version that wrote it, or move it away."
                )
            tables.META.create_all(db)
            db.exec_driver_sql(f"PRAGMA user_version = {tables.SCHEMA_VERSION}")

    def close(self) -> None:
        """Close every connection; the file stays complete at any moment without it."""
        self._engine.dispose()

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
                    "question": json.dumps(asdict(question)),
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
            }
            db.execute(tables.CAST, cast)
            if vote.reason:
                said = {key: cast[key] for key in ("request", "person", "answer")}
                db.execute(tables.SAY, {**said, "words": vote.reason})
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

    # A read takes no transaction: votes only grow, and only while their request is pending.
    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._explained(), self._engine.begin() as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        # The write lock is taken at BEGIN, so what is read here still holds when it is written.
        with self._explained(), self._writer.begin() as db:
            yield db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, ValueError, KeyError, TypeError) as error:
            raise ApprovalError(
                f"{self._path}: the approvals database failed: {error}. "
                "Nothing was approved; check the disk, or move the file away to start afresh."
            ) from error


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(db: sa.Connection) -> None:
    if "writes" in db.get_execution_options():
        db.exec_driver_sql("BEGIN IMMEDIATE")


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
    return Vote(Answer(row.answer), by, row.words or "")


def _pending(row: sa.Row[tuple[str, ...]], votes: Sequence[sa.Row[tuple[str, ...]]]) -> Pending:
    return Pending(
        id=row.id,
        question=_question(row.question),
        nonce=row.nonce,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        request_digest=row.request_digest,
        state=_STATES[row.state],
        use_by_ms=row.use_by_ms,
        votes=tuple(_vote(vote) for vote in votes if vote.request == row.id),
    )


def _question(text: str) -> Question:
    raw = json.loads(text)
    # Rebuilt by hand: a lone surrogate in an argument must survive, and validators refuse it.
    return Question(
        action_digest=raw["action_digest"],
        tool=raw["tool"],
        facts=tuple((key, value) for key, value in raw["facts"]),
        session=raw["session"],
        requester=Principal(**{**raw["requester"], "level": Level(raw["requester"]["level"])}),
        need=Need(**{**raw["need"], "level": Level(raw["need"]["level"])}),
        preview=raw["preview"],
        warnings=tuple(raw["warnings"]),
        for_session=tuple(raw.get("for_session", ())),
    )
