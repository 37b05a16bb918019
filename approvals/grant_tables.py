"""The tables of grants, and every statement about them, built once.

May touch: nothing; `grant_store` executes. INVARIANT: the UPDATE that takes a use names all that
must still hold, so of any number of takers no more succeed than there are uses.
"""

import sqlalchemy as sa

from approvals.tables import META

GRANTS = sa.Table(
    "grants",
    META,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("request", sa.ForeignKey("request.id"), nullable=False, unique=True),
    sa.Column("session", sa.String, nullable=False),
    sa.Column("requester", sa.String, nullable=False),
    sa.Column("scope", sa.String, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("uses", sa.BigInteger),
    sa.Column("uses_left", sa.BigInteger),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("terms", sa.Text, nullable=False),
    sa.Index("grants_by_session", "session", "requester"),
)
USE = sa.Table(
    "grant_use",
    META,
    sa.Column("move", sa.String, primary_key=True),
    sa.Column("of", sa.ForeignKey("grants.id"), nullable=False),
    sa.Column("action_digest", sa.String, nullable=False),
    sa.Column("used_ms", sa.BigInteger, nullable=False),
)

_id = sa.bindparam("of_id", type_=sa.String)
_now_ms = sa.bindparam("now_ms", type_=sa.BigInteger)
_has_uses = GRANTS.c.uses_left.is_(None) | (GRANTS.c.uses_left > 0)
_live = GRANTS.c.revoked_ms.is_(None) & (GRANTS.c.until_ms > _now_ms) & _has_uses
_one_less = GRANTS.update().values(uses_left=GRANTS.c.uses_left - 1)  # NULL stays NULL

INSERT = GRANTS.insert().prefix_with("OR IGNORE")
ONE = sa.select(GRANTS).where(GRANTS.c.id == _id)
LIVE = sa.select(GRANTS).where(_live).order_by(GRANTS.c.made_ms, GRANTS.c.id)
LIVE_OF_SESSION = LIVE.where(GRANTS.c.session == sa.bindparam("of_session"))
TAKE = _one_less.where(GRANTS.c.id == _id, _live)
BURN = _one_less.where(GRANTS.c.id == _id, _has_uses)
NOTED = sa.select(USE.c.move).where(USE.c.move == sa.bindparam("of_move", type_=sa.String))
NOTE_USE = USE.insert()
REVOKE = (
    GRANTS.update()
    .where(GRANTS.c.id == _id, GRANTS.c.revoked_ms.is_(None))
    .values(revoked_ms=_now_ms)
)
