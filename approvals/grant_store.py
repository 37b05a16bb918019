"""Grants in the database: made once per request, used up by compare-and-swap.

May touch: the database. INVARIANT: a use is noted under the move that announced it, in the same
transaction that takes it from what is left, so no move takes two and no two moves take one.
"""

import json

import sqlalchemy as sa

from approvals import grant_tables as tables
from approvals.database import Database
from approvals.scope import Grant, Scope
from approvals.statement import visible


class GrantStore:
    """The grants of every server that opens the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, grant: Grant) -> bool:
        """Keep a new grant; False where its request has made one already."""
        row = {
            "id": grant.id,
            "request": grant.request,
            "session": visible(grant.session),
            "requester": visible(grant.requester),
            "scope": grant.scope.value,
            "level": grant.level,
            "uses": grant.uses,
            "uses_left": grant.uses_left,
            "made_ms": grant.made_ms,
            "until_ms": grant.until_ms,
            "terms": json.dumps(
                {
                    "keys": grant.keys,
                    "asked": grant.asked,
                    "covers": grant.covers,
                    "by": grant.by,
                    "request_digest": grant.request_digest,
                }
            ),
        }
        with self._database.writing() as db:
            return db.execute(tables.INSERT, row).rowcount == 1

    def load(self, grant_id: str) -> Grant | None:
        """Return one grant in any state, or None."""
        with self._database.reading() as db:
            row = db.execute(tables.ONE, {"of_id": visible(grant_id)}).first()
            return _grant(row) if row else None

    def live(self, now_ms: int) -> list[Grant]:
        """Return every grant that could still be used, oldest first."""
        with self._database.reading() as db:
            return [_grant(row) for row in db.execute(tables.LIVE, {"now_ms": now_ms})]

    def live_of(self, session: str, now_ms: int) -> list[Grant]:
        """Return those of one session."""
        of = {"of_session": visible(session), "now_ms": now_ms}
        with self._database.reading() as db:
            return [_grant(row) for row in db.execute(tables.LIVE_OF_SESSION, of)]

    def take(self, grant_id: str, move: str, action_digest: str, now_ms: int) -> bool:
        """Take one use under the name of a move; False where none is left, or time is up."""
        return self._use(tables.TAKE, grant_id, move, action_digest, now_ms)

    def burn(self, grant_id: str, move: str, action_digest: str, now_ms: int) -> None:
        """Take the use of a move that was announced, if it was not taken; time does not matter."""
        self._use(tables.BURN, grant_id, move, action_digest, now_ms)

    def revoke(self, grant_id: str, now_ms: int) -> bool:
        """End a grant; False where it has been revoked already."""
        with self._database.writing() as db:
            of = {"of_id": grant_id, "now_ms": now_ms}
            return db.execute(tables.REVOKE, of).rowcount == 1

    def _use(
        self, less: sa.Update, grant_id: str, move: str, action_digest: str, now_ms: int
    ) -> bool:
        note = {"move": move, "of": grant_id, "action_digest": action_digest, "used_ms": now_ms}
        with self._database.writing() as db:
            if db.execute(tables.NOTED, {"of_move": move}).first():
                return False
            if db.execute(less, {"of_id": grant_id, "now_ms": now_ms}).rowcount == 0:
                return False
            db.execute(tables.NOTE_USE, note)
            return True


def _grant(row: sa.Row[tuple[str, ...]]) -> Grant:
    terms = json.loads(row.terms)
    return Grant(
        id=row.id,
        request=row.request,
        request_digest=terms["request_digest"],
        session=row.session,
        requester=row.requester,
        scope=Scope(row.scope),
        keys=tuple(terms["keys"]),
        asked=tuple(terms["asked"]),
        covers=tuple(terms["covers"]),
        level=row.level,
        by=tuple(terms["by"]),
        uses=row.uses,
        uses_left=row.uses_left,
        made_ms=row.made_ms,
        until_ms=row.until_ms,
        revoked_ms=row.revoked_ms,
    )
