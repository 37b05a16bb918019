"""Over every sequence of moves: nothing is consumed without the legal answers it needs."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.desk import Desk
from approvals.request import Answer, ApprovalError, Level, Need, Principal, State
from approvals.store import Store
from tests.approvals.conftest import ACTION, AGENT, Clock, Log, question

PEOPLE = st.builds(
    Principal,
    st.sampled_from(["terminal", "api"]),
    st.sampled_from([0, 1000]),
    st.sampled_from(["owner", "alice", "bob"]),
    st.sampled_from(Level),
)
VOTERS = PEOPLE | st.just(Principal(AGENT.channel, AGENT.uid, AGENT.name, Level.PRESENT))
RIGHTLY = st.sampled_from([True, True, True, False])
STEPS = st.one_of(
    st.tuples(st.just("vote"), st.sampled_from([*[Answer.APPROVE] * 5, Answer.DENY]), VOTERS),
    st.tuples(st.just("vote at other bytes"), st.just(Answer.APPROVE), VOTERS),
    st.tuples(st.just("consume"), RIGHTLY, RIGHTLY),
    st.tuples(st.sampled_from(["cancel", "revoke", "expire", "restart", "open"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 59, 60, 300])),
    st.tuples(st.just("full"), st.integers(0, 3)),
)
NEEDS = st.builds(Need, st.sampled_from(list(Level)[1:]), st.integers(1, 3))


class Story:
    """One request, any moves; remembers what the law says about every answer."""

    def __init__(self, folder, need):
        self.folder, self.need = folder, need
        self.clock, self.log = Clock(), Log()
        self.store = Store(folder / "db")
        self.desk = Desk(self.store, self.log, clock=self.clock)
        self.pending = self.desk.open(question(need))
        self.denied = self.consumed = 0
        self.people = set()

    def step(self, name, *given):
        with suppress(ApprovalError):
            getattr(self, name.replace(" ", "_"))(*given)

    def vote(self, answer, by):
        legal = by.level >= self.need.level and by.name != AGENT.name
        said = self.desk.vote(self.pending.id, answer, by, self.pending.request_digest)
        assert self.consumed == 0
        if answer is Answer.DENY:
            self.denied += 1
            assert said is State.DENIED
        else:
            assert legal
            self.people.add(by.person)

    def vote_at_other_bytes(self, answer, by):
        self.desk.vote(self.pending.id, answer, by, "0" * 64)
        pytest.fail("an answer to other bytes was counted")

    def consume(self, right_action, right_session):
        action = ACTION if right_action else "b" * 64
        approval = self.desk.consume(self.pending.id, action, "s1" if right_session else "s2")
        self.consumed += 1
        assert right_action
        assert right_session
        assert approval.level >= self.need.level

    def cancel(self):
        self.desk.cancel(self.pending.id)

    def revoke(self):
        self.desk.revoke(self.pending.id)

    def expire(self):
        self.desk.expire()

    def open(self):
        if self.desk.get(self.pending.id).state in {State.PENDING, State.APPROVED}:
            assert self.desk.open(question(self.need)).id == self.pending.id

    def restart(self):
        self.log.room = None
        self.store.close()
        self.store = Store(self.folder / "db")
        self.desk = Desk(self.store, self.log, clock=self.clock)
        before = self.store.load(self.pending.id)
        self.desk.recover(self.log.records)
        self.learn(before)

    def learn(self, before):
        """A vote whose confirmation was lost counts; the store says which ones were."""
        after = self.store.load(self.pending.id)
        for vote in {*before.votes, *after.votes}:
            if vote.answer is Answer.APPROVE:
                self.people.add(vote.by.person)

    def wait(self, seconds):
        self.clock.now_s += seconds

    def full(self, room):
        self.log.room = room


@pytest.mark.threat("T07")
@pytest.mark.threat("T08")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(need=NEEDS, steps=st.lists(STEPS, min_size=3, max_size=14))
def test_nothing_is_consumed_without_a_quorum_of_legal_answers(tmp_path_factory, need, steps):
    story = Story(tmp_path_factory.mktemp("story"), need)
    for name, *given_ in steps:
        story.step(name, *given_)
    story.log.room = None
    end = story.store.load(story.pending.id)
    counted = {vote.by.person for vote in end.votes if vote.answer is Answer.APPROVE}
    assert all(
        vote.by.level >= need.level and vote.by.name != AGENT.name
        for vote in end.votes
        if vote.answer is Answer.APPROVE
    )
    if end.state in {State.APPROVED, State.CONSUMED, State.LAPSED, State.REVOKED}:
        assert len(counted) >= need.quorum
        assert not any(vote.answer is Answer.DENY for vote in end.votes)
    if story.denied:
        assert end.state is State.DENIED
    assert story.consumed <= 1
    if story.consumed:
        assert len(story.people | counted) >= need.quorum
        assert end.state is State.CONSUMED
    story.store.close()
