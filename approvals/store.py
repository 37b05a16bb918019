"""The store: requests and votes in one SQLite file, changed only by compare-and-swap.

May touch: its own file. It decides races between threads and processes; the audit log stays the
source of truth. INVARIANT: a state changes only in an UPDATE that names the state it was in, and
`approved` also needs the counted votes, so no caller can skip the quorum.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

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

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10

_META = sa.MetaData()
_REQUEST = sa.Table(
    "request",
    _META,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("session", sa.String, nullable=False),
    sa.Column("requester", sa.String, nullable=False),
    sa.Column("action_digest", sa.String, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("quorum", sa.Integer, nullable=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("nonce", sa.String, nullable=False),
    sa.Column("request_digest", sa.String, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("use_by_ms", sa.BigInteger),
    sa.Column("moved_ms", sa.BigInteger, nullable=False),
    sa.Index("request_by_state", "state"),
    sa.Index(
        "request_live",
        *("session", "requester", "action_digest", "level", "quorum"),
        unique=True,
        sqlite_where=sa.text("state IN ('pending', 'approved')"),
    ),
    sa.Index("request_by_action", "action_digest", "state"),
)
_VOTE = sa.Table(
    "vote",
    _META,
    sa.Column("request", sa.ForeignKey("request.id"), primary_key=True),
    sa.Column("person", sa.String, primary_key=True),
    sa.Column("answer", sa.String, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("uid", sa.BigInteger, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
)
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
            if version not in (0, SCHEMA_VERSION):
                raise ApprovalError(
                    f"{path}: schema version {version} is not {SCHEMA_VERSION}. "
                    "No approval can be given; start the version that wrote it, or move it away."
                )
            _META.create_all(db)
            db.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

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
            if twin := db.execute(_live_twin(question)).scalar():
                return twin
            _refuse_flood(db, question.session, max_pending)
            db.execute(
                _REQUEST.insert().values(
                    id=pending.id,
                    state=State.PENDING.value,
                    session=visible(question.session),
                    requester=visible(question.requester.identity),
                    action_digest=question.action_digest,
                    level=question.need.level,
                    quorum=question.need.quorum,
                    question=json.dumps(asdict(question)),
                    nonce=pending.nonce,
                    request_digest=pending.request_digest,
                    created_ms=pending.created_ms,
                    expires_ms=pending.expires_ms,
                    moved_ms=pending.created_ms,
                )
            )
            return pending.id

    def load(self, request_id: str) -> Pending | None:
        """Return one request in any state, or None."""
        found = self._select(_REQUEST.c.id == visible(request_id))
        return found[0] if found else None

    def pending(self) -> list[Pending]:
        """Return every pending request, oldest first."""
        return self._select(_REQUEST.c.state == State.PENDING.value)

    def twin(self, question: Question) -> Pending | None:
        """Return the pending or approved request of this session for the same action and need."""
        with self._reading() as db:
            twin_id = db.execute(_live_twin(question)).scalar()
        return self.load(twin_id) if twin_id else None

    def due(self, now_ms: int) -> list[tuple[str, State]]:
        """Return (id, state) of pending requests past expiry and approved ones past use-by."""
        pending = (_REQUEST.c.state == State.PENDING.value) & (_REQUEST.c.expires_ms <= now_ms)
        approved = (_REQUEST.c.state == State.APPROVED.value) & (_REQUEST.c.use_by_ms <= now_ms)
        wanted = sa.select(_REQUEST.c.id, _REQUEST.c.state).where(pending | approved)
        with self._reading() as db:
            return [(row.id, _STATES[row.state]) for row in db.execute(wanted)]

    def denied_ms(self, question: Question) -> int | None:
        """Return when this action was last denied to this session or requester, or None."""
        last = sa.select(sa.func.max(_REQUEST.c.moved_ms)).where(
            _REQUEST.c.action_digest == question.action_digest,
            _REQUEST.c.state == State.DENIED.value,
            (_REQUEST.c.session == visible(question.session))
            | (_REQUEST.c.requester == visible(question.requester.identity)),
        )
        with self._reading() as db:
            found: int | None = db.execute(last).scalar_one()
        return found

    def vote(self, request_id: str, vote: Vote, now_ms: int, use_by_ms: int) -> State | None:
        """Count one vote on a pending, unexpired request and settle it; None if it was too late.

        One transaction: a denial beats every approval, and approvals count only at the needed
        level. A vote already counted changes nothing.
        """
        with self._writing() as db:
            alive = _REQUEST.c.id == request_id
            alive &= (_REQUEST.c.state == State.PENDING.value) & (_REQUEST.c.expires_ms > now_ms)
            if not db.execute(sa.select(_REQUEST.c.id).where(alive)).first():
                return None
            db.execute(
                _VOTE.insert()
                .prefix_with("OR IGNORE")
                .values(
                    request=request_id,
                    person=vote.by.person,
                    answer=vote.answer.value,
                    channel=visible(vote.by.channel),
                    uid=vote.by.uid,
                    name=visible(vote.by.name),
                    level=vote.by.level,
                )
            )
            denied = alive & (_votes(Answer.DENY).scalar_subquery() > 0)
            db.execute(_move(denied, State.DENIED, now_ms))
            enough = _votes(Answer.APPROVE).where(_VOTE.c.level >= _REQUEST.c.level)
            approved = alive & (enough.scalar_subquery() >= _REQUEST.c.quorum)
            db.execute(_move(approved, State.APPROVED, now_ms).values(use_by_ms=use_by_ms))
            state = sa.select(_REQUEST.c.state).where(_REQUEST.c.id == request_id)
            return _STATES[db.execute(state).scalar_one()]

    def swap(self, request_id: str, before: State, after: State, now_ms: int) -> bool:
        """Move one request from `before` to `after`; False if another move was first.

        INVARIANT: nothing becomes approved here; only `vote` counts.
        """
        if after is State.APPROVED:
            return False
        where = (_REQUEST.c.id == request_id) & (_REQUEST.c.state == before.value)
        if after is State.CONSUMED:
            where &= _REQUEST.c.use_by_ms > now_ms
        with self._writing() as db:
            return db.execute(_move(where, after, now_ms)).rowcount == 1

    def _select(self, where: sa.ColumnElement[bool]) -> list[Pending]:
        requests = sa.select(_REQUEST).where(where).order_by(_REQUEST.c.created_ms)
        with self._reading() as db:
            rows = db.execute(requests).all()
            ids = [row.id for row in rows]
            votes = db.execute(sa.select(_VOTE).where(_VOTE.c.request.in_(ids))).all()
            return [
                _pending(row, tuple(_vote(vote) for vote in votes if vote.request == row.id))
                for row in rows
            ]

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
    writes = "writes" in db.get_execution_options()
    db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _live_twin(question: Question) -> sa.Select[str]:
    return sa.select(_REQUEST.c.id).where(
        _REQUEST.c.state.in_((State.PENDING.value, State.APPROVED.value)),
        _REQUEST.c.session == visible(question.session),
        _REQUEST.c.requester == visible(question.requester.identity),
        _REQUEST.c.action_digest == question.action_digest,
        _REQUEST.c.level == question.need.level,
        _REQUEST.c.quorum == question.need.quorum,
    )


def _refuse_flood(db: sa.Connection, session: str, max_pending: int) -> None:
    waiting = sa.select(sa.func.count()).where(
        _REQUEST.c.session == visible(session), _REQUEST.c.state == State.PENDING.value
    )
    if db.execute(waiting).scalar_one() >= max_pending:
        raise TooManyPending(
            f"{max_pending} requests of this session already wait for an answer. "
            "Nobody was asked again; wait for one of them, or cancel one."
        )


def _votes(answer: Answer) -> sa.Select[int]:
    return sa.select(sa.func.count()).where(
        _VOTE.c.request == _REQUEST.c.id, _VOTE.c.answer == answer.value
    )


def _move(where: sa.ColumnElement[bool], after: State, now_ms: int) -> sa.Update:
    return _REQUEST.update().where(where).values(state=after.value, moved_ms=now_ms)


def _vote(row: sa.Row[tuple[str, ...]]) -> Vote:
    by = Principal(row.channel, row.uid, row.name, Level(row.level))
    return Vote(Answer(row.answer), by)


def _pending(row: sa.Row[tuple[str, ...]], votes: tuple[Vote, ...]) -> Pending:
    return Pending(
        id=row.id,
        question=_question(row.question),
        nonce=row.nonce,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        request_digest=row.request_digest,
        state=_STATES[row.state],
        use_by_ms=row.use_by_ms,
        votes=votes,
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
    )
