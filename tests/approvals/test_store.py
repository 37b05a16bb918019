"""The database decides every race, and refuses to guess."""

import sqlite3
from dataclasses import replace

import pytest

from approvals.desk import Desk
from approvals.request import Answer, ApprovalError, Level, Need, State, TooManyPending, Vote
from approvals.store import Store
from tests.approvals.conftest import ACTION, OWNER, ROOT, Log, question


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"x" * 4096)
    path.chmod(0o600)
    with pytest.raises(ApprovalError, match="the approvals database failed"):
        Store(path)
    assert path.read_bytes() == b"x" * 4096


def test_a_damaged_row_approves_nothing(path, desk):
    pending = desk.open(question())
    with sqlite3.connect(path) as db:
        db.execute("UPDATE request SET question = '{}'")
    db.close()
    with pytest.raises(ApprovalError, match="the approvals database failed"):
        desk.get(pending.id)


@pytest.mark.threat("T07")
def test_no_swap_approves(store, clock):
    pending = Desk(store, Log(), clock=clock).open(question())
    assert not store.swap(pending.id, State.PENDING, State.APPROVED, 0)
    assert store.load(pending.id).state is State.PENDING


@pytest.mark.threat("T07")
def test_the_database_itself_counts_only_votes_of_the_needed_level(store, clock):
    pending = Desk(store, Log(), clock=clock).open(question(Need(Level.SEPARATE)))
    now_ms = pending.created_ms
    weak, strong = Vote(Answer.APPROVE, OWNER), Vote(Answer.APPROVE, ROOT)
    assert store.vote(pending.id, weak, now_ms, now_ms + 1) is State.PENDING
    assert store.vote(pending.id, strong, now_ms, now_ms + 1) is State.APPROVED


@pytest.mark.threat("T18")
def test_the_database_itself_opens_no_more_than_a_session_may_have(store, clock):
    pending = Desk(store, Log(), clock=clock).open(question())
    twin = replace(pending, id="ap_2")
    assert store.create(twin, 9) == store.create(twin, 1) == pending.id
    other = replace(twin, question=question(action_digest="b" * 64))
    with pytest.raises(TooManyPending, match="1 requests of this session already wait"):
        store.create(other, 1)
    assert store.create(other, 2) == "ap_2"


@pytest.mark.threat("T08")
def test_the_database_itself_refuses_what_is_late(store, clock):
    pending = Desk(store, Log(), clock=clock).open(question())
    yes = Vote(Answer.APPROVE, OWNER)
    assert store.vote(pending.id, yes, pending.expires_ms, pending.expires_ms + 1) is None
    use_by_ms = pending.expires_ms + 5
    assert store.vote(pending.id, yes, pending.created_ms, use_by_ms) is State.APPROVED
    assert not store.swap(pending.id, State.APPROVED, State.CONSUMED, use_by_ms)
    assert store.swap(pending.id, State.APPROVED, State.CONSUMED, use_by_ms - 1)


@pytest.mark.threat("T06")
def test_a_row_whose_digest_was_rewritten_is_a_mismatch(path, desk):
    pending = desk.open(question())
    with sqlite3.connect(path) as db:
        db.execute("UPDATE request SET state = 'approved', use_by_ms = 9e15, nonce = 'x'")
    db.close()
    with pytest.raises(ApprovalError, match="approval_mismatch"):
        desk.consume(pending.id, ACTION, "s1")


def test_the_database_is_durable_at_every_commit(store):
    with store._reading() as db:
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
