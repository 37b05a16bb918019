"""The desk's law: one yes, of the right person, for the same bytes, in time, used once."""

import json
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from approvals.desk import MAX_PENDING, MOVES, Desk
from approvals.request import (
    Answer,
    ApprovalError,
    CoolingDown,
    Level,
    Mismatch,
    Need,
    NotPending,
    Principal,
    State,
    TooManyPending,
)
from approvals.store import Store
from tests.approvals.conftest import (
    ACTION,
    AGENT,
    ALICE,
    BOB,
    CLIENT,
    OWNER,
    ROOT,
    Log,
    question,
)

YES, NO = Answer.APPROVE, Answer.DENY
AGENT_SAYS = {"channel": "mcp", "uid": 1000, "name": "agent:codex", "level": 4}


def approved(desk, need=None, by=OWNER):
    pending = desk.open(question(need))
    assert desk.vote(pending.id, YES, by, pending.request_digest) is State.APPROVED
    return pending


@pytest.mark.threat("T12")
def test_a_yes_for_a_session_counts_only_where_the_question_offers_one(desk):
    pending = desk.open(question())
    with pytest.raises(ApprovalError, match="nothing of it can be permitted for a session"):
        desk.vote(pending.id, Answer.APPROVE_FOR_SESSION, OWNER, pending.request_digest)
    offered = replace(question(session="s2"), for_session=("connects-to a.test:443",))
    pending = desk.open(offered)
    desk.vote(pending.id, Answer.APPROVE_FOR_SESSION, OWNER, pending.request_digest)
    assert desk.consume(pending.id, ACTION, "s2").for_session


# What the answer was → the state, and whether anything may run.


def test_a_yes_is_spent_once_and_says_who_gave_it(desk, log):
    pending = approved(desk)
    approval = desk.consume(pending.id, ACTION, "s1")
    assert approval.id == pending.id
    assert approval.level is Level.OWNER
    assert approval.by == ("owner@1000 via terminal",)
    assert approval.request_digest == pending.request_digest
    assert log.events() == ["opened", "applied", "voted", "applied", "consumed", "applied"]


@pytest.mark.threat("T07")
def test_a_replayed_use_finds_nothing_left(desk):
    pending = approved(desk)
    desk.consume(pending.id, ACTION, "s1")
    with pytest.raises(NotPending, match="consumed, not approved"):
        desk.consume(pending.id, ACTION, "s1")


@pytest.mark.threat("T07")
def test_a_replayed_yes_finds_the_request_answered(desk):
    pending = approved(desk)
    with pytest.raises(NotPending):
        desk.vote(pending.id, YES, OWNER, pending.request_digest)
    desk.consume(pending.id, ACTION, "s1")
    with pytest.raises(NotPending):
        desk.vote(pending.id, YES, ROOT, pending.request_digest)


@pytest.mark.threat("T08")
def test_a_no_ends_it_and_even_the_weakest_channel_may_say_it(desk):
    pending = desk.open(question(Need(Level.SEPARATE)))
    assert desk.vote(pending.id, NO, CLIENT, pending.request_digest) is State.DENIED
    with pytest.raises(NotPending):
        desk.vote(pending.id, YES, ROOT, pending.request_digest)
    with pytest.raises(NotPending):
        desk.consume(pending.id, ACTION, "s1")


def test_a_no_beats_a_yes_given_before_it(desk):
    pending = desk.open(question(Need(Level.SEPARATE, quorum=2)))
    assert desk.vote(pending.id, YES, ALICE, pending.request_digest) is State.PENDING
    assert desk.vote(pending.id, NO, ALICE, pending.request_digest) is State.DENIED


@pytest.mark.threat("T08")
def test_silence_is_a_no(desk, clock):
    pending = desk.open(question(Need(ttl_s=60)))
    clock.now_s += 60
    with pytest.raises(NotPending):
        desk.vote(pending.id, YES, OWNER, pending.request_digest)
    assert desk.get(pending.id).state is State.EXPIRED
    with pytest.raises(NotPending):
        desk.consume(pending.id, ACTION, "s1")


def test_a_yes_that_is_not_used_in_time_lapses(desk, clock):
    pending = approved(desk, Need(use_within_s=30))
    clock.now_s += 30
    with pytest.raises(NotPending):
        desk.consume(pending.id, ACTION, "s1")
    assert desk.get(pending.id).state is State.LAPSED


@pytest.mark.threat("T08")
def test_a_cancelled_request_takes_no_answer(desk):
    pending = desk.open(question())
    desk.cancel(pending.id)
    assert desk.get(pending.id).state is State.CANCELLED
    for late in (
        lambda: desk.cancel(pending.id),
        lambda: desk.vote(pending.id, YES, OWNER, pending.request_digest),
        lambda: desk.consume(pending.id, ACTION, "s1"),
    ):
        with pytest.raises(NotPending):
            late()


def test_a_revoked_yes_cannot_be_used(desk):
    pending = approved(desk)
    desk.revoke(pending.id)
    with pytest.raises(NotPending):
        desk.consume(pending.id, ACTION, "s1")


@pytest.mark.parametrize("request_id", ["", "ap_0", "ap_'; drop table request", "\udcff\x1b[2J"])
def test_an_unknown_id_is_an_answer_without_a_request(desk, request_id):
    for ask in (
        lambda: desk.get(request_id),
        lambda: desk.vote(request_id, YES, OWNER, ""),
        lambda: desk.cancel(request_id),
        lambda: desk.consume(request_id, ACTION, "s1"),
    ):
        with pytest.raises(NotPending, match="no such request") as refused:
            ask()
        assert str(refused.value).isascii()


# What was changed between the question, the answer and the run.


@pytest.mark.threat("T06")
def test_a_changed_action_does_not_run_on_the_old_yes(desk):
    pending = approved(desk)
    with pytest.raises(Mismatch, match="approval_mismatch"):
        desk.consume(pending.id, "b" * 64, "s1")
    assert desk.get(pending.id).state is State.APPROVED


@pytest.mark.threat("T07")
def test_another_session_does_not_even_learn_that_the_request_exists(desk):
    pending = approved(desk)
    with pytest.raises(NotPending, match="no such request"):
        desk.consume(pending.id, ACTION, "s2")


@pytest.mark.threat("T06")
@pytest.mark.parametrize("seen", ["", "0" * 64, "\u0430" * 64, "\udcff"])
@pytest.mark.parametrize("answer", [YES, NO])
def test_an_answer_to_other_bytes_is_not_counted(desk, seen, answer):
    pending = desk.open(question())
    with pytest.raises(Mismatch):
        desk.vote(pending.id, answer, OWNER, seen)
    assert desk.get(pending.id).votes == ()


@pytest.mark.threat("T07")
def test_an_answer_cannot_be_moved_to_the_same_action_asked_again(desk):
    first = desk.open(question())
    desk.cancel(first.id)
    second = desk.open(question())
    with pytest.raises(Mismatch):
        desk.vote(second.id, YES, OWNER, first.request_digest)


# Who may say yes.


@pytest.mark.threat("T07")
def test_the_requester_cannot_approve_whatever_level_it_claims(desk):
    pending = desk.open(question())
    again = Principal(AGENT.channel, AGENT.uid, AGENT.name, Level.PRESENT)
    with pytest.raises(ApprovalError, match="asked for it and cannot approve it"):
        desk.vote(pending.id, YES, again, pending.request_digest)
    assert desk.get(pending.id).state is State.PENDING


@pytest.mark.threat("T07")
@pytest.mark.parametrize("need", list(Level)[1:])
@pytest.mark.parametrize("given", list(Level))
def test_a_channel_below_the_needed_level_approves_nothing(desk, need, given):
    pending = desk.open(question(Need(need)))
    by = Principal("somewhere", 1000, "someone", given)
    if given >= need:
        assert desk.vote(pending.id, YES, by, pending.request_digest) is State.APPROVED
        return
    with pytest.raises(ApprovalError, match=f"does not reach the level {need:d}"):
        desk.vote(pending.id, YES, by, pending.request_digest)
    assert desk.get(pending.id).state is State.PENDING


def test_a_quorum_needs_different_people(desk):
    pending = desk.open(question(Need(Level.SEPARATE, quorum=2)))
    assert desk.vote(pending.id, YES, ALICE, pending.request_digest) is State.PENDING
    with pytest.raises(ApprovalError, match="someone else"):
        desk.vote(pending.id, YES, ALICE, pending.request_digest)
    assert desk.vote(pending.id, YES, BOB, pending.request_digest) is State.APPROVED
    assert desk.consume(pending.id, ACTION, "s1").by == ("alice@1000 via api", "bob@1000 via api")


@pytest.mark.threat("T07")
def test_one_uid_with_two_channels_is_one_person(desk):
    pending = desk.open(question(Need(quorum=2)))
    desk.vote(pending.id, YES, OWNER, pending.request_digest)
    with pytest.raises(ApprovalError, match="uid:1000 has said yes already"):
        desk.vote(pending.id, YES, CLIENT, pending.request_digest)
    assert desk.vote(pending.id, YES, ROOT, pending.request_digest) is State.APPROVED
    assert desk.consume(pending.id, ACTION, "s1").level is Level.OWNER


# How often an agent may ask.


def test_the_same_question_joins_the_one_that_waits(desk, log):
    first = desk.open(question())
    assert desk.open(question()).id == first.id
    assert log.events() == ["opened", "applied"]


def test_the_same_question_after_a_yes_finds_that_yes(desk):
    pending = approved(desk)
    assert desk.open(question()).state is State.APPROVED
    desk.consume(pending.id, ACTION, "s1")
    assert desk.open(question()).id != pending.id


@pytest.mark.parametrize(
    "other",
    [
        question(session="s2"),
        question(action_digest="b" * 64),
        question(Need(Level.SEPARATE)),
        question(Need(quorum=2)),
        question(requester=Principal("mcp", 1000, "agent:other", Level.POLICY)),
    ],
    ids=["session", "action", "level", "quorum", "requester"],
)
def test_a_different_question_does_not_join(desk, other):
    assert desk.open(question()).id != desk.open(other).id


def test_a_session_has_a_bounded_number_of_open_questions(desk, log):
    opened = [desk.open(question(action_digest=f"{n:064d}")) for n in range(MAX_PENDING)]
    recorded = len(log.records)
    with pytest.raises(TooManyPending):
        desk.open(question())
    assert len(log.records) == recorded
    assert [pending.id for pending in desk.pending()] == [pending.id for pending in opened]
    desk.open(question(session="s2"))
    desk.cancel(opened[0].id)
    desk.open(question())


def test_a_denied_action_cools_down_for_its_session_and_its_requester(desk, clock):
    pending = desk.open(question())
    desk.vote(pending.id, NO, OWNER, pending.request_digest)
    clock.now_s += 59.5
    for again in (question(), question(session="s2"), question(Need(quorum=2))):
        with pytest.raises(CoolingDown) as cooling:
            desk.open(again)
        assert cooling.value.retry_after_s == 1
    other = Principal("mcp", 1000, "agent:other", Level.POLICY)
    assert desk.open(question(session="s2", requester=other))
    clock.now_s += 0.5
    assert desk.open(question()).id != pending.id


def test_a_question_that_cannot_be_stated_is_not_asked(desk, log):
    with pytest.raises(ApprovalError, match="Nobody was asked"):
        desk.open(question(facts=(("request", "0" * 64),)))
    assert log.records == []
    assert desk.pending() == []


# The log comes first.


@pytest.mark.threat("T08")
def test_a_full_log_opens_counts_and_spends_nothing(desk, log):
    log.room = 0
    with pytest.raises(ApprovalError, match="No space left on device"):
        desk.open(question())
    assert desk.pending() == []
    log.room = None
    pending = desk.open(question())
    log.room = 0
    with pytest.raises(ApprovalError, match=r"audit log did not take approval\.voted"):
        desk.vote(pending.id, YES, OWNER, pending.request_digest)
    assert desk.get(pending.id).votes == ()
    log.room = None
    desk.vote(pending.id, YES, OWNER, pending.request_digest)
    log.room = 0
    with pytest.raises(ApprovalError):
        desk.consume(pending.id, ACTION, "s1")
    assert desk.get(pending.id).state is State.APPROVED


def test_the_log_holds_who_asked_what_was_shown_and_who_answered(desk, log):
    pending = approved(desk)
    opened, _, voted, applied = log.records
    assert opened["approval"]["statement"].startswith("permitgate-approval-v1\n")
    assert opened["approval"]["requester"] == "agent:codex@1000 via mcp"
    assert voted["approval"]["by"] == {
        "channel": "terminal",
        "uid": 1000,
        "name": "owner",
        "level": 2,
    }
    assert applied == {
        "event": "approval.applied",
        "move": voted["move"],
        "approval": {
            "id": pending.id,
            "state": "approved",
            "request_digest": pending.request_digest,
            "action_digest": ACTION,
            "votes": [{"answer": "approve", "by": voted["approval"]["by"]}],
        },
    }


def test_a_record_fits_a_log_line_whatever_was_asked(desk, log):
    name = "\U000e0001" * 3000
    asker = Principal("mcp", 1000, name, Level.POLICY)
    facts = tuple((f"arg{n}", "\\" * 5000) for n in range(40))
    desk.open(question(facts=facts, requester=asker, session=name, tool=name))
    assert max(len(json.dumps(record)) for record in log.records) < 60_000
    assert log.records[0]["approval"]["statement"] is None


# Restarts and crashes.


def test_requests_and_answers_survive_a_restart(desk, path, clock):
    waiting = desk.open(question(facts=(("argv", "caf\udce9 \u202e"),), preview="a\nb"))
    again = Desk(Store(path), Log(), clock=clock)
    assert again.get(waiting.id) == waiting
    again.vote(waiting.id, YES, OWNER, waiting.request_digest)
    third = Desk(Store(path), Log(), clock=clock)
    assert third.consume(waiting.id, ACTION, "s1").level is Level.OWNER


def crashed(desk, log, step, *, before_swap):
    """Run `step` against a log that stops after the announcement; undo nothing."""
    log.room = 1
    if before_swap:
        desk._store.close()
        real, desk._store = desk._store, _Gone(desk._store)
        with pytest.raises(ConnectionError):
            step()
        desk._store = real
    else:
        with pytest.raises(ApprovalError):
            step()
    log.room = None


class _Gone:
    """A store that answers reads and dies at the first change, as a process does at kill -9."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        if name in {"create", "vote", "swap"}:
            raise ConnectionError("the process is gone")
        return getattr(self._store, name)


@pytest.mark.parametrize("before_swap", [True, False])
def test_a_vote_that_was_recorded_counts_after_a_crash(desk, log, before_swap):
    pending = desk.open(question())
    step = lambda: desk.vote(pending.id, YES, OWNER, pending.request_digest)  # noqa: E731  # one step
    crashed(desk, log, step, before_swap=before_swap)
    assert desk.recover(log.records) == 1
    assert desk.get(pending.id).state is State.APPROVED
    assert log.records[-1]["approval"]["state"] == "approved"
    assert desk.recover(log.records) == 0


@pytest.mark.threat("T07")
@pytest.mark.parametrize("before_swap", [True, False])
def test_a_use_that_was_recorded_is_burnt_after_a_crash(desk, log, before_swap):
    pending = approved(desk)
    step = lambda: desk.consume(pending.id, ACTION, "s1")  # noqa: E731  # one step
    crashed(desk, log, step, before_swap=before_swap)
    assert desk.recover(log.records) == 1
    assert desk.get(pending.id).state is State.CONSUMED
    with pytest.raises(NotPending):
        desk.consume(pending.id, ACTION, "s1")


def test_a_cancellation_that_was_recorded_holds_after_a_crash(desk, log):
    pending = desk.open(question())
    crashed(desk, log, lambda: desk.cancel(pending.id), before_swap=True)
    desk.recover(log.records)
    assert desk.get(pending.id).state is State.CANCELLED


@pytest.mark.parametrize(("before_swap", "state"), [(True, "lost"), (False, "pending")])
def test_an_opening_cut_short_is_there_or_lost(desk, log, before_swap, state):
    crashed(desk, log, lambda: desk.open(question()), before_swap=before_swap)
    desk.recover(log.records)
    assert log.records[-1]["approval"]["state"] == state


@pytest.mark.threat("T07")
def test_a_recorded_vote_that_is_no_longer_legal_is_lost(desk, log):
    pending = desk.open(question())
    step = lambda: desk.vote(pending.id, YES, OWNER, pending.request_digest)  # noqa: E731  # one step
    crashed(desk, log, step, before_swap=True)
    desk.cancel(pending.id)
    desk.recover(log.records)
    assert desk.get(pending.id).state is State.CANCELLED
    assert log.records[-1]["approval"]["state"] == "lost"


@pytest.mark.threat("T07")
@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("resolved", {"state": "approved"}),
        ("resolved", {"state": "consumed"}),
        ("resolved", {"state": "denied"}),
        ("resolved", {"state": "lapsed"}),
        ("consumed", {}),
        ("voted", {"answer": "approve", "by": AGENT_SAYS}),
        ("voted", {"answer": "approve", "by": {"channel": "x", "uid": 1, "name": "x", "level": 0}}),
    ],
)  # fmt: skip
def test_no_half_record_makes_a_request_approved_without_a_legal_vote(desk, log, kind, facts):
    pending = desk.open(question())
    known = {"id": pending.id, "request_digest": pending.request_digest}
    desk.recover([{"event": f"approval.{kind}", "move": "m", "approval": {**known, **facts}}])
    assert desk.get(pending.id).state is State.PENDING
    assert log.records[-1]["approval"]["state"] == "lost"


@pytest.mark.threat("T06")
def test_a_half_record_about_other_bytes_is_lost(desk, log):
    pending = approved(desk)
    facts = {"id": pending.id, "request_digest": "0" * 64}
    desk.recover([{"event": "approval.consumed", "move": "m", "approval": facts}])
    assert desk.get(pending.id).state is State.APPROVED


# Races.


class _TooLate(Log):
    """A log during whose first record another server answers."""

    def __init__(self, meanwhile):
        super().__init__()
        self.meanwhile = meanwhile

    def __call__(self, record):
        super().__call__(record)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


@pytest.mark.parametrize(
    "late",
    [
        lambda desk, pending: desk.vote(pending.id, YES, OWNER, pending.request_digest),
        lambda desk, pending: desk.cancel(pending.id),
    ],
    ids=["vote", "cancel"],
)
def test_of_two_servers_the_first_answer_wins(desk, path, clock, late):
    pending = desk.open(question())
    log = _TooLate(lambda: desk.vote(pending.id, NO, OWNER, pending.request_digest))
    with pytest.raises(NotPending):
        late(Desk(Store(path), log, clock=clock), pending)
    assert desk.get(pending.id).state is State.DENIED
    assert log.records[-1]["approval"]["state"] == "lost"


@pytest.mark.threat("T07")
def test_of_two_servers_one_spends_the_approval(desk, path, clock):
    pending = approved(desk)
    log = _TooLate(lambda: desk.consume(pending.id, ACTION, "s1"))
    with pytest.raises(NotPending, match="spent or lapsed"):
        Desk(Store(path), log, clock=clock).consume(pending.id, ACTION, "s1")


def test_of_two_servers_asked_the_same_both_wait_for_one_request(desk, path, clock):
    log = _TooLate(lambda: desk.open(question()))
    joined = Desk(Store(path), log, clock=clock).open(question())
    assert [pending.id for pending in desk.pending()] == [joined.id]
    assert log.records[-1]["approval"]["state"] == "lost"


def test_expiry_seen_by_two_servers_is_one_move(desk, path, clock):
    pending = desk.open(question(Need(ttl_s=1)))
    clock.now_s += 1
    log = _TooLate(desk.expire)
    Desk(Store(path), log, clock=clock).expire()
    assert desk.get(pending.id).state is State.EXPIRED
    assert log.records[-1]["approval"]["state"] == "lost"


@pytest.mark.threat("T07")
@pytest.mark.parametrize("shared", [True, False])
def test_of_eight_racing_threads_one_spends_the_approval(desk, path, clock, shared):
    pending = approved(desk)
    start, spent = threading.Barrier(8), []

    def race(mine):
        start.wait()
        with suppress(NotPending):
            spent.append(mine.consume(pending.id, ACTION, "s1"))

    desks = [desk if shared else Desk(Store(path), Log(), clock=clock) for _ in range(8)]
    threads = [threading.Thread(target=race, args=(mine,)) for mine in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spent) == 1


def test_only_votes_lead_to_approved_and_ends_have_no_way_on():
    assert [key for key, after in MOVES.items() if State.APPROVED in after] == [
        (State.PENDING, "voted")
    ]
    assert {state for state, _ in MOVES} == {State.PENDING, State.APPROVED}


@pytest.mark.threat("T07")
def test_where_the_owner_counts_as_attested_no_channel_of_theirs_reaches_owner(store, log, clock):
    desk = Desk(store, log, clock=clock, owner_level=Level.ATTESTED)
    pending = desk.open(question(Need(Level.OWNER)))
    for channel in ("terminal", "page"):
        owner = Principal(channel, 1000, "owner", Level.OWNER)
        with pytest.raises(ApprovalError, match="does not reach the level 2"):
            desk.vote(pending.id, Answer.APPROVE, owner, pending.request_digest)
    assert desk.vote(pending.id, Answer.APPROVE, ALICE, pending.request_digest) is State.APPROVED
