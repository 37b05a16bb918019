"""The tables of the store, and every statement it runs, built once.

May touch: nothing; `store` executes. INVARIANT: each UPDATE names the state it starts from, and
the one that approves counts the votes itself, so no caller can skip the quorum.
"""

import sqlalchemy as sa

from approvals.request import Answer, State

_PENDING, _APPROVED = State.PENDING.value, State.APPROVED.value

META = sa.MetaData()
REQUEST = sa.Table(
    "request",
    META,
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
    sa.Index("request_by_session", "session", "created_ms"),
)
VOTE = sa.Table(
    "vote",
    META,
    sa.Column("request", sa.ForeignKey("request.id"), primary_key=True),
    sa.Column("person", sa.String, primary_key=True),
    sa.Column("answer", sa.String, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("uid", sa.BigInteger, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False, server_default=""),
)
_id = sa.bindparam("of", type_=sa.String)
_now_ms = sa.bindparam("now_ms", type_=sa.BigInteger)
_alive = (REQUEST.c.id == _id) & (REQUEST.c.state == _PENDING) & (REQUEST.c.expires_ms > _now_ms)
_of_session = REQUEST.c.session == sa.bindparam("of_session")
_of_requester = REQUEST.c.requester == sa.bindparam("of_requester")
_of_action = REQUEST.c.action_digest == sa.bindparam("of_action")
_said = sa.select(sa.func.count()).where(VOTE.c.request == REQUEST.c.id).correlate(REQUEST)
_denials = _said.where(VOTE.c.answer == Answer.DENY.value)
_yes = tuple(answer.value for answer in Answer if answer.is_yes)
_approvals = _said.where(VOTE.c.answer.in_(_yes), VOTE.c.level >= REQUEST.c.level)
_swapped = (
    REQUEST.update()
    .where(REQUEST.c.id == _id, REQUEST.c.state == sa.bindparam("before"))
    .values(state=sa.bindparam("after"), moved_ms=_now_ms)
)

_waiting = sa.select(sa.func.count()).where(_of_session, REQUEST.c.state == _PENDING)
_due = ((REQUEST.c.state == _PENDING) & (REQUEST.c.expires_ms <= _now_ms)) | (
    (REQUEST.c.state == _APPROVED) & (REQUEST.c.use_by_ms <= _now_ms)
)
_with_votes = sa.select(REQUEST, *(column.label(f"vote_{column.name}") for column in VOTE.c))
_with_votes = _with_votes.select_from(REQUEST.outerjoin(VOTE))

OPENED = tuple(column.name for column in REQUEST.c if column.name != "use_by_ms")
VOTED = tuple(column.name for column in VOTE.c)
INSERT = (
    REQUEST.insert()
    .prefix_with("OR IGNORE")
    .from_select(
        OPENED,
        sa.select(*(sa.bindparam(name, type_=REQUEST.c[name].type) for name in OPENED)).where(
            _waiting.scalar_subquery() < sa.bindparam("max_pending")
        ),
    )
)
ONE = _with_votes.where(REQUEST.c.id == _id)
_waits = REQUEST.c.state == _PENDING
_by_age: sa.ColumnElement[object] = sa.literal_column("request.created_ms, request.rowid")
WAITING = _with_votes.where(_waits).order_by(_by_age)
WAITING_IDS = sa.select(REQUEST.c.id).where(_waits).order_by(_by_age)
_latest = sa.select(REQUEST.c.id).where(REQUEST.c.state != _PENDING)
_latest = _latest.order_by(REQUEST.c.moved_ms.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
ANSWERED = _with_votes.where(REQUEST.c.id.in_(_latest)).order_by(
    REQUEST.c.moved_ms.desc(), REQUEST.c.id
)
EDITION = sa.select(
    sa.func.count(),
    sa.func.max(REQUEST.c.moved_ms),
    sa.select(sa.func.count()).select_from(VOTE).scalar_subquery(),
).select_from(REQUEST)
LIVE_TWIN = sa.select(REQUEST.c.id).where(
    REQUEST.c.state.in_((_PENDING, _APPROVED)),
    _of_session,
    _of_requester,
    _of_action,
    REQUEST.c.level == sa.bindparam("of_level"),
    REQUEST.c.quorum == sa.bindparam("of_quorum"),
)
LAST_ASKED = sa.select(REQUEST.c.id).where(_of_session, _of_requester, _of_action)
LAST_ASKED = LAST_ASKED.order_by(REQUEST.c.created_ms.desc()).limit(1)
_denied = sa.select(sa.func.max(REQUEST.c.moved_ms)).where(
    _of_action, REQUEST.c.state == State.DENIED.value, _of_session | _of_requester
)
STANDING = sa.select(
    sa.exists().where(_due).label("is_due"),
    LIVE_TWIN.scalar_subquery().label("twin_id"),
    _denied.scalar_subquery().label("denied_ms"),
    _waiting.scalar_subquery().label("waiting"),
)
DUE = sa.select(REQUEST.c.id, REQUEST.c.state).where(_due)
CAST = (
    VOTE.insert()
    .prefix_with("OR IGNORE")
    .from_select(
        VOTED,
        sa.select(*(sa.bindparam(f"vote_{name}", type_=VOTE.c[name].type) for name in VOTED)).where(
            sa.exists().where(_alive)
        ),
    )
)
_is_denied = _denials.scalar_subquery() > 0
_is_approved = _approvals.scalar_subquery() >= REQUEST.c.quorum
SETTLE = (
    REQUEST.update()
    .where(_alive)
    .values(
        state=sa.case((_is_denied, State.DENIED.value), (_is_approved, _APPROVED), else_=_PENDING),
        moved_ms=_now_ms,
        use_by_ms=sa.case((_is_approved, sa.bindparam("use_by", type_=sa.BigInteger))),
    )
    .returning(REQUEST.c.state)
)
SWAP = _swapped
SPEND = _swapped.where(REQUEST.c.use_by_ms > _now_ms)
