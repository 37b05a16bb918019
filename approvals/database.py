"""The file behind the store: opened privately, brought to the newest schema, read and written.

May touch: its own file. INVARIANT: a write holds the write lock from its beginning, so what it
reads still holds when it is written, in any process.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from approvals.migrations import STEPS, step_further
from approvals.private import private_directory, private_file
from approvals.request import ApprovalError

BUSY_TIMEOUT_S = 10


class Database:
    """One SQLite file of any number of threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, mode 0600 in a 0700 directory.

        Raises:
            ApprovalError: a symlink, an owner or mode that lets others in, a newer schema, or no
                usable database.
        """
        self._path = path
        private_directory(path.parent)
        private_file(path)
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None}
        )
        sa.event.listen(self._engine, "connect", _durable)
        is_behind = True
        while is_behind:
            with self.writing() as db:
                is_behind = step_further(db, str(path), STEPS)

    def close(self) -> None:
        """Close every connection; the file stays complete at any moment without it."""
        self._engine.dispose()

    # A read takes no transaction: votes only grow, and only while their request is pending.
    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection to look with."""
        with self._explained(), self._engine.begin() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection whose changes are durable at the end, all or none."""
        with self._explained(), self._engine.begin() as db:
            # Not by a listener: SQLAlchemy asks for all kinds of them at each statement then.
            db.connection.cursor().execute("BEGIN IMMEDIATE")
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
