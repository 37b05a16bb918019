"""The desk's law: one yes, of the right person, for the same bytes, used once."""

import pytest

from approvals.desk import Desk
from approvals.request import Answer, Level, Need, NotPending, Principal, Question, State
from approvals.store import Store


def test_a_yes_is_spent_once(tmp_path):
    log = []
    desk = Desk(Store(tmp_path / "state" / "approvals.db"), log.append)
    q = Question(
        "a" * 64,
        "exec",
        (("arg", "ls"),),
        "s1",
        Principal("mcp", 1000, "agent:x", Level.POLICY),
        Need(),
    )
    p = desk.open(q)
    assert (
        desk.vote(
            p.id,
            Answer.APPROVE,
            Principal("terminal", 1000, "owner", Level.OWNER),
            p.request_digest,
        )
        is State.APPROVED
    )
    assert desk.consume(p.id, "a" * 64, "s1").level is Level.OWNER
    with pytest.raises(NotPending):
        desk.consume(p.id, "a" * 64, "s1")
    assert len(log) == 6
