"""The approval desk: opening, answering and spending one request, by the clock.

May touch: a database in a directory of its own. The journal here keeps nothing; its cost is in
audit.py.
"""

import time
from pathlib import Path

from approvals.desk import Desk
from approvals.request import Answer, Level, Need, Principal, Question
from approvals.store import Store
from benchmarks.measure import Row, absolute

ROUNDS = 200
AGENT = Principal("mcp", 1000, "agent:bench", Level.POLICY)
OWNER = Principal("terminal", 1000, "owner", Level.OWNER)


def rows(base: Path) -> list[Row]:
    """Return the times of the three moves."""
    store = Store(base / "state" / "approvals.sqlite")
    desk = Desk(store, lambda record: None)
    samples: dict[str, list[float]] = {"open": [], "vote": [], "consume": []}
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
        samples["open"].append(opened - began)
        samples["vote"].append(voted - opened)
        samples["consume"].append(spent - voted)
    store.close()
    return [absolute(f"approvals: {move}", found) for move, found in samples.items()]
