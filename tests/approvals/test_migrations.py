"""A store of any earlier version is opened with all that is in it; a newer one is left alone."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from approvals import database, grant_tables, tables
from approvals.desk import Desk
from approvals.migrations import STEPS
from approvals.request import ApprovalError
from approvals.store import Store
from tests.approvals.conftest import ACTION, Log

HOUSE = Path(__file__).parents[2]
VERSION_1 = Path(__file__).with_name("version_1.sql")  # as that version wrote it
OPENING = """
import sys
from pathlib import Path
from approvals.store import Store

Store(Path(sys.argv[1]))
"""
DYING = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from approvals.store import Store

@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith("PRAGMA user_version ="):
        os.kill(os.getpid(), signal.SIGKILL)

Store(Path(sys.argv[1]))
"""


def version_of(path: Path) -> int:
    db = sqlite3.connect(path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return version


@pytest.fixture
def old(path):
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.executescript(VERSION_1.read_text())
    db.close()
    path.chmod(0o600)
    return path


def assert_nothing_is_lost(path: Path, clock) -> None:
    store = Store(path)
    desk = Desk(store, Log(), clock=clock)
    (waiting,) = desk.pending()
    assert waiting.id == "ap_bbbbbbbbbbbbbbbb"
    assert desk.consume("ap_aaaaaaaaaaaaaaaa", ACTION, "s1").by == ("owner@1000 via terminal",)
    store.close()
    assert version_of(path) == len(STEPS)


def test_requests_and_votes_of_version_1_are_found_after_the_migration(old, clock):
    assert_nothing_is_lost(old, clock)


def test_a_migration_that_was_killed_leaves_the_old_schema_and_is_done_again(old, clock):
    dying = subprocess.run(
        [sys.executable, "-c", DYING, str(old)], cwd=HOUSE, check=False, timeout=30
    )
    assert dying.returncode == -9
    assert version_of(old) == 1
    assert_nothing_is_lost(old, clock)


def test_a_migration_that_fails_half_way_leaves_the_old_schema(old, clock, monkeypatch):
    steps = (*STEPS, ("CREATE TABLE half (a)", "CREATE NOTHING"))
    monkeypatch.setattr(database, "STEPS", steps)
    with pytest.raises(ApprovalError, match="the approvals database failed"):
        Store(old)
    monkeypatch.undo()
    assert_nothing_is_lost(old, clock)


def test_a_database_of_a_newer_version_is_refused(path):
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(ApprovalError, match=f"{path}: schema version 9 is newer than 2"):
        Store(path)
    assert version_of(path) == 9


def test_the_steps_lead_to_the_tables_that_are_used(path):
    assert grant_tables.META is tables.META
    Store(path).close()
    made = sa.create_engine(f"sqlite:///{path}")
    wanted = sa.create_engine("sqlite://")
    tables.META.create_all(wanted)
    assert _schema(made) == _schema(wanted)
    made.dispose()
    wanted.dispose()


def _schema(engine: sa.Engine) -> dict[str, object]:
    seen = sa.inspect(engine)

    def listed(kind: str, table: str, *keys: str) -> list[tuple[str, ...]]:
        found = getattr(seen, f"get_{kind}")(table)
        return sorted(tuple(str(one[key]) for key in keys) for one in found)

    return {
        name: (
            listed("columns", name, "name", "type", "nullable"),
            seen.get_pk_constraint(name)["constrained_columns"],
            listed("foreign_keys", name, "constrained_columns", "referred_table"),
            listed("indexes", name, "name", "column_names", "unique"),
            listed("unique_constraints", name, "column_names"),
        )
        for name in seen.get_table_names()
    }


def test_two_processes_that_open_an_old_store_at_once_both_find_it_new(old, clock):
    both = [
        subprocess.Popen([sys.executable, "-c", OPENING, str(old)], cwd=HOUSE) for _ in range(2)
    ]
    assert [one.wait(timeout=30) for one in both] == [0, 0]
    assert_nothing_is_lost(old, clock)
