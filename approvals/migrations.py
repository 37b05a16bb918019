"""The schema of the store, step by step: what each version added, in plain SQL, never changed.

May touch: the connection it is given, inside the transaction that holds it. INVARIANT: a step and
the version it leads to are one transaction, so a crash leaves the old schema or the new one; a
step that was released is never edited, only followed by another. `tables` describes the sum.
"""

import sqlalchemy as sa

from approvals.request import ApprovalError

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE request (
            id VARCHAR NOT NULL PRIMARY KEY, state VARCHAR NOT NULL, session VARCHAR NOT NULL,
            requester VARCHAR NOT NULL, action_digest VARCHAR NOT NULL, level INTEGER NOT NULL,
            quorum INTEGER NOT NULL, question TEXT NOT NULL, nonce VARCHAR NOT NULL,
            request_digest VARCHAR NOT NULL, created_ms BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL, use_by_ms BIGINT, moved_ms BIGINT NOT NULL)""",
        """CREATE TABLE vote (
            request VARCHAR NOT NULL REFERENCES request (id), person VARCHAR NOT NULL,
            answer VARCHAR NOT NULL, channel VARCHAR NOT NULL, uid BIGINT NOT NULL,
            name VARCHAR NOT NULL, level INTEGER NOT NULL,
            PRIMARY KEY (request, person, answer))""",
        "CREATE INDEX request_by_state ON request (state)",
        "CREATE INDEX request_by_action ON request (action_digest, state)",
        """CREATE UNIQUE INDEX request_live ON request
            (session, requester, action_digest, level, quorum)
            WHERE state IN ('pending', 'approved')""",
    ),
    (
        """CREATE TABLE grants (
            id VARCHAR NOT NULL PRIMARY KEY,
            request VARCHAR NOT NULL UNIQUE REFERENCES request (id),
            session VARCHAR NOT NULL, requester VARCHAR NOT NULL, scope VARCHAR NOT NULL,
            level INTEGER NOT NULL, uses BIGINT, uses_left BIGINT, made_ms BIGINT NOT NULL,
            until_ms BIGINT NOT NULL, revoked_ms BIGINT, terms TEXT NOT NULL)""",
        """CREATE TABLE grant_use (
            move VARCHAR NOT NULL PRIMARY KEY,
            of VARCHAR NOT NULL REFERENCES grants (id),
            action_digest VARCHAR NOT NULL, used_ms BIGINT NOT NULL)""",
        "CREATE INDEX grants_by_session ON grants (session, requester)",
        "CREATE INDEX request_by_session ON request (session, created_ms)",
        "ALTER TABLE vote ADD COLUMN reason VARCHAR NOT NULL DEFAULT ''",
    ),
)


def step_further(db: sa.Connection, source: str, steps: tuple[tuple[str, ...], ...]) -> bool:
    """Take one step towards the newest schema; return False where none is left.

    `source` is the name that an error begins with.

    Raises:
        ApprovalError: a newer version wrote this file.
    """
    version: int = db.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > len(steps):
        raise ApprovalError(
            f"{source}: schema version {version} is newer than {len(steps)}, the newest known. "
            "No approval can be given; start the version that wrote it, or move the file away."
        )
    if version == len(steps):
        return False
    for statement in steps[version]:
        db.exec_driver_sql(statement)
    db.exec_driver_sql(f"PRAGMA user_version = {version + 1}")
    return True
