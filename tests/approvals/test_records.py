"""Only a record that can be read whole is a half move."""

import pytest

from approvals.moves import Moves
from approvals.records import half_move
from approvals.request import Answer, Level, State

half_moves = Moves("approval", lambda record: None, half_move).half
BY = {"channel": "terminal", "uid": 1000, "name": "owner", "level": 2}
VOTE = {"id": "ap_1", "request_digest": "d", "answer": "approve", "by": BY}


def record(kind="voted", **changes):
    return {"event": f"approval.{kind}", "move": "m1", "approval": {**VOTE, **changes}}


def test_a_move_without_its_confirmation_is_half():
    (half,) = half_moves([record()])
    assert (half.kind, half.request_id, half.request_digest) == ("voted", "ap_1", "d")
    assert half.vote is not None
    assert half.vote.answer is Answer.APPROVE
    assert half.vote.by.level is Level.OWNER


def test_a_confirmed_move_is_not_half():
    assert half_moves([record(), {"event": "approval.applied", "move": "m1"}]) == []


def test_a_resolution_knows_where_it_was_going():
    (half,) = half_moves([record("resolved", state="cancelled")])
    assert half.target is State.CANCELLED


@pytest.mark.threat("T07")
@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"event": "approval.voted"},
        {"event": 1, "move": "m"},
        {"event": "exec.intent", "move": "m", "approval": VOTE},
        {"event": "approval.voted", "move": "m", "approval": None},
        {"event": "approval.voted", "move": "m", "approval": {}},
        record(answer="yes"),
        record(answer=None),
        record(by=None),
        record(by={}),
        record(by={**BY, "uid": "1000"}),
        record(by={**BY, "level": "4"}),
        record(by={**BY, "level": 9}),
        record("resolved", state="open"),
        record("resolved"),
        record("read"),
    ],
    ids=range(16),
)
def test_what_cannot_be_read_moves_nothing(odd):
    assert half_moves([odd]) == []
