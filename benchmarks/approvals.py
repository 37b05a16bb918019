"""The approval desk: opening, answering and spending one request, against one durable commit.

May touch: a database in a directory of its own, and another beside it for the raw commit. The
journal here keeps nothing; its cost is in audit.py.
"""

import sqlite3
import time
from pathlib import Path

from approvals.desk import Desk
from approvals.request import Answer, Level, Need, Principal, Question
from approvals.store import Store
from benchmarks.measure import Row, ratio

ROUNDS = 300
AGENT = Principal("mcp", 1000, "agent:bench", Level.POLICY)
OWNER = Principal("terminal", 1000, "owner", Level.OWNER)
ROW = b"x" * 1024  # about what a request takes


def rows(base: Path) -> list[Row]:
    """Return what the three moves take, each beside one row that SQLite commits durably."""
    store = Store(base / "state" / "approvals.sqlite")
    desk, raw = Desk(store, lambda record: None), _raw(base / "raw.sqlite")
    samples: dict[str, list[float]] = {"open": [], "vote": [], "consume": []}
    commits = []
    for number in range(ROUNDS):
        question = Question(
            action_digest=f"{number:064x}",
            tool="exec",
            facts=(("command", f"systemctl restart service-{number}"), ("cwd", "/srv")),
            session="s",
            requester=AGENT,
            need=Need(),
        )
        began = time.perf_counter()
        pending = desk.open(question)
        opened = time.perf_counter()
        desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
        voted = time.perf_counter()
        desk.consume(pending.id, question.action_digest, "s")
        spent = time.perf_counter()
        raw.execute("INSERT INTO row VALUES (?)", (ROW,))
        commits.append(time.perf_counter() - spent)
        samples["open"].append(opened - began)
        samples["vote"].append(voted - opened)
        samples["consume"].append(spent - voted)
    raw.close()
    store.close()
    against = "one row, committed durably"
    return [ratio(f"approvals: {move}", found, commits, against) for move, found in samples.items()]


def _raw(path: Path) -> sqlite3.Connection:
    """Return a database as durable as the store's, whose every statement is a transaction."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE row (x);")
    return raw
